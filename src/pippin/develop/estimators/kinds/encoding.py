"""Encoding: categories, strings or numbers, become numbers.

What a category becomes is asked of the encoder itself, so that dropped and infrequent categories come out as it has
them.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import Forest, lookup
from ..parts.values import Value
from .registry import converts, name_of
from .table import MISSING, Filled, Table

_NOT_A_CATEGORY = "\x00 no such category"
_NOT_A_NUMBER = -987654321.25


def is_missing(value: Any) -> bool:
    return (
        value is None or (isinstance(value, float) and np.isnan(value)) or type(value).__name__ in ("NAType", "NaTType")
    )


@converts("sklearn", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
def encoder(estimator: Any, table: Table) -> Table:
    found = Table(table.graph, [])
    for column in range(table.width):
        found = found + _encoded(estimator, table, column)
    return found


def _encoded(estimator: Any, table: Table, column: int) -> Table:
    categories = list(estimator.categories_[column])
    rows = _rows(estimator, column, categories)
    unknown = _unknown(estimator, column, categories)
    strings = [c for c in categories if isinstance(c, str)]
    if strings and len(strings) + sum(map(is_missing, categories)) != len(categories):
        raise UnsupportedModelError(
            f"column {column} of the {name_of(estimator)} has strings and numbers as categories; Core ML has one kind"
        )
    if strings:
        return Table.of(table.graph, _of_strings(table, column, categories, rows, unknown))
    return Table.of(table.graph, _of_numbers(table, column, categories, rows, unknown))


def _of_strings(
    table: Table, column: int, categories: list[Any], rows: np.ndarray, unknown: np.ndarray | None
) -> Value:
    names = [MISSING if is_missing(c) else str(c) for c in categories]
    place, filled = table.columns[column], None
    if isinstance(place, Filled):
        filled, table = place.fill, Table(table.graph, [place.column])
        column = 0
    graph, count = table.graph, len(names)
    if filled is not None and filled in names and MISSING not in names:
        names, rows = [*names, MISSING], np.concatenate([rows, rows[names.index(filled)][None]])
    if len(set(names)) != len(names):
        raise UnsupportedModelError("an empty string and a missing value cannot be told apart in a Core ML model")
    value = table.category(column, names)
    one_hot = len(names) == count and rows.shape == (count, count) and (rows == np.eye(count)).all()
    if one_hot and (unknown is None or not unknown.any()):
        return graph.one_hot(value, names, refuse=unknown is None)
    known = {float(i): dict(enumerate(map(float, row))) for i, row in enumerate(rows)}
    other = {} if unknown is None else dict(enumerate(map(float, unknown)))
    place_value = graph.place(value, names, None if unknown is None else len(names))
    return graph.trees(place_value, Forest(np.zeros(rows.shape[1]), [lookup(0, known, other)]))


def _of_numbers(
    table: Table, column: int, categories: list[Any], rows: np.ndarray, unknown: np.ndarray | None
) -> Value:
    known, missing = {}, None
    for category, row in zip(categories, rows, strict=True):
        values = dict(enumerate(map(float, row)))
        if is_missing(category):
            missing = values
        else:
            known[float(category)] = values
    place = table.columns[column]
    if isinstance(place, int):
        table.graph.categories[place] = [float("nan") if is_missing(c) else float(c) for c in categories]
    other = {} if unknown is None else dict(enumerate(map(float, unknown)))
    tree = lookup(0, known, other, other if missing is None else missing)
    return table.graph.trees(table.select([column]).numbers(), Forest(np.zeros(rows.shape[1]), [tree]))


def _rows(estimator: Any, column: int, categories: list[Any]) -> np.ndarray:
    """What the encoder makes of each category (categories, outputs)."""
    return _asked(estimator, column, categories)


def _unknown(estimator: Any, column: int, categories: list[Any]) -> np.ndarray | None:
    """What it makes of an unknown one; None if it raises."""
    if getattr(estimator, "handle_unknown", "") == "error":
        return None
    strings = any(isinstance(c, str) for c in categories)
    found: np.ndarray = _asked(estimator, column, [_NOT_A_CATEGORY if strings else _NOT_A_NUMBER])[0]
    return found


def _asked(estimator: Any, column: int, values: list[Any]) -> np.ndarray:
    firsts = [c[0] for c in estimator.categories_]
    probe = np.empty((len(values), len(firsts)), object)
    for place, first in enumerate(firsts):
        probe[:, place] = [first] * len(values)
    probe[:, column] = values
    if all(np.asarray(c).dtype.kind in "fiub" for c in estimator.categories_):
        probe = probe.astype(np.float64)
    names = getattr(estimator, "feature_names_in_", None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = estimator.transform(probe) if names is None else estimator.transform(_frame(probe, names))
    made = np.asarray(made.toarray() if hasattr(made, "toarray") else made, np.float64)
    widths = _widths(estimator)
    start = sum(widths[:column])
    found: np.ndarray = made[:, start : start + widths[column]]
    return found


def _frame(probe: np.ndarray, names: Any) -> Any:
    import pandas

    return pandas.DataFrame(probe, columns=names)


def _widths(estimator: Any) -> list[int]:
    """The number of outputs of each column."""
    count = len(estimator.categories_)
    match type(estimator).__name__:
        case "OneHotEncoder":
            return [int(n) for n in estimator._n_features_outs]
        case "TargetEncoder":
            return [len(estimator.classes_) if estimator.target_type_ == "multiclass" else 1] * count
    return [1] * count


def coded(table: Table, categories: list[Any]) -> Table:
    """A column of pandas categories as their numbers, NaN for an unknown or a missing one."""
    graph, missing, column = table.graph, {0: float("nan")}, table.columns[0]
    if isinstance(column, int):
        graph.typed[column] = list(categories)
    if not all(isinstance(c, str) for c in categories):
        known = {float(c): {0: float(i)} for i, c in enumerate(categories) if not is_missing(c)}
        if isinstance(column, int):
            graph.categories[column] = [float(c) for c in categories]
        return Table.of(graph, graph.trees(table.numbers(), Forest(np.zeros(1), [lookup(0, known, missing, missing)])))
    place = graph.place(table.category(0, list(categories)), [*categories], len(categories))
    known = {float(i): {0: float(i)} for i in range(len(categories))}
    return Table.of(graph, graph.trees(place, Forest(np.zeros(1), [lookup(0, known, missing, missing)])))
