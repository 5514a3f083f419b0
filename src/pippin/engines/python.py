"""Python: engine for nodes that no other engine can run, computed by Python code that the user registered.

Such a node has the domain `PYTHON`. Its operator names the registry, its attributes hold the code's name and
parameters, and its weights are initializers. This engine is never chosen by measurement: a model is cut at such nodes,
and they run here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ..errors import CompilationError, PredictionError
from ..extend.custom_layers import CustomLayer
from ..extend.feature_extractors import FeatureModel
from ..lowering.lowered_model import PYTHON, Lowered
from ..support.cancellation import Stop
from ..types import Shape
from ..version import __version__
from .base import PLAIN, FloatPrecision, Kernel, Settings

if TYPE_CHECKING:
    from onnx import ModelProto

_NODES, _WEIGHTS = "nodes.json", "weights.npz"


class Code(Protocol):
    """Registered code, instantiated for one node."""

    def output_shapes(self, shapes: Sequence[Shape], outputs: int) -> list[Shape]: ...

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]: ...


OPERATORS: dict[str, Any] = {"CustomLayer": CustomLayer, "FeatureModel": FeatureModel}
"""Factories of a node's code, by operator. Importing `specialization/custom_model_operator.py` adds one."""


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of a node. `shape` is what the lowering knew."""

    name: str
    shape: Shape | None
    dtype: str = "float32"
    """numpy's name for the element type; "object" for strings."""


@dataclass(frozen=True, slots=True)
class Node:
    """The description of a node in a cache entry. `weights` is the number of its weights, stored separately."""

    name: str
    operator: str
    code: str
    parameters: dict[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    weights: int

    def made(self, weights: Sequence[np.ndarray]) -> Code:
        code: Code = OPERATORS[self.operator](self.code, self.parameters, weights)
        return code


class Python:
    name = "python"
    package = "pippin"
    load_rank = 0
    thorough = False
    stops_in_loops = True
    spins = False
    quantizes = False
    installed = True
    version = __version__

    def device_name(self, kind: str) -> str | None:
        return "CPU" if kind == "cpu" else None

    def absence(self, kind: str) -> str:
        return "it runs only on the CPU"

    def precisions(self, device: str) -> tuple[FloatPrecision, ...]:
        return ()

    def declined(self, lowered: Lowered) -> Mapping[str, str]:
        nodes = lowered.model.graph.node
        return {n.name or n.output[0]: "not Python code" for n in nodes if n.domain != PYTHON}

    def misjudges(self, operator: str, kind: Literal["NaN", "infinity"]) -> bool:
        return False

    def prepared(self, model: ModelProto, saturates: bool = False) -> ModelProto:
        return model

    def compile(self, source: bytes | Path, settings: Settings = PLAIN, artifact: Path | None = None) -> CompiledPython:
        import onnx

        model = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source)
        weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
        infos = {info.name: info for info in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
        steps = []
        for node in model.graph.node:
            own = [weights[name] for name in node.input if name in weights]
            given = {a.name: onnx.helper.get_attribute_value(a).decode() for a in node.attribute}
            described = Node(
                given["label"], node.op_type, given["code"], json.loads(given["parameters"]),
                tuple(_value(name, infos) for name in node.input if name not in weights),
                tuple(_value(name, infos) for name in node.output), len(own),
            )  # fmt: skip
            steps.append((described, own))
        return CompiledPython(steps)

    def save(self, source: bytes | Path, compiled: Any, settings: Settings, folder: Path) -> None:
        """Write the nodes and their weights. `load` looks the code up again by name."""
        nodes = json.dumps([asdict(node) for node, _ in compiled.steps])
        (folder / _NODES).write_text(nodes, encoding="utf-8")
        arrays = {f"{i}.{k}": w for i, (_, own) in enumerate(compiled.steps) for k, w in enumerate(own)}
        with (folder / _WEIGHTS).open("wb") as file:
            np.savez(file, **arrays)

    def load(self, folder: Path, settings: Settings = PLAIN) -> CompiledPython:
        """Load what `save` wrote. Raises CompilationError if the code's output shapes no longer match those that the
        other segments were compiled for, and UnsupportedOperationError if the code is not registered."""
        try:
            found = json.loads((folder / _NODES).read_text(encoding="utf-8"))
            with np.load(folder / _WEIGHTS, allow_pickle=False) as arrays:
                steps = [(_node(n), [arrays[f"{i}.{k}"] for k in range(n["weights"])]) for i, n in enumerate(found)]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CompilationError(f"cannot read the cached Python segment: {error}") from error
        return CompiledPython(steps)

    def weights_held(self, kind: str, settings: Settings) -> tuple[str, str]:
        return kind, "copied, private"

    def concurrent_settings(self, settings: Settings, cores: int) -> tuple[Settings, ...]:
        return ()

    def profile(
        self, source: bytes | Path, settings: Settings, inputs: Mapping[str, np.ndarray]
    ) -> list[Kernel] | None:
        return None


def _value(name: str, infos: Mapping[str, Any]) -> Value:
    if name not in infos:
        return Value(name, None)
    from onnx.helper import tensor_dtype_to_np_dtype

    kind = infos[name].type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return Value(name, shape if kind.HasField("shape") else None, tensor_dtype_to_np_dtype(kind.elem_type).name)


def _node(found: Mapping[str, Any]) -> Node:
    def values(items: Any) -> tuple[Value, ...]:
        return tuple(Value(v["name"], None if v["shape"] is None else tuple(v["shape"]), v["dtype"]) for v in items)

    return Node(**{**found, "inputs": values(found["inputs"]), "outputs": values(found["outputs"])})


class CompiledPython:
    """Runs the nodes' code in order. Immutable; whether concurrent calls are safe is up to the registered code."""

    def __init__(self, steps: Sequence[tuple[Node, list[np.ndarray]]]) -> None:
        self.steps = tuple(steps)
        self._codes = [node.made(weights) for node, weights in steps]
        for (node, _), code in zip(steps, self._codes, strict=True):
            if any(value.shape is None for value in node.inputs):
                continue
            shapes = code.output_shapes([v.shape for v in node.inputs if v.shape is not None], len(node.outputs))
            wanted = [value.shape for value in node.outputs]
            if not all(w is None or _fits(shape, w) for shape, w in zip(shapes, wanted, strict=True)):
                raise CompilationError(
                    f"[{node.code}] '{node.name}': returns the shapes {shapes}, but the model was compiled for {wanted}"
                )

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        values, made = dict(inputs), {}
        for (node, _), code in zip(self.steps, self._codes, strict=True):
            if stop is not None:
                stop.check()
            try:
                found = code.evaluate([values[v.name] for v in node.inputs])
            except PredictionError as error:
                raise PredictionError(f"[{node.code}] '{node.name}': {error}") from error.__cause__
            if len(found) != len(node.outputs):
                raise PredictionError(
                    f"[{node.code}] '{node.name}': returned {len(found)} outputs, expected {len(node.outputs)}"
                )
            for value, array in zip(node.outputs, found, strict=True):
                made[value.name] = _checked(node, value, array)
            values |= made
        return made


def _checked(node: Node, value: Value, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiubO":
        raise PredictionError(f"[{node.code}] '{node.name}': returned an array of {array.dtype}, expected numbers")
    if value.shape is not None and not _fits(array.shape, value.shape):
        raise PredictionError(
            f"[{node.code}] '{node.name}': returned an output of shape {array.shape}, expected {value.shape}"
        )
    return array if array.dtype == object else np.ascontiguousarray(array, np.dtype(value.dtype))


def _fits(shape: Shape, declared: Shape) -> bool:
    return len(shape) == len(declared) and all(d is None or s == d for s, d in zip(shape, declared, strict=True))
