"""Operations: the operations of a lowered model with the nodes and results of each, and runs that return the results.

The names are those of the program or the network, so that they mean the same in each precision, engine and format.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..configuration import Configuration
from ..engines import Settings, engine_named
from ..errors import PippinError, UnsupportedOperationError
from ..format.asset import Asset
from ..lowering.external_data import readable
from ..lowering.lowered_model import Lowered, source_of
from ..lowering.onnx_nodes import values_read, with_inner
from ..lowering.weight_arrays import array_of
from ..passes.float16_rounding import rounds_to_float16
from ..passes.value_types import value_types
from ..specialization.exactness import compile_exact
from ..specialization.prepared_models import prepared
from ..specialization.specializer import lower_function

Rounding = Literal["float16", "bfloat16"]
Results = Mapping[tuple[str, int], np.ndarray]
"""The results of operations: {(operation, number of the result): array}."""

_TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the program or a layer of the network; `nodes` are in topological order."""

    name: str
    kind: str
    nodes: tuple[Any, ...]
    results: tuple[str, ...]
    """The tensors that other operations read or the model returns."""


def operations(lowered: Lowered) -> list[Operation]:
    """The operations in the order in which they end."""
    graph = lowered.model.graph
    owners = _owners(lowered)
    nodes: dict[str, list[Any]] = {}
    last: dict[str, int] = {}
    made: dict[str, str] = {}
    read = {info.name for info in graph.output}
    for number, (node, owner) in enumerate(zip(graph.node, owners, strict=True)):
        nodes.setdefault(owner, []).append(node)
        last[owner] = number
        made.update(dict.fromkeys(node.output, owner))
        read.update(name for name in values_read(node) if made.get(name, owner) != owner)
    kinds = {source.name: source.kind for source in lowered.sources}
    return [
        Operation(
            name,
            kinds.get(name, nodes[name][-1].op_type),
            tuple(nodes[name]),
            tuple(each for node in nodes[name] for each in node.output if each in read),
        )
        for name in sorted(nodes, key=last.__getitem__)
    ]


def _owners(lowered: Lowered) -> list[str]:
    """The operation of each node; what belongs to none goes by the first part of its name."""
    sources = {source.name for source in lowered.sources}
    return [
        source_of(node.name, sources) or node.name.rpartition("/")[0] or node.name for node in lowered.model.graph.node
    ]


def declared_float16(asset: Asset, function: str | None = None) -> set[str]:
    """The operations whose results the program declares to be float16."""
    rounds = lower_function(asset, Configuration(function_name=function, precision="float16"), rounds=True)
    return {
        owner for node, owner in zip(rounds.model.graph.node, _owners(rounds), strict=True) if rounds_to_float16(node)
    }


def rounded(
    lowered: Lowered, rounding: Rounding, where: Collection[str], weights: bool, kept: Collection[str] = ()
) -> Lowered:
    """The model with the float results of the operations in `where` rounded, but for those that are `kept`: these also
    read what other kept ones make as it is. With `weights`, their weights are rounded too."""
    made = onnx.ModelProto()
    made.CopyFrom(lowered.model)
    graph, original = made.graph, lowered.model.graph
    types = value_types(lowered.model)
    floats = {n for n, info in types.items() if info.type.tensor_type.elem_type == TensorProto.FLOAT}
    changed = {
        name: operation.name
        for operation in operations(lowered)
        if operation.name in where
        for name in operation.results
        if name in floats
    }
    outputs = {info.name for info in graph.output}
    nodes: list[Any] = []
    for unchanged, owner in zip(original.node, _owners(lowered), strict=True):
        node = onnx.NodeProto()
        node.CopyFrom(unchanged)
        _read_raw(node, owner, changed, kept)
        nodes.append(node)
        for place, name in enumerate(node.output):
            if changed.get(name) != owner:
                continue
            if owner in kept and name in outputs:
                nodes.append(helper.make_node("Identity", [f"{name}/raw"], [name], f"{name}/kept"))
            else:
                half = f"{name}/rounded"
                nodes.append(helper.make_node("Cast", [f"{name}/raw"], [half], half, to=_TYPES[rounding]))
                nodes.append(helper.make_node("Cast", [half], [name], f"{half}/wide", to=TensorProto.FLOAT))
            node.output[place] = f"{name}/raw"
    if weights:
        exempt = {n for node, o in zip(original.node, _owners(lowered), strict=True) if o in kept for n in node.input}
        for tensor in graph.initializer:
            if tensor.data_type == TensorProto.FLOAT and tensor.name not in exempt:
                tensor.CopyFrom(numpy_helper.from_array(_rounded(array_of(tensor), rounding), tensor.name))
    del graph.node[:]
    graph.node.extend(nodes)
    return replace(lowered, model=made)


def _read_raw(node: Any, owner: str, changed: Mapping[str, str], kept: Collection[str]) -> None:
    """A node reads what its own operation makes unrounded, and a kept one what another kept one makes."""
    raw = {
        name for name in values_read(node)
        if name in changed and (changed[name] == owner or (owner in kept and changed[name] in kept))
    }  # fmt: skip
    for graph in _graphs_inside(node):
        for inner in graph.node:
            inner.input[:] = [f"{name}/raw" if name in raw else name for name in inner.input]
    node.input[:] = [f"{name}/raw" if name in raw else name for name in node.input]


def _graphs_inside(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield from with_inner(attribute.g)


def _rounded(array: np.ndarray, rounding: Rounding) -> np.ndarray:
    if rounding == "float16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16).astype(np.float32)
    bits = array.view(np.uint32)
    even = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
    return np.where(np.isfinite(array), even.view(np.float32), array).reshape(array.shape)


def results(
    lowered: Lowered, inputs: Mapping[str, np.ndarray], engine: str | None = None, settings: Settings | None = None
) -> tuple[dict[tuple[str, int], np.ndarray], dict[str, np.ndarray]]:
    """The results of all operations, and the outputs, of one run: by an engine, else by ONNX Runtime without fused
    operators. Raises UnsupportedOperationError if the engine declines the model, and what a run raises."""
    found = operations(lowered)
    types = value_types(lowered.model)
    listed = {info.name for info in lowered.model.graph.output}
    made = onnx.ModelProto()
    made.CopyFrom(lowered.model)
    for name in dict.fromkeys(name for operation in found for name in operation.results):
        if name not in listed and name in types:
            made.graph.output.append(types[name])
    arrays = _run(replace(lowered, model=made), inputs, engine, settings or Settings())
    by_operation = {
        (operation.name, number): arrays[name]
        for operation in found
        for number, name in enumerate(operation.results)
        if name in arrays
    }
    return by_operation, {port.name: arrays[port.tensor] for port in lowered.outputs if port.tensor in arrays}


def _run(
    lowered: Lowered, inputs: Mapping[str, np.ndarray], name: str | None, settings: Settings
) -> Mapping[str, np.ndarray]:
    if name is None:
        return compile_exact(lowered).run(inputs)
    engine = engine_named(name)
    refused = engine.declined(lowered)
    if refused:
        node, reason = next(iter(refused.items()))
        raise UnsupportedOperationError(f"{name} cannot run '{node}': {reason}")
    try:
        with readable(prepared(engine, lowered.model)) as source:
            return engine.compile(source, settings).run(inputs)
    except PippinError as error:
        raise type(error)(f"{name}, with all values among the outputs: {error}") from error
