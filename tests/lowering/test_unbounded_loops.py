"""Unbounded loops: which loops may take forever."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pippin.lowering.unbounded_loops import unbounded_loops

UNKNOWN = "a loop of an unknown number of turns"


def loop(turns, inner=(), name="loop"):
    """A loop that takes `turns`: a number, "" or the name of a value."""
    body = helper.make_graph(list(inner), "body", [], [])
    return helper.make_node("Loop", [turns if isinstance(turns, str) else f"c{turns}", "go"], ["y"], name, body=body)


def branch(inner):
    graph = helper.make_graph(list(inner), "then", [], [])
    return helper.make_node(
        "If", ["go"], ["y"], "if", then_branch=graph, else_branch=helper.make_graph([], "e", [], [])
    )


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], {}),
        ([loop(0)], {}),
        ([loop(1000)], {}),
        ([loop(1001)], {"loop": "a loop of 1,001 turns"}),
        ([loop(10**12)], {"loop": "a loop of 1,000,000,000,000 turns"}),
        ([loop("")], {"loop": UNKNOWN}),
        ([loop("computed")], {"loop": UNKNOWN}),
        ([loop(30, [loop(30, name="inner")])], {}),
        ([loop(1000, [loop(1000, name="inner")])], {"loop": "a loop of 1,000,000 turns"}),
        ([loop(2, [loop("", name="inner")])], {"loop": UNKNOWN}),
        ([branch([loop("")])], {"if": UNKNOWN}),
        ([branch([loop(7)])], {}),
        ([loop(0, [loop(1000, name="inner")])], {}),
    ],
)  # fmt: skip
def test_loops(nodes, expected):
    constants = [numpy_helper.from_array(np.int64([n]), f"c{n}") for n in (0, 2, 7, 30, 1000, 1001, 10**12)]
    inputs = [helper.make_tensor_value_info("computed", TensorProto.INT64, [1])]
    assert unbounded_loops(helper.make_graph(nodes, "main", inputs, [], constants)) == expected
