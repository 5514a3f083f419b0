"""Builder: walks a Core AI function. Integers that the engines do not compute with are wider there, and wrapped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from ...errors import UnsupportedOperationError
from ...program.ir import Value
from ...types import DataType, TensorType
from ..lower_blocks import Builder
from ..onnx_builder import Tensor, opset_imports
from ..op_registry import Entry
from .registry import PREFIX, all_lowerings

# What is computed in another type. float32 holds smaller floats exactly; unsigned 64-bit integers keep their bits.
_COMPUTED: Mapping[DataType, np.dtype[Any]] = {
    **dict.fromkeys((DataType.UINT32, DataType.UINT64), np.dtype(np.int64)),
    **dict.fromkeys(
        (
            DataType.INT4, DataType.INT8, DataType.INT16, DataType.UINT1, DataType.UINT2, DataType.UINT3,
            DataType.UINT4, DataType.UINT6, DataType.UINT8, DataType.UINT16,
        ),
        np.dtype(np.int32),
    ),
    **dict.fromkeys((DataType.FLOAT8E4M3FN, DataType.FLOAT8E5M2), np.dtype(np.float32)),
}  # fmt: skip
_SMALL = 1 << 12
"""Elements; a larger constant stays as it is stored."""
_HOLD = frozenset({"read_state", "write_state", f"{PREFIX}slice", f"{PREFIX}slice_update"})
_MOVED = """
abs broadcast_in_dims broadcast_to broadcasting_maximum broadcasting_minimum broadcasting_where concat expand_dims
gather_along_axis gather_nd if invoke isolated_group max_pool_2d max_pool_3d maximum minimum reduce_max reduce_min relu
reshape reverse round shrink_dims slice slice_update sort split tile transpose where while
"""
_EXACT = frozenset({"identity", "read_state", *(PREFIX + name for name in _MOVED.split())})


class CoreAIBuilder(Builder):
    """A Builder for the operations of Core AI."""

    unknown = "this version does not lower this operation of Core AI"
    holding = _HOLD
    exact = _EXACT

    @cached_property
    def lowerings(self) -> Mapping[str, Entry]:  # type: ignore[override]
        return all_lowerings()

    @property
    def opset(self) -> int:
        return 27

    def dtype(self, dtype: DataType) -> np.dtype[Any]:
        return _COMPUTED[dtype] if dtype in _COMPUTED else super().dtype(dtype)

    def declared_type(self, name: str) -> DataType:
        """The element type that the program declares for an operand."""
        argument = (self.op.inputs.get(name) or (None,))[0]
        kind = argument.type if argument is not None else None
        return kind.dtype if isinstance(kind, TensorType) else DataType.FLOAT32

    @property
    def result_type(self) -> DataType:
        """The element type that the program declares for the first result."""
        kind = self.op.outputs[0].type
        return kind.dtype if isinstance(kind, TensorType) else DataType.FLOAT32

    def stored(self, name: str, value: Any) -> Any:
        """An operand that is a constant, in the type that the program declares."""
        if isinstance(value, Tensor):
            return value
        return np.asarray(value).astype(self.declared_type(name).numpy, copy=False)

    def known(self, value: Any, name: str) -> np.ndarray:
        """An operand that the graph must know. Raises UnsupportedOperationError if it is computed."""
        if not isinstance(value, Tensor):
            return np.asarray(value)
        found = self.initializers.get(value.name)
        if found is None and value.name in self._fixed:
            found = self._evaluated(value)
        if found is None:
            raise UnsupportedOperationError(f"'{name}' must be a constant; it is computed at run time")
        return found

    def _evaluated(self, value: Tensor) -> np.ndarray:
        """A value that follows from constants alone."""
        from onnx.reference import ReferenceEvaluator

        nodes: dict[str, Any] = {}
        used: dict[str, np.ndarray] = {}
        todo = [value.name]
        while todo:
            name = todo.pop()
            if name in self.initializers:
                used[name] = self.initializers[name]
            elif name in self.makers and name not in nodes:
                nodes[name] = self.makers[name].node
                todo += [operand for operand in nodes[name].input if operand]
        ordered = [node for node in [*self._unpacked, *self.nodes] if set(node.output) & nodes.keys()]
        kept = [numpy_helper.from_array(array, name) for name, array in used.items()]
        output = helper.make_tensor_value_info(value.name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        graph = helper.make_graph(ordered, "constants", [], [output], kept)
        model = helper.make_model(graph, opset_imports=opset_imports({}))
        found: Any = ReferenceEvaluator(model).run(None, {})
        return np.asarray(found[0])

    def wrapped(self, value: Any, dtype: DataType) -> Any:
        """Integers as their declared type holds them, which keeps the lowest bits."""
        computed = self.dtype(dtype)
        if not dtype.is_integer or dtype.bits >= computed.itemsize * 8 or dtype is DataType.UINT64:
            return value
        signed = not dtype.value.startswith("u")
        low, size = (-(1 << dtype.bits - 1) if signed else 0), 1 << dtype.bits
        if not isinstance(value, Tensor):
            return (np.asarray(value).astype(np.int64) - low) % size + low
        found = self.interval(value)
        if low <= found.lo and found.hi < low + size:
            return value
        value = self.cast(value, computed)
        mask = np.asarray(size - 1, computed)
        if not low:
            return self.BitwiseAnd(value, mask)
        return self.Add(self.BitwiseAnd(self.Sub(value, np.asarray(low, computed)), mask), np.asarray(low, computed))

    def _declared(self, output: Value, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.size > _SMALL and value.dtype.kind in "iub":
            return value  # the stored numbers of a large constant, such as a compressed weight
        return super()._declared(output, value)
