"""Eight bits: forms of quantized activations that are right where products of 8-bit numbers saturate.

x86 processors without VNNI add two products of an unsigned and a signed byte in 16 bits (VPMADDUBSW): 2 * 255 * 127
does not fit, so that 16 ones times 16 ones gave 8.09. Other kernels, which are exact, multiply two unsigned bytes.

QuantizeLinear: code = clip(round(x / scale) + zero point). DequantizeLinear: x = (code - zero point) * scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from ..lowering.onnx_nodes import with_inner
from ..lowering.weight_arrays import array_of
from .decompress import decompressed

_SIGN = 128
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


def quantizes_activations(model: onnx.ModelProto) -> bool:
    """Whether engines may compute parts of the model in 8 bits."""
    return any(node.op_type == _QUANTIZE for graph in with_inner(model.graph) for node in graph.node)


def unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with int8 codes as uint8, with zero points moved by 128; the same object if nothing changes.

    ONNX Runtime has an option for this (`session.x64quantprecision`), but then fails to load models in which two layers
    share their weights, and to run some whose weights have no zero points (1.32).
    """
    return _Unsigned(model).made() if quantizes_activations(model) else model


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with activations rounded to codes, but computed in float32; the same object if nothing changes."""
    return _InFloat32(decompressed(model, _never)).made() if quantizes_activations(model) else model


def _never(dequantize: Any, reader: Any, makers: Mapping[str, Any]) -> bool:
    return False


class _Rewrite:
    """A copy of a model whose nodes are being replaced."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.stored = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.graphs = list(with_inner(self.model.graph))
        self.returned = {info.name for graph in self.graphs for info in graph.output}
        self.readers: dict[str, list[Any]] = {}
        for graph in self.graphs:
            for node in graph.node:
                for name in node.input:
                    self.readers.setdefault(name, []).append(node)

    def constant(self, name: str) -> np.ndarray | None:
        return array_of(self.stored[name]) if name in self.stored else None

    def store(self, name: str, array: np.ndarray) -> str:
        """Add a constant, unless it is there already. Returns its name."""
        if name not in self.stored:
            self.stored[name] = self.model.graph.initializer.add()
            self.stored[name].CopyFrom(numpy_helper.from_array(np.asarray(array), name))
        return name

    def zero_point(self, node: Any, dtype: Any = np.uint8) -> np.ndarray | None:
        """The zero points of a node, in the shape of its scales; None if they are computed."""
        scale = self.constant(node.input[1])
        if scale is None:
            return None
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(scale.shape, dtype)
        return self.constant(node.input[2])

    def _finished(self) -> onnx.ModelProto:
        """The model without the constants that nothing reads any more."""
        read = {name for graph in self.graphs for node in graph.node for name in node.input} | self.returned
        kept = [tensor for tensor in self.model.graph.initializer if tensor.name in read]
        if len(kept) < len(self.model.graph.initializer):
            kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
            del self.model.graph.initializer[:]
            self.model.graph.initializer.extend(kept)
        return self.model


class _Unsigned(_Rewrite):
    def made(self) -> onnx.ModelProto:
        for graph in self.graphs:
            for node in graph.node:
                if node.op_type == _DEQUANTIZE and node.input[0] in self.stored:
                    self._weights(node)
                elif node.op_type == _QUANTIZE:
                    self._activations(node)
        return self._finished()

    def _weights(self, node: Any) -> None:
        data = self.constant(node.input[0])
        zero = self.zero_point(node, np.int8)
        blocks = any(attribute.name == "block_size" and attribute.i for attribute in node.attribute)
        if data is None or zero is None or data.dtype != np.int8 or blocks:
            return
        node.input[0] = self.store(f"{node.input[0]}/unsigned", _moved(data))
        self._set_zero_point(node, zero)

    def _activations(self, node: Any) -> None:
        """All that reads the codes must read them as unsigned ones."""
        readers = self.readers.get(node.output[0], [])
        zeros = [self.zero_point(reader, np.int8) for reader in readers if reader.op_type == _DEQUANTIZE]
        own = self.zero_point(node)
        if own is None or own.dtype != np.int8 or node.output[0] in self.returned or len(zeros) < len(readers):
            return
        if any(zero is None or zero.dtype != np.int8 for zero in zeros):
            return
        for one, zero in zip((node, *readers), (own, *zeros), strict=True):
            assert zero is not None
            self._set_zero_point(one, zero)

    def _set_zero_point(self, node: Any, zero: np.ndarray) -> None:
        name = self.store(f"{node.output[0]}/zero", _moved(zero))
        del node.input[2:]
        node.input.append(name)


def _moved(codes: np.ndarray) -> np.ndarray:
    """int8 as uint8, 128 higher."""
    return (codes.astype(np.int16) + _SIGN).astype(np.uint8)


class _InFloat32(_Rewrite):
    def made(self) -> onnx.ModelProto:
        ranks = _known_ranks(self.model)
        steps = {node.output[0]: self._step(node, ranks) for graph in self.graphs for node in graph.node}
        self._steps = {out: step for out, step in steps.items() if step is not None}
        for graph in reversed(self.graphs):  # branches and loops first: their nodes are copied with them
            nodes = [new for node in graph.node for new in self._rewritten(node)]
            del graph.node[:]
            graph.node.extend(nodes)
        self.graphs = list(with_inner(self.model.graph))
        return self._finished()

    def _step(self, node: Any, ranks: Mapping[str, int]) -> _Step | None:
        """The constants of a node; None if it stays."""
        if node.op_type not in (_QUANTIZE, _DEQUANTIZE):
            return None
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        scale, zero, rank = self.constant(node.input[1]), self.zero_point(node), ranks.get(node.input[0])
        if scale is None or zero is None or zero.dtype not in _BYTES or attributes.get("block_size"):
            return None
        if scale.ndim:
            if rank is None:
                return None
            shape = tuple(-1 if i == attributes.get("axis", 1) % rank else 1 for i in range(rank))
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        return _Step(scale, zero.astype(scale.dtype), zero.dtype)

    def _rewritten(self, node: Any) -> list[Any]:
        step = self._steps.get(node.output[0]) if node.output else None
        if step is None:
            return [node]
        scale = self.store(f"{node.output[0]}/scale", step.scale)
        zero = self.store(f"{node.output[0]}/offset", step.zero)
        return (self._quantized if node.op_type == _QUANTIZE else self._dequantized)(node, step, scale, zero)

    def _quantized(self, node: Any, step: _Step, scale: str, zero: str) -> list[Any]:
        out, limits = node.output[0], np.iinfo(step.codes)
        ends = {"lowest": limits.min, "highest": limits.max}
        low, high = (self.store(f"{out}/{end}", np.array(limit, step.scale.dtype)) for end, limit in ends.items())
        made = [
            _node("Div", [node.input[0], scale], f"{out}/divided"),
            _node("Round", [f"{out}/divided"], f"{out}/rounded"),
            _node("Add", [f"{out}/rounded", zero], f"{out}/moved"),
            _node("Clip", [f"{out}/moved", low, high], f"{out}/floats"),
        ]
        readers = self.readers.get(out, [])
        if out in self.returned or any(reader.output[0] not in self._steps for reader in readers):
            made.append(_node("Cast", [f"{out}/floats"], out, to=helper.np_dtype_to_tensor_dtype(step.codes)))
        return made

    def _dequantized(self, node: Any, step: _Step, scale: str, zero: str) -> list[Any]:
        codes, out = node.input[0], node.output[0]
        floats, casts = f"{codes}/floats", []
        if codes not in self._steps:
            floats = f"{out}/floats"
            casts = [_node("Cast", [codes], floats, to=helper.np_dtype_to_tensor_dtype(step.scale.dtype))]
        return [*casts, _node("Sub", [floats, zero], f"{out}/moved"), _node("Mul", [f"{out}/moved", scale], out)]


@dataclass(frozen=True, slots=True)
class _Step:
    """What a node multiplies and adds, in the shape in which it meets the elements, and the type of its codes."""

    scale: np.ndarray
    zero: np.ndarray
    codes: np.dtype[Any]


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], name=output, **attributes)


def _known_ranks(model: onnx.ModelProto) -> dict[str, int]:
    """The rank of each value, as far as ONNX infers it."""
    try:
        inferred = shape_inference.infer_shapes(model)
    except (shape_inference.InferenceError, ValueError):  # ValueError: more than a message can hold
        inferred = model
    return {
        info.name: len(info.type.tensor_type.shape.dim)
        for graph in with_inner(inferred.graph)
        for info in (*graph.input, *graph.value_info, *graph.output)
        if info.type.tensor_type.HasField("shape")
    } | {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
