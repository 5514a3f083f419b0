"""Fixed graph: an ONNX graph with all sizes known, without what follows from constants alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from ...errors import UnsupportedOperationError
from ...lowering.onnx_nodes import bodies, values_read
from ...lowering.weight_arrays import array_of

_ROUNDS = 20
_LARGE = 1024  # elements; a widened constant of more would make the file larger
# Compressed weights stay as they are; random numbers are drawn by each prediction.
_KEPT = {"DequantizeLinear", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Loop", "Scan"}


class FixedGraph:
    """`nodes` in order, `constants` by name, and the shape and type of every other value in `types`."""

    def __init__(self, model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]], wanted: set[str]) -> None:
        self._imports, self._version = model.opset_import, model.ir_version
        self.inputs = {port.name: (sizes[port.name], _element(port)) for port in model.graph.input}
        self.outputs = [(port.name, _element(port)) for port in model.graph.output if port.name in wanted]
        self.constants = {tensor.name: array_of(tensor) for tensor in model.graph.initializer}
        self.nodes = list(model.graph.node)
        self.types: dict[str, tuple[tuple[int, ...] | None, np.dtype[Any]]] = {}
        for _ in range(_ROUNDS):
            self._infer()
            if not self._simplify():
                break
        self._drop_unused()

    def known(self, name: str) -> np.ndarray | None:
        return self.constants.get(name)

    def _infer(self) -> None:
        graph = helper.make_graph(self.nodes, "main", list(self._ports()), self._results(), self._small())
        model = helper.make_model(graph, opset_imports=self._imports, ir_version=self._version)
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
        self.types = {**self.inputs}
        for value in [*inferred.value_info, *inferred.output]:
            tensor = value.type.tensor_type
            if value.type.WhichOneof("value") == "tensor_type" and tensor.elem_type:
                sizes = [d.dim_value for d in tensor.shape.dim if d.WhichOneof("value") == "dim_value"]
                known = tensor.HasField("shape") and len(sizes) == len(tensor.shape.dim)
                shape = tuple(sizes) if known else None
                self.types[value.name] = (shape, np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)))

    def _ports(self) -> Iterator[onnx.ValueInfoProto]:
        for name, (shape, dtype) in self.inputs.items():
            yield _port(name, shape, dtype)
        for name, array in self.constants.items():  # inference needs the values of small ones
            if array.size > _LARGE:
                yield _port(name, array.shape, array.dtype)

    def _results(self) -> list[onnx.ValueInfoProto]:
        return [_port(name, None, dtype) for name, dtype in self.outputs]

    def _small(self) -> list[onnx.TensorProto]:
        return [numpy_helper.from_array(a, n) for n, a in self.constants.items() if a.size <= _LARGE]

    def _simplify(self) -> bool:
        """Compute what is known. Says whether there was any."""
        left: list[onnx.NodeProto] = []
        for node in self.nodes:
            found = self._value(node)
            if found is not None:
                self.constants |= dict(zip(node.output, found, strict=False))
            elif node.op_type == "If" and node.input[0] in self.constants:
                left += self._branch(node)
            else:
                left.append(node)
        changed = len(left) != len(self.nodes)
        self.nodes = left
        return changed

    def _value(self, node: onnx.NodeProto) -> list[np.ndarray] | None:
        if node.op_type == "Shape" and node.input[0] in self.types:
            shape = self.types[node.input[0]][0]
            given = {a.name: a.i for a in node.attribute}
            if shape is not None:
                return [np.array(shape[given.get("start", 0) : given.get("end", len(shape))], np.int64)]
        if node.op_type in _KEPT or node.domain not in ("", "ai.onnx") or bodies(node):
            return None
        operands = {name: self.constants.get(name) for name in node.input if name}
        if any(value is None for value in operands.values()):
            return None
        if node.op_type in ("Cast", "Expand", "Tile") and any(
            a is not None and a.size > _LARGE for a in operands.values()
        ):
            return None
        return self._evaluated(node, operands)

    def _evaluated(self, node: onnx.NodeProto, operands: Mapping[str, Any]) -> list[np.ndarray]:
        from onnx.reference import ReferenceEvaluator

        ports = [_port(name, array.shape, array.dtype) for name, array in operands.items()]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = helper.make_graph([node], "node", ports, results)
        model = helper.make_model(graph, opset_imports=self._imports, ir_version=self._version)
        return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, dict(operands))]

    def _branch(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes of the branch that is always taken."""
        wanted = "then_branch" if bool(self.constants[node.input[0]].reshape(-1)[0]) else "else_branch"
        branch = next(a.g for a in node.attribute if a.name == wanted)
        self.constants |= {tensor.name: array_of(tensor) for tensor in branch.initializer}
        ends = [
            helper.make_node("Identity", [inner.name], [outer], name=node.name)
            for inner, outer in zip(branch.output, node.output, strict=True)
        ]
        return [*branch.node, *ends]

    def _drop_unused(self) -> None:
        wanted, kept = {name for name, _ in self.outputs}, []
        for node in reversed(self.nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(values_read(node))
        self.nodes = kept[::-1]

    def type_of(self, name: str, node: onnx.NodeProto) -> tuple[tuple[int, ...], np.dtype[Any]]:
        shape, dtype = self.types.get(name, (None, np.dtype(np.float32)))
        if shape is None:
            raise UnsupportedOperationError(
                f"[{node.op_type}] '{node.name}': the size of its result is known only to a prediction; an .aimodel is"
                " written with fixed sizes"
            )
        return shape, dtype


def _element(port: onnx.ValueInfoProto) -> np.dtype[Any]:
    return np.dtype(helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type))


def _port(name: str, shape: Any, dtype: np.dtype[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)
