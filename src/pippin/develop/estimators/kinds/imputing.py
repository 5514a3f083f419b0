"""Imputing: what stands for a missing number or category."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Forest, lookup
from .registry import converts, name_of, refuses
from .table import Filled, Table

refuses("sklearn", "it compares each row with the training rows that have the same columns", "KNNImputer")
refuses("sklearn", "it predicts each column from the others in turn, again and again", "IterativeImputer")


@converts("sklearn", "SimpleImputer")
def simple(estimator: Any, table: Table) -> Table:
    fills = np.asarray(estimator.statistics_)
    kept = _kept(estimator, fills)
    if fills.dtype.kind in "OU" and any(isinstance(fill, str) for fill in fills):
        if estimator.add_indicator:
            raise UnsupportedModelError(
                "SimpleImputer with add_indicator=True is converted for numbers, not for strings"
            )
        return Table(table.graph, [Filled(_input(table, i), str(fills[i])) for i in kept])
    made = _numbers(estimator, table.select(kept), np.asarray(fills[kept], np.float64))
    if estimator.add_indicator and estimator.indicator_ is not None:
        made = made + indicated(estimator.indicator_, table)
    return made


def _kept(estimator: Any, fills: np.ndarray) -> list[int]:
    """Columns that had no value at all are dropped."""
    if estimator.keep_empty_features or estimator.strategy == "constant":
        return list(range(len(fills)))
    return [i for i, fill in enumerate(fills) if isinstance(fill, str) or not np.isnan(float(fill))]


def _input(table: Table, index: int) -> int:
    column = table.columns[index]
    if not isinstance(column, int):
        raise UnsupportedModelError("strings are imputed before any other transformer")
    return column


def _numbers(estimator: Any, table: Table, fills: np.ndarray) -> Table:
    missing = estimator.missing_values
    if missing is None or isinstance(missing, str):
        raise UnsupportedModelError(
            f"{name_of(estimator)} looks for {missing!r} among numbers; converted are numbers and NaN"
        )
    if np.isnan(missing):
        _note_missing(table)
    return Table.of(table.graph, table.graph.filled(table.numbers(), fills, float(missing)))


def _note_missing(table: Table) -> None:
    for column in table.columns:
        if isinstance(column, int):
            table.graph.missing.add(column)


@converts("sklearn", "MissingIndicator")
def indicator(estimator: Any, table: Table) -> Table:
    return indicated(estimator, table)


def indicated(estimator: Any, table: Table) -> Table:
    """A one for each missing number."""
    value, features = estimator.missing_values, estimator.features_
    if value is None or isinstance(value, str):
        raise UnsupportedModelError(f"{name_of(estimator)} is converted for numbers, got {value!r}")
    forest = Forest(np.zeros(len(features)))
    for place, column in enumerate(features):
        one = {place: 1.0}
        forest.trees.append(
            lookup(int(column), {}, {}, one) if np.isnan(value) else lookup(int(column), {float(value): one}, {})
        )
    _note_missing(table)
    return Table.of(table.graph, table.graph.trees(table.numbers(), forest))
