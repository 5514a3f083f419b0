"""Summary: inputs, outputs, operations, weights and size of a model, as plain values for `pippin inspect`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ..format.asset import Asset
from ..format.description import FeatureDescription, FunctionDescription, Image
from ..format.optional_thresholds import description_for_callers
from ..types import TensorType
from .classical_summary import contents
from .ir import Literal, Program

# First release that supports each specification version. Source: coremltools, `_deployment_compatibility`.
_RELEASES = {
    1: "iOS 11",
    2: "iOS 11.2",
    3: "iOS 12",
    4: "iOS 13",
    5: "iOS 14",
    6: "iOS 15",
    7: "iOS 16",
    8: "iOS 17",
    9: "iOS 18",
    10: "iOS 26",
}


def summary(asset: Asset, program: Program | None, function: str | None) -> dict[str, Any]:
    """The contents of `pippin inspect`, for one function if named, else for all."""
    description = description_for_callers(asset)
    shown = [description.function(function)] if function else list(description.functions)
    metadata = description.metadata
    network = description.kind.startswith("neuralNetwork")
    layers = {"operations": _layers(getattr(asset.specification, description.kind).layers)} if network else {}
    return {
        "name": asset.name,
        "kind": description.kind,
        "specification_version": description.specification_version,
        "needs": _RELEASES.get(_version(asset), ""),
        "bytes": _size(asset.path),
        "metadata": {
            "description": metadata.short_description,
            "author": metadata.author,
            "license": metadata.license,
            "version": metadata.version,
            "user_defined": dict(metadata.user_defined),
        },
        "class_labels": None if description.class_labels is None else len(description.class_labels),
        "default_function": description.default_function_name,
        "functions": [_function(f, program) | layers for f in shown],
        "counts": contents(asset),
        "models": [_part(part) for part in asset.parts()],
        "weights": _weights(program) if program else [],
    }


def _part(part: Asset) -> dict[str, Any]:
    """The summary of one model of a pipeline."""
    from .protobuf_reader import read_program

    return summary(part, read_program(part) if part.description.kind == "mlProgram" else None, None)


def _layers(layers: Any) -> dict[str, int]:
    """Number of layers by kind, including branches and loops; custom layers by class name."""
    found: Counter[str] = Counter()
    for layer in layers:
        kind = layer.WhichOneof("layer") or "unknown"
        found[f"custom ({layer.custom.className})" if kind == "custom" else kind] += 1
        if kind == "branch":
            found.update(_layers((*layer.branch.ifBranch.layers, *layer.branch.elseBranch.layers)))
        elif kind == "loop":
            found.update(_layers((*layer.loop.conditionNetwork.layers, *layer.loop.bodyNetwork.layers)))
    return dict(found.most_common())


def _function(function: FunctionDescription, program: Program | None) -> dict[str, Any]:
    body = program.functions.get(function.name) if program else None
    return {
        "name": function.name,
        "inputs": [feature_summary(f) for f in function.inputs],
        "outputs": [feature_summary(f) for f in function.outputs],
        "states": [feature_summary(f) for f in function.states],
        "opset": body.opset if body else None,
        "operations": body.histogram() if body else {},
    }


def feature_summary(feature: FeatureDescription) -> dict[str, Any]:
    """What programs read of a feature, besides its texts: element type, default shape, the range [lower, upper or null]
    of each axis or the enumerated shapes, and the default value; null where the model declares none. An image's axes
    are height and width."""
    ranges = feature.range and [[size.lower, size.upper] for size in feature.range]
    return {
        "name": feature.name,
        "type": str(feature.type),
        "optional": feature.optional,
        "description": feature.doc,
        "dtype": feature.dtype,
        "shape": feature.shape and list(feature.shape),
        "default": feature.default,
        **({"color": feature.type.color.name} if isinstance(feature.type, Image) else {}),
        "range": ranges,
        **({"shapes": [list(shape) for shape in feature.shapes]} if feature.shapes else {}),
    }


def _weights(program: Program) -> list[dict[str, Any]]:
    """Bytes of constants by decompressing operation, element type and storage location."""
    stored: Counter[tuple[str, str, str]] = Counter()
    seen: set[int] = set()
    for function in program.functions.values():
        for operation in function.block.walk():
            arguments = [a for bound in operation.inputs.values() for a in bound]
            for literal in [*operation.attributes.values(), *arguments]:
                if not isinstance(literal, Literal) or not isinstance(literal.type, TensorType) or id(literal) in seen:
                    continue
                seen.add(id(literal))
                count = 1
                for size in literal.type.shape or ():
                    count *= size or 0
                place = "weight file" if literal.file else "program"
                used = operation.kind if operation.kind.startswith("constexpr_") else "plain"
                stored[used, literal.type.dtype.value, place] += -(-count * literal.type.dtype.bits // 8)
    return [{"stored_as": k[0], "type": k[1], "where": k[2], "bytes": n} for k, n in stored.most_common() if n]


def _size(path: Path | None) -> int | None:
    if path is None:
        return None
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _version(asset: Asset) -> int:
    """The highest specification version of a model and its parts: a pipeline may declare less than a part needs."""
    return max(asset.description.specification_version, *map(_version, asset.parts()), 0)
