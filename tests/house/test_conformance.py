"""Conformance: the suite's own machinery: what is chosen, and what is expected to fail."""

from __future__ import annotations

from itertools import pairwise

import pytest

from conformance.expected import Expected, expectation, expectations
from conformance.suite import FOLDERS, choose, folder_of, root

NODES = [f"a/test_x.py::T::one[{i}]" for i in range(100)] + [f"a/test_x.py::T::two[{i}]" for i in range(3)]


def test_a_few_cases_of_each_function():
    chosen = choose(NODES, cases=2, total=0, seed=0)
    assert sum("one" in node for node in chosen) == 2
    assert sum("two" in node for node in chosen) == 2


def test_they_lie_evenly_and_depend_on_the_seed():
    numbers = sorted(int(node[node.index("[") + 1 : -1]) for node in choose(NODES[:100], 10, 0, seed=3))
    assert {b - a for a, b in pairwise(numbers)} == {10}
    assert choose(NODES, 2, 0, seed=0) == choose(NODES, 2, 0, seed=0)
    assert len({frozenset(choose(NODES, 1, 0, seed)) for seed in range(20)}) > 1


def test_all_and_a_total():
    assert choose(NODES, cases=0, total=0, seed=0) == set(NODES)
    assert len(choose(NODES, cases=0, total=7, seed=0)) == 7


@pytest.mark.parametrize(
    ("test", "cases", "node", "covered"),
    [
        ("a/t.py::T::f", "", "a/t.py::T::f[1]", True),
        ("a/t.py::T::f", "", "a/t.py::T::f", True),
        ("a/t.py::T::f", "", "a/t.py::T::f_more[1]", False),
        ("a/t.py::T", "", "a/t.py::T::f[1]", True),
        ("a", "", "a/t.py::T::f[1]", True),
        ("a/t.py::T::f", "x=-1", "a/t.py::T::f[x=-1-y=2]", True),
        ("a/t.py::T::f", "x=-1", "a/t.py::T::f[x=1-y=2]", False),
    ],
)
def test_what_an_entry_covers(test, cases, node, covered):
    assert Expected(test, "apple", "", cases).covers(node) is covered


def test_every_entry_has_a_reason_and_a_file_that_is_there():
    for entry in expectations(strict=True):
        assert len(entry.reason) > 20, entry
        assert folder_of(entry.test) in FOLDERS
        assert (root() / entry.test.partition("::")[0]).exists(), entry
    assert expectation("no/such/test.py::test") is None
