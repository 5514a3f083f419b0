"""Sampling: runs a share of the rows of each large parametrized test, so that `make test` ends in minutes.

`--sample 0.4` keeps 40 % of the rows of every test function that has at least `LARGE` rows; `--sample-seed` chooses which.
`make test-all` runs every row. Which rows are kept depends on the seed and on their names alone, so that all processes
of pytest-xdist agree.
"""

from __future__ import annotations

import math
from collections import defaultdict
from hashlib import blake2b

import pytest

LARGE = 8


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sampling")
    group.addoption("--sample", type=float, default=1.0, help="share of the rows of large tests to run, 0 to 1")
    group.addoption("--sample-seed", type=int, default=0, help="chooses the rows")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    share, seed = config.getoption("--sample"), config.getoption("--sample-seed")
    if share >= 1:
        return
    left_out = set(unsampled([item.nodeid for item in items], share, seed))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
    items[:] = [item for item in items if item.nodeid not in left_out]


def unsampled(names: list[str], share: float, seed: int) -> list[str]:
    """The names that are left out: of each function with `LARGE` rows or more, all but `share` of them, and never all."""
    rows: dict[str, list[str]] = defaultdict(list)
    for name in names:
        rows[name.partition("[")[0]].append(name)
    out = []
    for of_one in rows.values():
        if len(of_one) >= LARGE:
            kept = max(1, math.ceil(share * len(of_one)))
            out += sorted(of_one, key=lambda name: blake2b(f"{seed} {name}".encode()).digest())[kept:]
    return out
