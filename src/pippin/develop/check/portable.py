"""Portable: what Apple's devices are reported to refuse or to get wrong though the file is legal.

Each rule names its source. Nothing here is measured: there is no such device.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...format.asset import Asset
from ...format.description import (
    EnumeratedShapes,
    FeatureDescription,
    FunctionDescription,
    Image,
    MultiArray,
    SizeRange,
    State,
)
from ...program.protobuf_reader import read_program
from ...types import DataType
from .finding import Finding

_GUIDE = "https://apple.github.io/coremltools/docs-guides/source/flexible-inputs.html"
_ISSUES = "https://github.com/apple/coremltools/issues"
_FLOAT16 = "https://developer.apple.com/documentation/coreml/mlmultiarraydatatype/float16"
_IOS16, _IOS18 = 7, 9  # specification versions
_STEP = 32


def portable_findings(asset: Asset) -> list[Finding]:
    version = asset.specification.specificationVersion
    found: list[Finding] = []
    for function in asset.description.functions:
        found += _flexibility(function, version)
        found += _float16(function, version)
        found += _states(function)
    return found + list(_normalized_weights(asset))


def _flexibility(function: FunctionDescription, version: int) -> Iterator[Finding]:
    kinds = {f.name: _flexible(f) for f in function.inputs}
    enumerated = [name for name, kind in kinds.items() if kind == "enumerated"]
    ranged = [name for name, kind in kinds.items() if kind == "range"]
    if enumerated and ranged:
        yield Finding(
            "mixed flexibility", enumerated[0], "input",
            f"it has enumerated shapes, and {', '.join(map(repr, ranged))} has a range of sizes",
            "give all flexible inputs enumerated shapes, or all of them ranges", _GUIDE,
        )  # fmt: skip
    if len(enumerated) > 1 and version < _IOS18:
        yield Finding(
            "several enumerated inputs", enumerated[1], "input",
            f"{len(enumerated)} inputs have enumerated shapes, which before iOS 18 only one may have",
            "convert for iOS 18, or make all but one of a fixed shape", "https://github.com/pytorch/executorch/issues/9632",
        )  # fmt: skip


def _flexible(feature: FeatureDescription) -> str:
    if isinstance(feature.type, Image):
        sizes = feature.type.sizes
        return "" if not sizes else "range" if isinstance(sizes[0], SizeRange) else "enumerated"
    kind = feature.type.flexibility if isinstance(feature.type, MultiArray) else None
    return "" if kind is None else "enumerated" if isinstance(kind, EnumeratedShapes) else "range"


def _float16(function: FunctionDescription, version: int) -> Iterator[Finding]:
    for place, features in (("input", function.inputs), ("output", function.outputs)):
        for feature in features:
            if isinstance(feature.type, MultiArray) and feature.type.dtype is DataType.FLOAT16 and version < _IOS16:
                yield Finding(
                    "float16 feature", feature.name, place,
                    f"it is float16 in a model of specification {version}; devices take it from {_IOS16} (iOS 16) on",
                    "convert for iOS 16, or declare it float32", _FLOAT16,
                )  # fmt: skip


def _states(function: FunctionDescription) -> Iterator[Finding]:
    for feature in function.states:
        shape = feature.type.array.shape if isinstance(feature.type, State) else None
        if shape and shape[-1] and shape[-1] % _STEP:
            yield Finding(
                "state width", feature.name, "state",
                f"its last axis has {shape[-1]} elements, no multiple of {_STEP}: the Neural Engine fails",
                f"pad it to {-(-shape[-1] // _STEP) * _STEP}, or use CPU and GPU", f"{_ISSUES}/2631",
            )  # fmt: skip


def _normalized_weights(asset: Asset) -> Iterator[Finding]:
    """Weights that were divided by the largest of each channel and then left uncompressed."""
    for part in asset.submodels or (asset,):
        if part.specification.WhichOneof("Type") != "mlProgram":
            continue
        for function in read_program(part).functions.values():
            for operation in function.block.walk():
                if operation.kind == "const" and _is_normalized(operation.attributes["val"].value):
                    yield Finding(
                        "weight changed, not compressed", operation.name, "const",
                        "the largest magnitude of every channel is exactly 1: palettization with a scale for each"
                        " channel divided the weight and then skipped it",
                        "compress it with a group size that divides its channels, or leave it out",
                        f"{_ISSUES.replace('issues', 'pull')}/2777",
                    )  # fmt: skip


def _is_normalized(value: object) -> bool:
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim < 2 or value.shape[0] < 8:
        return False
    largest = np.abs(value.reshape(value.shape[0], -1)).max(1, initial=0.0)
    return bool((largest == 1.0).all()) and len(np.unique(value)) > 16
