"""Translate: a lowered model in, the description that Apple's process builds an asset from out.

The lowered graph is what all kinds of models become (programs, networks, pipelines, trees), in few operators. So one
translation covers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from ...lowering.lowered_model import Lowered, source_of, written_name
from ...lowering.onnx_nodes import attributes
from . import elementwise as elementwise  # registers the translations
from . import linear as linear
from . import recurrent as recurrent
from . import reductions as reductions
from . import shaping as shaping
from .emitter import INDICES, Emitter, Store, Value
from .fixed_graph import FixedGraph
from .registry import TRANSLATIONS, Node
from .shaping import placed
from .weights import constant


def translate(lowered: Lowered, sizes: Mapping[str, tuple[int, ...]], store: Store) -> dict[str, Any]:
    """One function. Raises UnsupportedOperationError for what Core AI cannot say, naming the operation."""
    graph = FixedGraph(lowered.model, sizes, _wanted(lowered))
    _check(graph, lowered)
    return _Function(graph, lowered, store).described()


def _wanted(lowered: Lowered) -> set[str]:
    """What Core AI computes: not what Pippin's own checks of a prediction read."""
    rows = {name for w in lowered.writes for name in (w.rows, *w.starts, *w.ends) if isinstance(name, str)}
    return {port.tensor for port in lowered.outputs} | {written_name(name) for name in lowered.written} | rows


def _check(graph: FixedGraph, lowered: Lowered) -> None:
    """Name every operator that has no translation, before anything is written."""
    sources = {source.name: source for source in lowered.sources}
    unknown: dict[str, str] = {}
    for node in graph.nodes:
        if node.op_type not in TRANSLATIONS or node.domain not in ("", "ai.onnx"):
            source = sources.get(source_of(node.name, sources))
            unknown.setdefault(node.op_type, source.kind if source is not None else node.op_type)
    if unknown:
        names = ", ".join(sorted(name if name == kind else f"{kind} ({name})" for name, kind in unknown.items()))
        raise UnsupportedOperationError(f"operations without a counterpart in Core AI: {names}")


# Operators whose constants may be weights.
_WEIGHTED = {
    "Add", "Cast", "Concat", "Conv", "ConvTranspose", "Einsum", "Gather", "Gemm", "GRU", "LSTM", "MatMul", "Mul", "RNN",
    "Reshape", "Squeeze", "Transpose", "Unsqueeze",
}  # fmt: skip


class _Function:
    def __init__(self, graph: FixedGraph, lowered: Lowered, store: Store) -> None:
        self.graph, self.lowered, self.e = graph, lowered, Emitter(store)
        self.values: dict[str, Any] = {}
        self.sources = {source.name: source for source in lowered.sources}

    def described(self) -> dict[str, Any]:
        lowered, states = self.lowered, {port.tensor for port in self.lowered.states}
        for name, (shape, dtype) in self.graph.inputs.items():
            self.values[name] = Value(name, shape, dtype)
        for node in self.graph.nodes:
            self._node(node)
        written = {name: self.e.operand(value) for name, value in self._written().items()}
        outputs = [{"name": port.name, "operand": self.e.operand(self._own(port.tensor))} for port in lowered.outputs]
        return {
            "name": lowered.name,
            "inputs": [self._port(port.name, port.tensor) for port in lowered.inputs if port.tensor not in states],
            "states": [self._port(port.name, port.tensor) for port in lowered.states],
            "operations": self.e.operations,
            "written": written,
            "outputs": outputs,
        }

    def _port(self, name: str, tensor: str) -> dict[str, Any]:
        shape, dtype = self.graph.inputs[tensor]
        return {"name": name, "value": tensor, "shape": list(shape), "dtype": dtype.name}

    def _own(self, tensor: str) -> Any:
        """An output; one that is an input or a constant passes through an operation, as Core AI wants it."""
        value = self._value(tensor)
        if isinstance(value, Value) and value.name.startswith("%"):
            return value
        return self.e.op("broadcast_to", value, np.array(value.shape, np.uint32), shape=value.shape)

    def _written(self) -> dict[str, Any]:
        """The new values of the states."""
        found = {name: self._own(written_name(name)) for name in self.lowered.written}
        for write in self.lowered.writes:
            state = found.get(write.state) or self.values[write.state]
            numbers = [self._places(given) for given in (write.starts, write.ends)]
            update = self._value(write.rows)
            steps = np.ones(state.rank, INDICES)
            found[write.state] = self.e.op("slice_update", state, *numbers, steps, update, shape=state.shape)
        return found

    def _places(self, given: tuple[int | str, ...]) -> Any:
        computed = [axis for axis, one in enumerate(given) if isinstance(one, str)]
        values = [self._value(given[axis]) for axis in computed]
        others = [0 if isinstance(one, str) else one for one in given]
        parts = [self.e.reshape(self.e.cast(one, INDICES), [1]) for one in values]
        if not any(isinstance(one, Value) for one in parts):
            return placed(self.e, np.array([one[0] for one in parts], np.int64), computed, others)
        return placed(self.e, self.e.concat(parts, 0) if len(parts) > 1 else parts[0], computed, others)

    def _value(self, name: Any) -> Any:
        if not name:
            return None
        if name not in self.values:
            self.values[name] = constant(self.e, self.graph.constants[name])
        return self.values[name]

    def _node(self, proto: Any) -> None:
        node = Node(
            proto.op_type,
            proto.name,
            attributes(proto),
            tuple(self.graph.type_of(name, proto) if name else None for name in proto.output),
        )
        self.e.source = source_of(proto.name, self.sources) or proto.name
        operands = [self._operand(node, name) for name in proto.input]
        found = TRANSLATIONS[node.kind](self.e, node, *operands)
        results = found if isinstance(found, tuple) else (found,)
        self.values |= {name: value for name, value in zip(proto.output, results, strict=False) if name}

    def _operand(self, node: Node, name: str) -> Any:
        """Sizes, axes and such stay constants; weights may become tables."""
        if name in self.graph.constants and name not in self.values and node.kind not in _WEIGHTED:
            return self.graph.constants[name]
        return self._value(name)
