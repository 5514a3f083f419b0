"""Partition: the cheapest assignment, against trying every one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pippin.specialization.segment.partition import Problem, Transfer, partition

UNITS = 3


def random_problem(random, operations, units=UNITS, refused=0.15):
    """A random graph: each value is read by any number of later operations."""
    costs = random.uniform(0, 3, (operations, units))
    costs[random.random(costs.shape) < refused] = np.inf
    costs[np.isinf(costs).all(1), 0] = 1.0
    transfers = []
    for producer in range(operations - 1):
        readers = [c for c in range(producer + 1, operations) if random.random() < 0.4]
        if readers:
            transfers.append(Transfer(producer, tuple(readers), random.uniform(0, 2, (units, units)).tolist()))
    return Problem(costs.tolist(), transfers)


def cheapest(problem, units=UNITS):
    """The least cost of all assignments: one array with an axis for each operation."""
    count = len(problem.costs)
    grid = np.array(list(product(range(units), repeat=count)))
    total = np.zeros(len(grid))
    for operation, row in enumerate(problem.costs):
        total += np.array(row)[grid[:, operation]]
    for transfer in problem.transfers:
        seconds, source = np.array(transfer.seconds), grid[:, transfer.producer]
        for unit in range(units):
            there = (grid[:, list(transfer.consumers)] == unit).any(1) & (source != unit)
            total += np.where(there, seconds[source, unit], 0.0)
    return total.min()


@pytest.mark.parametrize("part", range(10))
def test_as_cheap_as_the_cheapest_of_all(part):
    """1,000 random graphs of up to 9 operations and 3 units, in ten parts."""
    random = np.random.default_rng(part)
    for _ in range(100):
        problem = random_problem(random, int(random.integers(1, 10)))
        found = partition(problem)
        assert found.proved
        assert found.cost == pytest.approx(cheapest(problem))
        assert found.cost == pytest.approx(problem.cost(found.units))


def test_a_transfer_is_paid_once_for_each_unit_that_reads():
    bring = [[0, 5], [5, 0]]
    problem = Problem([[0, 9], [9, 1], [9, 1]], [Transfer(0, (1, 2), bring)])
    assert partition(problem).cost == 7
    assert partition(problem).units == (0, 1, 1)


def test_a_dear_transfer_keeps_everything_together():
    bring = [[0, 50], [50, 0]]
    assert partition(Problem([[1, 9], [9, 1]], [Transfer(0, (1,), bring)])).units in ((0, 0), (1, 1))


def test_no_unit_for_an_operation():
    assert partition(Problem([[1.0, 1.0], [np.inf, np.inf]])).cost == np.inf


@pytest.mark.parametrize("costs", [[], [[2.0]], [[2.0], [3.0]]])
def test_one_unit(costs):
    found = partition(Problem(costs))
    assert found.units == (0,) * len(costs)
    assert found.cost == sum(sum(row) for row in costs)


def test_long_graphs_are_exact():
    random = np.random.default_rng(0)
    costs = random.uniform(0, 1, (10_000, UNITS))
    transfers = [
        Transfer(i, (i + 1, min(i + 5, 9_999)) if i % 4 == 0 else (i + 1,), random.uniform(0, 0.5, (UNITS, UNITS)))
        for i in range(9_999)
    ]
    found = partition(Problem(costs.tolist(), transfers))
    assert found.proved
    assert found.cost == pytest.approx(Problem(costs.tolist(), transfers).cost(found.units))


def test_a_graph_that_is_too_wide_is_still_partitioned():
    """40 values, each read by 30 operations: no order of elimination keeps that narrow."""
    random = np.random.default_rng(1)
    costs = random.uniform(0, 1, (80, 4)).tolist()
    transfers = [
        Transfer(i, tuple(int(c) for c in random.choice(np.arange(40, 80), 30, False)), random.uniform(0, 1, (4, 4)))
        for i in range(40)
    ]
    problem = Problem(costs, transfers)
    found = partition(problem)
    assert not found.proved
    assert found.cost <= min(problem.cost((unit,) * 80) for unit in range(4))
