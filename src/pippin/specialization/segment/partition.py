"""Partition: assigns the operations of any graph to units at the lowest total cost, transfers included.

The cost of an assignment is the cost of each operation on its unit, plus the cost of transferring each value from the
unit that produces it to every other unit that reads it (once per unit). This is a sum of factors over few variables
each, which bucket elimination minimizes exactly, one variable at a time (R. Dechter, "Bucket elimination: A unifying
framework for reasoning", 1999). A value with many readers gets a variable of its own, the set of units that have it, so
that a wide fan-out needs only pairwise factors. The work grows with the width of the graph, not its length. If a graph
is too wide, its widest variables are fixed greedily, and the result is not marked as proved optimal.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

# Maximum table size of one elimination; 4 units and 8 neighbours just fit.
_TABLE = 1 << 18
# Up to this table size, a value and its readers are one factor, which is cheaper than an extra variable.
_DIRECT = 256


@dataclass(frozen=True, slots=True)
class Transfer:
    """A value that operation `producer` writes and `consumers` read; a transfer takes `seconds[from][to]`."""

    producer: int
    consumers: tuple[int, ...]
    seconds: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Problem:
    """`costs[operation][unit]` in seconds; infinite if the unit must not run the operation."""

    costs: Sequence[Sequence[float]]
    transfers: Sequence[Transfer] = ()

    def cost(self, units: Sequence[int]) -> float:
        """The cost of an assignment (the unit of each operation)."""
        total = sum(float(row[unit]) for row, unit in zip(self.costs, units, strict=True))
        for transfer in self.transfers:
            source = units[transfer.producer]
            total += sum(transfer.seconds[source][d] for d in {units[c] for c in transfer.consumers} - {source})
        return total


@dataclass(frozen=True, slots=True)
class Partition:
    units: tuple[int, ...]
    cost: float
    proved: bool
    """Whether this is proved to be the cheapest assignment."""


def partition(problem: Problem) -> Partition:
    """The cheapest assignment; its cost is infinite if no unit can run some operation."""
    if not problem.costs:
        return Partition((), 0.0, True)
    units = len(problem.costs[0])
    if units == 1:
        return Partition((0,) * len(problem.costs), problem.cost((0,) * len(problem.costs)), True)
    elimination = _Elimination(problem, units)
    solution = elimination.solve()
    best = min([solution, *_uniform(problem, units)], key=problem.cost)
    if not elimination.exact:
        best = _improved(problem, best, units)
    return Partition(tuple(best), problem.cost(best), elimination.exact)


def _uniform(problem: Problem, units: int) -> list[list[int]]:
    """For each unit, everything on it except what it must not run."""
    costs = np.asarray(problem.costs, np.float64)
    return [np.where(np.isinf(costs[:, unit]), costs.argmin(1), unit).tolist() for unit in range(units)]


def _improved(problem: Problem, assignment: list[int], units: int) -> list[int]:
    """Local search: moves one operation at a time while that helps."""
    touching: list[list[Transfer]] = [[] for _ in problem.costs]
    for transfer in problem.transfers:
        for operation in {transfer.producer, *transfer.consumers}:
            touching[operation].append(transfer)

    def local(operation: int) -> float:
        total = float(problem.costs[operation][assignment[operation]])
        for transfer in touching[operation]:
            source = assignment[transfer.producer]
            total += sum(transfer.seconds[source][d] for d in {assignment[c] for c in transfer.consumers} - {source})
        return total

    for _ in range(4):
        before = list(assignment)
        for operation in range(len(assignment)):
            prices = []
            for unit in range(units):
                assignment[operation] = unit
                prices.append(local(operation))
            assignment[operation] = int(np.argmin(prices))
        if assignment == before:
            break
    return assignment


def _direct(seconds: np.ndarray, readers: int) -> np.ndarray:
    """[producer's unit, unit of each reader]: cost of transferring the value once to every unit that reads it."""
    units = len(seconds)
    assigned = np.indices((units,) * (readers + 1))
    total = np.zeros(assigned.shape[1:])
    for unit in range(units):
        total += np.where((assigned[1:] == unit).any(axis=0), seconds[assigned[0], unit], 0.0)
    return total


class _Elimination:
    """Variables 0 to n-1 are the operations, followed by one for each value with many readers."""

    def __init__(self, problem: Problem, units: int) -> None:
        self.exact = True
        self.operations = len(problem.costs)
        self.sizes = [units] * self.operations
        self.factors: list[dict[int, tuple[tuple[int, ...], np.ndarray]]] = [{} for _ in problem.costs]
        self._next = 0
        for operation, row in enumerate(problem.costs):
            self._add((operation,), np.asarray(row, np.float64))
        subsets = (np.arange(1 << units)[:, None] >> np.arange(units)) & 1  # [set, unit]
        absent = np.where(subsets == 1, 0.0, inf)
        for transfer in problem.transfers:
            seconds = np.asarray(transfer.seconds, np.float64) * (1 - np.eye(units))
            readers = sorted(set(transfer.consumers) - {transfer.producer})
            if len(readers) > 0 and units ** (len(readers) + 1) <= _DIRECT:
                self._add((transfer.producer, *readers), _direct(seconds, len(readers)))
            elif readers:
                present = len(self.sizes)
                self.sizes.append(1 << units)
                self.factors.append({})
                self._add((transfer.producer, present), np.einsum("pd,sd->ps", seconds, subsets))
                for reader in readers:
                    self._add((present, reader), absent)

    def solve(self) -> list[int]:
        """Eliminate the variable with the fewest neighbours until none is left, then assign values in reverse order."""
        order: list[tuple[int, tuple[int, ...], np.ndarray]] = []
        heap = [(len(self._neighbours(v)), v) for v in range(len(self.sizes))]
        heapq.heapify(heap)
        done = [False] * len(self.sizes)
        while heap:
            degree, variable = heapq.heappop(heap)
            if done[variable]:
                continue
            neighbours = self._neighbours(variable)
            if len(neighbours) != degree:
                heapq.heappush(heap, (len(neighbours), variable))
                continue
            if self.sizes[variable] * int(np.prod([self.sizes[n] for n in neighbours], dtype=np.float64)) > _TABLE:
                self._fix(max(neighbours, key=lambda n: len(self.factors[n])))
                heapq.heappush(heap, (len(self._neighbours(variable)), variable))
                continue
            done[variable] = True
            scope, table = self._joined(variable, neighbours)
            order.append((variable, scope, table.argmin(axis=0)))
            if scope:
                self._add(scope, table.min(axis=0))
                for neighbour in scope:
                    heapq.heappush(heap, (len(self._neighbours(neighbour)), neighbour))
        decided = [0] * len(self.sizes)
        for variable, scope, choice in reversed(order):
            decided[variable] = int(choice[tuple(decided[n] for n in scope)])
        return decided[: self.operations]

    def _add(self, scope: tuple[int, ...], table: np.ndarray) -> None:
        for variable in scope:
            self.factors[variable][self._next] = (scope, table)
        self._next += 1

    def _neighbours(self, variable: int) -> set[int]:
        around: set[int] = set()
        for scope, _ in self.factors[variable].values():
            around.update(scope)
        around.discard(variable)
        return around

    def _joined(self, variable: int, neighbours: set[int]) -> tuple[tuple[int, ...], np.ndarray]:
        """Remove all factors of a variable and return their sum, over the variable and then its neighbours."""
        scope = (variable, *sorted(neighbours))
        total: np.ndarray | None = None
        for number, (variables, table) in list(self.factors[variable].items()):
            axes = [variables.index(v) for v in scope if v in variables]
            shape = [self.sizes[v] if v in variables else 1 for v in scope]
            part = table.transpose(axes).reshape(shape)
            total = part if total is None else total + part
            for other in variables:
                del self.factors[other][number]
        assert total is not None
        return scope[1:], np.broadcast_to(total, [self.sizes[v] for v in scope])

    def _fix(self, variable: int) -> None:
        """Fix a variable at its cheapest value, ignoring transfers, which splits the graph around it."""
        self.exact = False
        own = sum((t for s, t in self.factors[variable].values() if s == (variable,)), np.zeros(self.sizes[variable]))
        value = int(np.argmin(own)) if variable < self.operations else self.sizes[variable] - 1
        for number, (variables, table) in list(self.factors[variable].items()):
            if variables == (variable,):
                continue
            rest = tuple(v for v in variables if v != variable)
            for other in variables:
                del self.factors[other][number]
            self._add(rest, np.take(table, value, axis=variables.index(variable)))
        only = np.full(self.sizes[variable], inf)
        only[value] = 0.0
        self._add((variable,), only)
