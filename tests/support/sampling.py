"""Sampling: runs a share of the tests that take long, so that `make test` ends in minutes.

`--sample 0.25` keeps a quarter of the rows of each test function that has at least `LARGE` rows. `--sample-slow 0.5` keeps
half of the tests in each file that are marked slow, process or browser. `--sample-seed` chooses which. `make test-all` runs
everything. The choice depends on the seed and on the tests' names alone, so all processes of pytest-xdist agree.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from hashlib import blake2b

import pytest

LARGE = 4
MARKS = ("slow", "process", "browser")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sampling")
    group.addoption("--sample", type=float, default=1.0, help="share of the rows of large tests, 0 to 1")
    group.addoption("--sample-slow", type=float, default=1.0, help="share of the tests marked slow, process or browser")
    group.addoption("--sample-seed", type=int, default=0, help="chooses the sample")


@pytest.hookimpl(trylast=True)  # after the marks are set
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    share, slow, seed = (config.getoption(f"--sample{name}") for name in ("", "-slow", "-seed"))
    marked = {item.nodeid for item in items if any(item.get_closest_marker(mark) for mark in MARKS)}
    rows = unsampled((item.nodeid for item in items), function_of, LARGE, share, seed)
    tests = unsampled((name for name in marked if name not in rows), file_of, 2, slow, seed)
    left_out = rows | tests
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


def function_of(name: str) -> str:
    return name.partition("[")[0]


def file_of(name: str) -> str:
    return name.partition("::")[0]


def unsampled(names: Iterable[str], group_of: Callable[[str], str], large: int, share: float, seed: int) -> set[str]:
    """The names to leave out: of each group with `large` names or more, all but `share` of them, and never all."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[group_of(name)].append(name)
    left_out: set[str] = set()
    for group in groups.values():
        if len(group) >= large:
            kept = max(1, math.ceil(share * len(group)))
            left_out.update(sorted(group, key=lambda name: blake2b(f"{seed} {name}".encode()).digest())[kept:])
    return left_out
