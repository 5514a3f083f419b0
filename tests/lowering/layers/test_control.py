"""Layers that decide what is computed: branches, loops, what leaves them; copies; against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.models.neural_network import NeuralNetworkBuilder as Network

import pippin
from lowering.layers.layer_harness import ENGINES, check, parametrize, row, specification


def inside(network):
    return Network(nn_spec=network, disable_rank5_shape_mapping=True)


def constant(b, name, value):
    b.add_load_constant_nd(f"constant {name}", name, np.array([value], np.float32), (1,))


def assign(b, name, value):
    """A value of the loop gets another one."""
    b.add_copy(f"{name} = {value}", value, name)


def branch_by_sign(b):
    b.add_reduce_sum("sum", "x", "sum", reduce_all=True)
    b.add_greater_than("sign", ["sum"], "positive", alpha=0.0)
    branch = b.add_branch("branch", "positive")
    inside(branch.branch.ifBranch).add_activation("double", "LINEAR", "x", "y", [2, 0])
    inside(branch.branch.elseBranch).add_activation("negate", "LINEAR", "x", "y", [-1, 0])


def doubled_to_100(b):
    """x doubles until its sum passes 100; then 1 is added where the count of turns is even."""
    b.add_copy("start", "x", "v")
    constant(b, "n", 0)
    loop = b.add_loop("loop")
    condition = inside(loop.loop.conditionNetwork)
    condition.add_reduce_sum("s", "v", "total", reduce_all=True)
    condition.add_less_than("less", ["total"], "go", alpha=100.0)
    loop.loop.conditionVar = "go"
    body = inside(loop.loop.bodyNetwork)
    body.add_add_broadcastable("double", ["v", "v"], "twice")
    assign(body, "v", "twice")
    body.add_elementwise("count", "n", "more", "ADD", alpha=1.0)
    assign(body, "n", "more")
    constant(b, "two", 2)
    b.add_mod_broadcastable("odd", ["n", "two"], "is_odd")
    branch = b.add_branch("branch", "is_odd")
    inside(branch.branch.ifBranch).add_copy("same", "v", "y")
    inside(branch.branch.elseBranch).add_elementwise("add one", "v", "y", "ADD", alpha=1.0)


def expected_doubled(x):
    turns = 0
    while x.sum() < 100:
        x, turns = x * 2, turns + 1
    return x + (turns % 2 == 0), [turns]


def odd_numbers(b, most=20, condition=False):
    """Adds the odd numbers to y until it passes x; each adds a half more, but the last one."""
    constant(b, "y", 0)
    constant(b, "n", 0)
    constant(b, "two", 2)
    loop = b.add_loop("loop", max_iterations=most)
    if condition:
        asked = inside(loop.loop.conditionNetwork)
        asked.add_elementwise("asked", "n", "asked", "ADD", alpha=1.0)
        asked.add_less_than("less", ["n"], "go", alpha=float(most))
        loop.loop.conditionVar = "go"
    body = inside(loop.loop.bodyNetwork)
    body.add_elementwise("count", "n", "more", "ADD", alpha=1.0)
    assign(body, "n", "more")
    body.add_mod_broadcastable("odd", ["n", "two"], "is_odd")
    even = body.add_branch("even?", "is_odd")
    inside(even.branch.elseBranch).add_loop_continue("next")
    inside(even.branch.ifBranch).add_copy("nothing", "is_odd", "unused")
    body.add_add_broadcastable("add", ["y", "n"], "sum")
    assign(body, "y", "sum")
    body.add_greater_than("over", ["y", "x"], "is_over")
    over = body.add_branch("enough?", "is_over")
    inside(over.branch.ifBranch).add_loop_break("enough")
    body.add_elementwise("half", "y", "and half", "ADD", alpha=0.5)
    assign(body, "y", "and half")


def expected_odd(x, most=20):
    y = n = 0.0
    while n < most:
        n += 1
        if n % 2 == 0:
            continue
        y += n
        if y > x[0]:
            break
        y += 0.5
    return [y], [n]


def nested(b):
    """The inner loop is left at once; the outer one goes on three times."""
    constant(b, "y", 0)
    outer = inside(b.add_loop("outer", max_iterations=3).loop.bodyNetwork)
    inner = inside(outer.add_loop("inner", max_iterations=5).loop.bodyNetwork)
    inner.add_add_broadcastable("add", ["y", "x"], "sum")
    assign(inner, "y", "sum")
    inner.add_loop_break("leave")
    inner.add_elementwise("never", "y", "far", "ADD", alpha=1000.0)
    assign(inner, "y", "far")
    outer.add_elementwise("one more", "y", "more", "ADD", alpha=1.0)
    assign(outer, "y", "more")


def numbers(*values):
    return np.array(values, np.float32)


ROWS = [
    row("copy", lambda b: b.add_copy("l", "x", "y"), {"x": numbers(1, 2)}, numbers(1, 2)),
    row("branch", branch_by_sign, {"x": numbers(1, 2, -1)}, numbers(2, 4, -2)),
    row("branch", branch_by_sign, {"x": numbers(1, -2)}, numbers(-1, 2), label="else"),
    *(
        row("loop", doubled_to_100, {"x": numbers(*x)}, expected_doubled, outputs=("y", "n"), label=f"{sum(x)}")
        for x in ([1, 2, 3], [20, 20, 30], [50, 50, 50])
    ),
    *(
        row(kind, odd_numbers, {"x": numbers(x)}, expected_odd, outputs=("y", "n"), label=f"at {x}")
        for kind, x in [("loopBreak", 3), ("loopBreak", 10), ("loopContinue", 1000)]
    ),
    row("loopBreak", lambda b: odd_numbers(b, 7, True), {"x": numbers(9)}, lambda x: expected_odd(x, 7), outputs=("y", "n"), label="with a condition"),
    row("loopContinue", lambda b: odd_numbers(b, 7, True), {"x": numbers(99)}, lambda x: expected_odd(x, 7), outputs=("y", "n"), label="with a condition"),
    row("loop", lambda b: odd_numbers(b, 0, True), {"x": numbers(9)}, lambda x: expected_odd(x, 0), outputs=("y", "n"), label="without a turn"),
    row("loopBreak", nested, {"x": numbers(5)}, numbers(18), label="of an inner loop"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@parametrize(ROWS)
def test_layer(r, engine):
    check(r, engine)


def test_an_input_decides_at_each_prediction():
    model = pippin.load(specification(ROWS[6]))
    for x in (0.0, 1.0, 3.0, 4.0, 50.0, 1000.0):
        found = model.predict({"x": numbers(x)})
        assert [found["y"], found["n"]] == list(expected_odd(numbers(x)))
