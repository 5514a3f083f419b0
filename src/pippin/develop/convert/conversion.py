"""Conversion: a torch or ONNX network in, a Core ML package out that agrees with its source on the same inputs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...errors import ConfigurationError, ConversionError
from ...format.asset import Asset
from ...format.description import FunctionDescription, MultiArray
from ...program.opening import open_model
from ...program.save import save_package
from ...specialization.precision import signal_to_noise
from ..compare import changed, subject
from ..operations import results
from .inputs import InputWords, parse_inputs
from .options import Options
from .sources import Arrays, Source, open_source

MIN_DB = 40.0
_MIN_DB_ONNX = 80.0  # in float32, where a converter that takes one function for another still has 70


@dataclass(frozen=True, slots=True)
class Conversion:
    """The package that was written, and the signal-to-noise ratio of each output against the source in dB; empty if it
    was not compared."""

    path: Path
    noise: Mapping[str, float]
    size: int

    def __repr__(self) -> str:
        worst = min(self.noise.values(), default=None)
        checked = "not compared" if worst is None else f"{worst:.1f} dB against its source"
        return f"<Conversion {self.path.name!r}: {checked}>"


def convert(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    inputs: Iterable[str] = (),
    *,
    outputs: Sequence[str] = (),
    precision: Literal["float16", "float32"] = "float16",
    keep_float32: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    target: str = "iOS16",
    check: bool = True,
    minimum: float = MIN_DB,
) -> Conversion:
    """Convert a torch network (.pt2 of `torch.export.save`, .pt of `torch.jit.save`) or an ONNX file to an .mlpackage.

    `inputs` are words as "image=image:rgb:scale=1/255" or "x=tensor:1,3,224..448,*:float16"; `outputs` the names that
    the outputs get. `keep_float32` has names or kinds of operations that are computed in float32 (`pippin bisect` finds
    them). With `classes`, the first output's numbers become labels and probabilities. `target` is a release such as
    iOS17. Source and result are run on the same seeded inputs; below `minimum` dB nothing is written, unless `check` is
    off. An ONNX file is always compared: its converter is wrong for some operators.

    Raises ConfigurationError for words that do not fit, FormatError for a file that is no network, ConversionError if
    it cannot be converted or differs.
    """
    path = Path(output)
    if path.suffix != ".mlpackage":
        raise ConfigurationError(f"{path}: a network becomes an .mlpackage")
    if path.exists():
        raise ConfigurationError(f"{path} already exists")
    words = parse_inputs(inputs)
    opened = open_source(Path(source).expanduser(), list(words))
    unknown = [name for name in words if name not in opened.known]
    if unknown:
        raise ConfigurationError(
            f"--input {unknown[0]}: the network has no such input (it has: {', '.join(opened.known)})"
        )
    asked = [words.get(name, InputWords(name)) for name in opened.known]
    kinds = [each.coremltools(opened.known[each.name]) for each in asked]
    options = Options(tuple(outputs), precision, tuple(keep_float32), classes, target)
    converted = opened.converted(kinds, options)
    with tempfile.TemporaryDirectory(prefix="pippin-convert-") as folder:
        made = Path(folder) / path.name
        converted.save(str(made))
        noise: dict[str, float] = {}
        untrusted = Path(source).suffix.lower() == ".onnx"
        if check or untrusted:
            noise = _compared(opened, asked, open_model(made))
            least = max(minimum, _MIN_DB_ONNX) if untrusted and precision == "float32" else minimum
            _check(noise, least, Path(source).name)
        save_package(open_model(made), path)
    return Conversion(path, noise, open_model(path).size())


def _check(noise: Mapping[str, float], minimum: float, source: str) -> None:
    worst = min(noise, key=noise.__getitem__, default=None)
    if worst is not None and noise[worst] < minimum:
        raise ConversionError(
            f"the converted network differs from {source}: '{worst}' has a signal-to-noise ratio of {noise[worst]:.1f}"
            f" dB, and {minimum:.0f} are required; nothing was written"
            " (`pippin bisect` on a package that was converted without the check finds where)"
        )


def _compared(source: Source, asked: Sequence[InputWords], made: Asset) -> dict[str, float]:
    """The least signal-to-noise ratio of each output, on two seeded inputs: any numbers, and small whole ones, which
    have ties. Every result is rounded as the package declares it: what is beyond float16 is infinite then, as on a
    device."""
    function = made.description.function()
    noise: dict[str, float] = {}
    for whole in (False, True):
        features, arrays = _examples(source, asked, function, whole)
        right = source.run(arrays)
        mine = subject(made, features)
        _, found = results(changed(made, mine, "declared", None, None), mine.arrays)
        if len(found) != len(right):
            raise ConversionError(f"the source has {len(right)} outputs, and the converted network {len(found)}")
        for (name, array), expected in zip(found.items(), right, strict=True):
            same = array.reshape(expected.shape) if array.size == expected.size else array
            if expected.dtype.kind != "f":
                same = same.astype(expected.dtype)
            measured = signal_to_noise({name: expected}, {name: same}, [name])[name]
            noise[name] = min(measured, noise.get(name, measured))
    return noise


def _examples(
    source: Source, asked: Sequence[InputWords], function: FunctionDescription, whole: bool
) -> tuple[dict[str, Any], Arrays]:
    """What the package is given, and the same as the source takes it: an image as its scaled numbers."""
    random = np.random.default_rng(0)
    features: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for words in asked:
        shape = words.size(source.known[words.name])
        if not words.image:
            integers = words.dtype == "int32" or _is_integer(function, words.name)
            drawn = random.integers(0, 2, shape) if integers else random.standard_normal(shape)
            drawn = np.rint(2 * drawn) if whole and not integers else drawn
            features[words.name] = drawn.astype(np.int32 if integers else np.float32)
            arrays[words.name] = drawn.astype(np.int64 if integers else np.float32)
            continue
        pixels = random.integers(0, 256, (*shape[-2:], 3) if words.color != "gray" else shape[-2:]).astype(np.uint8)
        features[words.name] = pixels
        planes = pixels if words.color == "gray" else pixels[..., :: -1 if words.color == "bgr" else 1]
        numbers = planes.astype(np.float32) * words.scale
        bias = np.array(words.bias or (0.0,), np.float32)
        numbers = numbers + bias if words.color != "gray" else numbers + bias[0]
        arrays[words.name] = np.moveaxis(numbers.reshape(*shape[-2:], -1), -1, 0)[None].astype(np.float32)
    return features, arrays


def _is_integer(function: FunctionDescription, name: str) -> bool:
    kind = next(feature.type for feature in function.inputs if feature.name == name)
    return isinstance(kind, MultiArray) and kind.dtype.is_integer
