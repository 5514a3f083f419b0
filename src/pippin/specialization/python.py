"""Python: runs the segments that are no ONNX, custom models, between those of the engines."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..custom_models import class_of
from ..engines.base import PLAIN, Settings
from ..errors import CompilationError, FeatureError, PippinError, PredictionError
from ..features.decode import make_decoders
from ..features.encode import make_encoder
from ..format.description import FunctionDescription
from ..lowering.lowered import Lowered, Port
from ..plain import from_json, to_json
from ..version import __version__

_STEPS = "steps.json"


@dataclass(frozen=True, slots=True)
class _Step:
    """One custom model: its class, what it is made with, the tensors it takes and gives by the names of the graph."""

    class_name: str
    parameters: Mapping[str, Any]
    function: FunctionDescription
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    taken: tuple[str, ...]
    given: tuple[str, ...]


class Python:
    """Like an engine, for the nodes that no engine takes."""

    name = "python"
    package = "pippin"
    load_rank = 0
    thorough = False
    installed = True
    version = __version__

    def device_name(self, kind: str) -> str | None:
        return "CPU" if kind == "cpu" else None

    def absence(self, kind: str) -> str:
        return "custom models run in Python, on the CPU"

    def precisions(self, device: str) -> tuple[Any, ...]:
        return ()

    def declined(self, lowered: Lowered) -> Mapping[str, str]:
        return {}

    def compile(self, source: bytes | Path, settings: Settings = PLAIN, artifact: Path | None = None) -> RunsPython:
        import onnx

        model = onnx.load_model_from_string(source) if isinstance(source, bytes) else onnx.load(source)
        return RunsPython([_step(node) for node in model.graph.node])

    def save(self, source: bytes | Path, compiled: Any, settings: Settings, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / _STEPS).write_text(json.dumps([_to_plain(step) for step in compiled.steps]), encoding="utf-8")

    def load(self, folder: Path, settings: Settings = PLAIN) -> RunsPython:
        try:
            rows = json.loads((folder / _STEPS).read_text(encoding="utf-8"))
            return RunsPython([_from_plain(row) for row in rows])
        except (OSError, ValueError, KeyError) as error:
            raise CompilationError(f"{folder}: its custom models cannot be read: {error}") from None

    def profile(self, source: bytes | Path, settings: Settings, inputs: Mapping[str, np.ndarray]) -> None:
        return None


def _step(node: Any) -> _Step:
    from ..format.description import read_description
    from ..format.schema import messages
    from ..lowering.classical.custom import custom_ports

    (attribute,) = node.attribute
    message = messages("Model").Model.FromString(attribute.s)
    function = read_description(message).function()
    parameters = {
        name: getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else None
        for name, value in message.customModel.parameters.items()
    }
    ports = custom_ports(function)
    return _Step(message.customModel.className, parameters, function, *ports, tuple(node.input), tuple(node.output))


def _to_plain(step: _Step) -> dict[str, Any]:
    described = {"function": step.function, "inputs": step.inputs, "outputs": step.outputs}
    return {
        "class": step.class_name,
        "parameters": {k: v for k, v in step.parameters.items() if not isinstance(v, bytes)},
        "bytes": {k: base64.b64encode(v).decode() for k, v in step.parameters.items() if isinstance(v, bytes)},
        "taken": step.taken,
        "given": step.given,
        "described": to_json(described),
    }


def _from_plain(row: Mapping[str, Any]) -> _Step:
    found = from_json(row["described"])
    parameters = row["parameters"] | {k: base64.b64decode(v) for k, v in row["bytes"].items()}
    ports = tuple(found["inputs"]), tuple(found["outputs"])
    return _Step(row["class"], parameters, found["function"], *ports, tuple(row["taken"]), tuple(row["given"]))


class RunsPython:
    """Custom models one after the other. Their classes are made once, here."""

    def __init__(self, steps: list[_Step]) -> None:
        self.steps = steps
        self._models = [_Running(step) for step in steps]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        values = dict(inputs)
        for model in self._models:
            values.update(model.run(values))
        return {name: values[name] for model in self._models for name in model.step.given}


class _Running:
    def __init__(self, step: _Step) -> None:
        self.step = step
        self._where = f"[customModel] '{step.class_name}'"
        made = class_of(step.class_name)
        try:
            self._model = made(dict(step.parameters), step.function)
        except PippinError:
            raise
        except Exception as error:  # whatever the class raises
            raise CompilationError(f"{self._where}: {type(error).__name__} while it was made: {error}") from error
        self._inputs = [tensor for port in step.inputs for tensor in port.tensors]
        self._decoders = make_decoders(step.function.inputs, step.inputs, None)
        described = {feature.name: feature for feature in step.function.outputs}
        self._encoders = [(port, make_encoder(described[port.name], port)) for port in step.outputs]

    def run(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arrays = {own: values[name] for own, name in zip(self._inputs, self.step.taken, strict=True)}
        features = {name: decode(arrays) for name, decode in self._decoders.items()}
        try:
            found = self._model.predict(features)
        except Exception as error:  # whatever the class raises
            raise PredictionError(f"{self._where}: {type(error).__name__}: {error}") from error
        if not isinstance(found, Mapping):
            raise PredictionError(f"{self._where}: gave a {type(found).__name__}; a value for each output is needed")
        results: list[np.ndarray] = []
        for port, encode in self._encoders:
            if port.name not in found:
                raise PredictionError(f"{self._where}: gave no '{port.name}' (it gave: {', '.join(map(str, found))})")
            try:
                value: Any = encode(found[port.name])
            except FeatureError as error:
                raise PredictionError(f"{self._where}: its output {error}") from error
            results += value if port.keys is not None else [value]
        return dict(zip(self.step.given, results, strict=True))
