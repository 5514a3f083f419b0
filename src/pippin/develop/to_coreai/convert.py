"""To Core AI: writes a Core ML model as an .aimodel, after Apple's runtime has agreed with Pippin on it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ...configuration import Configuration
from ...engines import Settings, all_engines
from ...errors import ConfigurationError, ConversionError, PippinError
from ...format.asset import Asset
from ...format.description import FunctionDescription, Image
from ...lowering.external_data import readable
from ...lowering.lowered_model import Lowered, StateWrite, written_name
from ...program.opening import open_model
from ...specialization.precision import signal_to_noise
from ...specialization.sample_inputs import example_inputs
from ...specialization.specializer import lower_function
from ...support.atomic_write import atomic_write
from ...types import DataType
from .build import build, interpreter, run
from .emitter import Store
from .translate import translate

SUFFIX = ".aimodel"
_LEAST_FLOAT16, _LEAST_FLOAT32 = 35.0, 60.0  # decibels that outputs must keep
Precision: TypeAlias = Literal["float16", "float32"]
_PRECISIONS: tuple[Precision, ...] = ("float16", "float32")


@dataclass(frozen=True)
class ToCoreAI:
    """A written asset, and how near Apple's runtime is to Pippin: decibels by function and output."""

    path: Path
    noise: dict[str, dict[str, float]]
    required: float
    notes: tuple[str, ...] = ()
    """What is not as in the source."""

    @property
    def size(self) -> int:
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    @property
    def worst(self) -> float:
        return min((value for one in self.noise.values() for value in one.values()), default=float("inf"))


@dataclass
class _Part:
    """One function on its way."""

    function: FunctionDescription
    written: Lowered
    """As it is written: float16 where the program says so."""
    exact: Lowered
    """As Pippin computes it."""
    inputs: dict[str, np.ndarray] = field(default_factory=dict)


def to_coreai(
    source: str | os.PathLike[str] | Asset | Any,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    seed: int = 0,
    python: str | os.PathLike[str] | None = None,
) -> ToCoreAI:
    """Write a model as Core AI's `path`, an .aimodel.

    Apple's runtime predicts with it on seeded inputs and must agree with Pippin: 60 dB, or 35 dB if the model computes
    in float16. With `force`, it is written whatever the figures are. `python` is one that has Apple's coreai-core; by
    default, that of the environment variable PIPPIN_COREAI, or this one.

    Raises ConfigurationError, ConversionError, and UnsupportedOperationError for what Core AI has no counterpart for.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise ConfigurationError(f"{target}: a Core AI model is a folder X{SUFFIX}")
    if target.exists():
        raise ConfigurationError(f"{target} already exists")
    program = interpreter(python)
    asset = source if isinstance(source, Asset) else open_model(source)
    if asset.description.kind == "coreAI":
        raise ConfigurationError(f"{asset.name} is a Core AI model already")
    try:
        with atomic_write(target) as unfinished:
            return _written(program, asset, unfinished, target, force, seed)
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror or error}") from None


def _written(program: Path, asset: Asset, unfinished: Path, target: Path, force: bool, seed: int) -> ToCoreAI:
    """As the program declares its types; in float32 where Apple's float16 is too far from what Pippin computes."""
    notes: list[str] = []
    for precision in _PRECISIONS:
        parts = [_lowered(asset, function, precision, seed) for function in asset.description.functions]
        described, store = _described(asset, parts)
        with tempfile.TemporaryDirectory(prefix="pippin-") as folder:
            build(program, Path(folder), unfinished, described, store.arrays)
            noise = _compared(program, Path(folder), unfinished, parts)
        required = _required(parts)
        name, worst = _worst(noise)
        if force or worst >= required:
            break
        if precision == "float32" or required == _LEAST_FLOAT32:
            raise _refused(name, worst, required)
        notes.append(f"it computes in float32: in float16, '{name}' had {worst:.1f} dB of the required {required:.0f}")
    return ToCoreAI(target, noise, required, (*notes, *_notes(parts)))


def _lowered(asset: Asset, function: FunctionDescription, precision: Precision, seed: int) -> _Part:
    name = function.name if len(asset.description.functions) > 1 else None
    written, exact = (
        lower_function(asset, Configuration(precision=one, function_name=name)) for one in (precision, "float32")
    )
    part = _Part(function, written, exact)
    part.inputs = example_inputs(function, written, seed)
    return part


def _described(asset: Asset, parts: Sequence[_Part]) -> tuple[dict[str, Any], Store]:
    store, functions = Store(), []
    for part in parts:
        sizes = {name: array.shape for name, array in part.inputs.items()}
        try:
            made = translate(part.written, sizes, store)
        except PippinError as error:
            error.add_note(f"in function '{part.function.name}' of {asset.name}")
            raise
        names = _renamed(part)
        made["outputs"] = [{**one, "name": names.get(one["name"], one["name"])} for one in made["outputs"]]
        functions.append(made)
    if len(functions) == 1:
        functions[0]["name"] = "main"
    metadata = asset.description.metadata
    about = {"author": metadata.author, "license": metadata.license, "model_description": metadata.short_description}
    custom = {**metadata.user_defined, **_custom(parts)}
    if metadata.version:
        custom.setdefault("version", metadata.version)
    return {
        "functions": functions,
        "about": {name: text for name, text in about.items() if text},
        "custom": custom,
    }, store


def _renamed(part: _Part) -> dict[str, str]:
    """A classifier's scores are an output of numbers, named as its dictionary."""
    labels = part.written.labels
    if labels is None:
        return {}
    return {labels.probabilities: labels.probabilities_output or f"{labels.label_output}_probabilities"}


def _custom(parts: Sequence[_Part]) -> dict[str, str]:
    """What Core AI's types do not say: labels, colours, and descriptions of features."""
    labels, images, features = {}, {}, {}
    for part in parts:
        if part.written.labels is not None:
            labels[_renamed(part)[part.written.labels.probabilities]] = list(part.written.labels.classes)
        for feature in (*part.function.inputs, *part.function.outputs):
            if isinstance(feature.type, Image):
                images[feature.name] = {"colors": feature.type.color.name, "pixels": "0 to 255"}
            if feature.doc:
                features[feature.name] = feature.doc
    found = {"classLabels": labels, "images": images, "features": features}
    return {f"pippin.{name}": json.dumps(value) for name, value in found.items() if value}


def _notes(parts: Sequence[_Part]) -> list[str]:
    found = []
    for part in parts:
        for feature in part.function.inputs:
            if getattr(feature.type, "flexibility", None) is not None:
                sizes = " x ".join(map(str, part.inputs[feature.name].shape))
                found.append(f"the input '{feature.name}' takes {sizes} only; the source takes other sizes too")
            if isinstance(feature.type, Image):
                found.append(f"the image '{feature.name}' is a tensor of pixels from 0 to 255")
        if part.written.labels is not None:
            found.append(
                f"the class labels of '{_renamed(part)[part.written.labels.probabilities]}' are in the metadata"
            )
        if part.written.checks or part.written.index_checks:
            found.append("values that Pippin refuses in a prediction are not refused by Core AI")
    return list(dict.fromkeys(found))


# The check.


def _compared(python: Path, folder: Path, target: Path, parts: Sequence[_Part]) -> dict[str, dict[str, float]]:
    single = len(parts) == 1
    runs = [_run("main" if single else part.function.name, part) for part in parts]
    found = run(python, folder, target, runs)
    noise = {}
    for number, part in enumerate(parts):
        right = _predicted(part, runs[number]["calls"])
        names = _renamed(part)
        got = {name: found[f"{number}/{_kept(name, names)}"] for name in right}
        right = {name: array.astype(got[name].dtype) for name, array in right.items()}
        noise[part.function.name] = {
            names.get(n.partition("/")[2], n.partition("/")[2]): db
            for n, db in signal_to_noise(right, got, list(right)).items()
        }
    return noise


def _run(name: str, part: _Part) -> dict[str, Any]:
    states = {port.name for port in part.written.states}
    tensors = {port.tensor: port.name for port in part.written.inputs if port.name not in states}
    return {
        "function": name,
        "calls": 2 if states else 1,
        "inputs": {tensors[name]: array for name, array in part.inputs.items() if name in tensors},
        "states": {name: part.inputs[name] for name in states},
    }


def _kept(name: str, names: dict[str, str]) -> str:
    kind, _, port = name.partition("/")
    return f"{kind}/{names.get(port, port)}"


def _predicted(part: _Part, calls: int) -> dict[str, np.ndarray]:
    """What Pippin computes: outputs and, afterwards, states."""
    lowered, engine = part.exact, all_engines()["onnxruntime"]
    with readable(lowered.model) as model:
        compiled = engine.compile(model, Settings())
    ports = {port.tensor: port.dtype for port in (*lowered.inputs, *lowered.states)}
    arrays = {name: array.astype(ports[name]) for name, array in part.inputs.items() if name in ports}
    for _ in range(calls):
        outputs = compiled.run(arrays)
        for port in lowered.states:
            arrays[port.tensor] = _after(arrays[port.tensor], port.name, lowered, outputs)
    found = {f"output/{port.name}": outputs[port.tensor] for port in lowered.outputs}
    return found | {f"state/{port.name}": arrays[port.tensor] for port in lowered.states}


def _after(state: np.ndarray, name: str, lowered: Lowered, outputs: Any) -> np.ndarray:
    if name in lowered.written:
        return np.asarray(outputs[written_name(name)])
    state = state.copy()
    for write in lowered.writes:
        if write.state == name:
            state[_place(write, outputs)] = outputs[write.rows]
    return state


def _place(write: StateWrite, outputs: Any) -> tuple[slice, ...]:
    ends = [
        [int(np.ravel(outputs[n])[0]) if isinstance(n, str) else n for n in given]
        for given in (write.starts, write.ends)
    ]
    return tuple(slice(start, end) for start, end in zip(*ends, strict=True))


def _required(parts: Sequence[_Part]) -> float:
    """A program that declares float16 rounds its own results to it, also where float32 computes them."""
    float16 = any(DataType.FLOAT16 in part.exact.computes for part in parts)
    return _LEAST_FLOAT16 if float16 else _LEAST_FLOAT32


def _worst(noise: dict[str, dict[str, float]]) -> tuple[str, float]:
    every = [(name, value) for one in noise.values() for name, value in one.items()]
    return min(every, key=lambda one: one[1], default=("", float("inf")))


def _refused(name: str, worst: float, required: float) -> ConversionError:
    return ConversionError(
        f"'{name}' has a signal-to-noise ratio of {worst:.1f} dB in Apple's runtime against Pippin;"
        f" {required:.0f} dB is required. The model is not written; force=True (--force) writes it"
    )
