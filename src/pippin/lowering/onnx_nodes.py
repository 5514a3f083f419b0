"""ONNX nodes: what a node has, contains and reads, its branches and loop bodies included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from onnx import helper


def attributes(node: Any) -> dict[str, Any]:
    """The attributes that are set, as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def bodies(node: Any) -> list[Any]:
    """The graphs inside a node: branches or a loop body."""
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def with_inner(graph: Any) -> Iterator[Any]:
    """A graph, then the graphs inside its nodes, at any depth."""
    yield graph
    for node in graph.node:
        for body in bodies(node):
            yield from with_inner(body)


def values_read(node: Any) -> list[str]:
    """The values that a node reads, including those around it that the graphs inside read or return."""
    names = [name for name in node.input if name]
    for body in bodies(node):
        made = {name for inner in body.node for name in inner.output}
        made |= {info.name for info in body.input} | {tensor.name for tensor in body.initializer}
        inside = [name for inner in body.node for name in values_read(inner)]
        inside += [info.name for info in body.output]
        names += [name for name in inside if name not in made]
    return list(dict.fromkeys(names))
