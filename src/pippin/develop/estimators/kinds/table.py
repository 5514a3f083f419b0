"""Table: the columns that an estimator is given: those of the data, and those that transformers made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.graph import Graph
from ..parts.values import HASHES, STRING, WORDS, Value

MISSING = ""
"""What stands for a missing category in a model: an empty string."""


class Element(NamedTuple):
    """One number of a row."""

    value: Value
    place: int


class Filled(NamedTuple):
    """A column of strings whose missing ones count as `fill`."""

    column: int
    fill: str


Column: TypeAlias = int | Element | Filled


class Table:
    """Columns in order. Each is an input of the model (its index) or an element of a row that a part gives."""

    def __init__(self, graph: Graph, columns: Sequence[Column]) -> None:
        self.graph, self.columns = graph, list(columns)

    @classmethod
    def of(cls, graph: Graph, value: Value) -> Table:
        value = graph.row(value)
        return cls(graph, [Element(value, place) for place in range(value.width)])

    @property
    def width(self) -> int:
        return len(self.columns)

    def select(self, indices: Sequence[int]) -> Table:
        return Table(self.graph, [self.columns[int(index)] for index in indices])

    def __add__(self, other: Table) -> Table:
        return Table(self.graph, self.columns + other.columns)

    def numbers(self) -> Value:
        """All columns as one row of numbers."""
        if not self.columns:
            raise UnsupportedModelError("an estimator without any columns cannot be converted")
        return self.graph.concat([self._run(run) for run in self._runs()])

    def _runs(self) -> Iterator[list[Column]]:
        """Neighbours that come from the same place."""
        run: list[Column] = []
        for column in self.columns:
            if run and _source(run[0]) is not _source(column):
                yield run
                run = []
            run.append(column)
        yield run

    def _run(self, run: list[Any]) -> Value:
        if isinstance(run[0], Filled):
            raise UnsupportedModelError("an imputed column of strings must be encoded before an estimator of numbers")
        if isinstance(run[0], Element):
            return self.graph.select(run[0].value, [element.place for element in run])
        return self.graph.numbers(run)

    def is_input(self, index: int) -> bool:
        return isinstance(self.columns[index], int)

    def category(self, index: int, categories: Sequence[Any]) -> Value:
        """A column of strings. Raises UnsupportedModelError if a part made it: parts only give numbers."""
        column = self.columns[index]
        if not isinstance(column, int):
            raise UnsupportedModelError(f"column {index} takes strings from a transformer that gives numbers")
        self.graph.categories[column] = list(categories)
        return self.graph.take(column, STRING)

    def words(self, encoder: Callable[[Any], Any], hashed: bool = False) -> Value:
        """The only column, as a dictionary that `encoder` makes of what the estimator takes."""
        if self.width != 1 or not isinstance(self.columns[0], int):
            raise UnsupportedModelError(f"a vectorizer takes one column of texts, got {self.width} columns")
        self.graph.encoders[self.columns[0]] = encoder
        return self.graph.take(self.columns[0], HASHES if hashed else WORDS)

    def seen(self, low: Any, high: Any) -> None:
        """Note the range of each column, where it is an input."""
        low, high = (np.broadcast_to(np.asarray(v, np.float64), (self.width,)) for v in (low, high))
        for column, a, b in zip(self.columns, low, high, strict=True):
            if isinstance(column, int):
                row = self.graph.ranges[column]
                row[:] = np.fmin(row[0], a), np.fmax(row[1], b)


def _source(column: Column) -> Any:
    return column.value if isinstance(column, Element) else type(column)
