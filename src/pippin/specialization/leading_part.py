"""Leading part: the network in front of what an engine declines, such as the suppression of a detector in float64.

It reads the model's own inputs, so its candidates can be measured and compared as those of a whole model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx

from ..engines import Engine
from ..lowering.lowered_model import Lowered, Port
from ..lowering.onnx_nodes import values_read
from ..passes.value_types import value_types
from ..types import DataType, TensorType
from .segment import Segment, cut_in_two, values_of, work_of

# Multiply-adds: about 100 us. A part with fewer is not worth a second segment, which takes some 10 us.
_LEAST = 1e7
# The part of the multiply-adds that it must have: the rest runs on one thread, so that no threads of another engine
# spin beside it.
_SHARE = 0.9
_HEAVY = frozenset({"Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN"})
_DOUBLE, _STRING, _INT64 = onnx.TensorProto.DOUBLE, onnx.TensorProto.STRING, onnx.TensorProto.INT64


@dataclass(frozen=True, slots=True)
class Split:
    """A model in two segments, and the engines that may run the first of them."""

    leading: Segment
    rest: Segment
    engines: tuple[Engine, ...]


def split(lowered: Lowered, engines: Sequence[Engine], declined: Mapping[str, Mapping[str, str]]) -> Split | None:
    """The model before and from the first nodes that an engine declines; None if that is not worth it, as for an engine
    that is only tried for fast predictions. Each of `engines` may be named in `declined`; at least one declines
    nothing."""
    if lowered.states or not any(node.op_type in _HEAVY for node in lowered.model.graph.node):
        return None
    for engine in engines:
        if (
            not engine.thorough
            and declined[engine.name]
            and (found := _split_for(lowered, engine, declined[engine.name]))
        ):
            able = [e for e in engines if e is engine or not (declined[e.name] and _declines(e, lowered, found[0]))]
            return Split(*found, tuple(able))
    return None


def _split_for(lowered: Lowered, engine: Engine, declined: Mapping[str, str]) -> tuple[Segment, Segment] | None:
    model = lowered.model
    types = value_types(model)
    later = _later(model.graph, types, declined)
    if not _worth_it(model, later):
        return None
    leading, rest = cut_in_two(model, later)
    return None if _declines(engine, lowered, leading) else (leading, rest)


def _later(graph: Any, types: Mapping[str, Any], declined: Mapping[str, str]) -> list[int]:
    """1 for each node that is declined or follows one. Of a model that is declined as a whole, those are taken that
    read or make what engines decline: float64, strings, 64-bit integers from outside."""
    given = {info.name for info in graph.input}
    strange = {
        name
        for name, info in types.items()
        if info.type.tensor_type.elem_type in (_DOUBLE, _STRING)
        or (name in given and info.type.tensor_type.elem_type == _INT64)
    }
    made: set[str] = set()
    places = []
    for node in graph.node:
        around = {*values_read(node), *node.output}
        later = bool(around & made or around & strange) or (node.name or node.output[0]) in declined
        made.update(node.output if later else ())
        places.append(int(later))
    return places


def _worth_it(model: onnx.ModelProto, later: Sequence[int]) -> bool:
    if 0 not in later or 1 not in later:
        return False
    values = values_of(model)
    work = [0.0, 0.0]
    for node, place in zip(model.graph.node, later, strict=True):
        work[place] += work_of(node, values).multiply_adds
    return work[0] >= max(_LEAST, _SHARE * sum(work))


def _declines(engine: Engine, lowered: Lowered, part: Segment) -> bool:
    """Whether an engine declines anything of a part."""
    return bool(engine.declined(_as_lowered(lowered, part)))


def _as_lowered(lowered: Lowered, part: Segment) -> Lowered:
    """A part as a lowered model, for engines to look at."""
    return replace(
        lowered,
        model=part.model,
        inputs=tuple(port for port in lowered.inputs if port.tensor in part.inputs),
        outputs=tuple(_port(info) for info in part.model.graph.output),
        written=(),
        checks=(),
        index_checks=(),
    )


def _port(info: Any) -> Port:
    kind = info.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    sizes = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in kind.shape.dim)
    declared = next((each for each in DataType if each.bits and each.numpy == dtype), DataType.FLOAT32)
    return Port(info.name, TensorType(declared, sizes), dtype)
