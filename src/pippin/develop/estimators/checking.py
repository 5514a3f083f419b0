"""Checking: a converted model must predict what its source predicts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ConversionError
from .converted import Converted
from .kinds.classified import Classified, labels_of
from .kinds.registry import name_of
from .kinds.table import MISSING, Table
from .parts.graph import Graph
from .parts.values import STRING

_ROWS = 200
_MISSING_SHARE, _TIE_SHARE = 0.05, 0.2


@dataclass
class Expected:
    """What the source predicts: labels and probabilities, or numbers (rows, outputs)."""

    labels: list[Any] | None = None
    probabilities: np.ndarray | None = None
    numbers: np.ndarray | None = None


def compare(
    converted: Converted, estimator: Any, made: Any, graph: Graph, rows: Any, tolerance: float | None = None
) -> None:
    """Raise ConversionError for the first row on which the model differs from the estimator."""
    if rows is None or rows is True:
        rows = made_up(converted, estimator, made, graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = predicted(estimator, made, rows)
    limit = graph.tolerance if tolerance is None else tolerance
    model = converted.load()
    found = [dict(model.predict(features)) for features in converted.features(rows)]
    differing(found, expected, made, limit, name_of(estimator))


def differing(found: list[dict[str, Any]], expected: Expected, made: Any, limit: float, name: str) -> None:
    """Raise ConversionError for the first prediction that differs from what is expected by more than `limit`."""
    for number, outputs in enumerate(found):
        values = list(outputs.values())
        if expected.numbers is not None:
            scale = max(1.0, float(np.nanmax(np.abs(expected.numbers), initial=0.0)))
            _close(np.ravel(values[0]), expected.numbers[number], limit * scale, number, name, "predicts")
            continue
        assert expected.labels is not None
        row = None
        if expected.probabilities is not None:
            row = expected.probabilities[number]
            scores = np.array([values[1][label] for label in made.classes])
            _close(scores, row, limit, number, name, "gives the probabilities")
        if values[0] != expected.labels[number] and not _tied(row, limit):
            raise _error(number, name, "predicts", repr(expected.labels[number]), repr(values[0]))


def _tied(row: np.ndarray | None, limit: float) -> bool:
    """Whether the two best classes are as near as probabilities may differ."""
    if row is None or len(row) < 2:
        return False
    best = np.sort(row)[-2:]
    return bool(best[1] - best[0] <= limit)


def _close(found: np.ndarray, right: np.ndarray, limit: float, number: int, name: str, what: str) -> None:
    same = (np.abs(found - right) <= limit) | (np.isnan(found) & np.isnan(right)) | (found == right)
    if not same.all():
        raise _error(number, name, what, np.array2string(right, precision=9), np.array2string(found, precision=9))


def _error(number: int, name: str, what: str, right: str, found: str) -> ConversionError:
    return ConversionError(
        f"row {number}: the {name} {what} {right}, the converted model {found}; the model is not returned."
        " `tolerance` sets how far they may differ, `check=False` does not compare them"
    )


def predicted(estimator: Any, made: Any, rows: Any) -> Expected:
    """What the estimator says of rows."""
    if isinstance(made, Table):
        numbers = estimator.transform(rows)
        return Expected(numbers=_rows(numbers.toarray() if hasattr(numbers, "toarray") else numbers))
    if name_of(estimator) == "Booster":
        return _of_booster(estimator, made, rows)
    if not isinstance(made, Classified):
        return Expected(numbers=_rows(estimator.predict(rows)))
    if name_of(estimator).startswith("CatBoost"):
        return _of_scores(np.asarray(estimator.predict(rows, prediction_type="Probability")), made)
    labels = labels_of(np.ravel(estimator.predict(rows)), name_of(estimator))
    return Expected(labels, np.asarray(estimator.predict_proba(rows)) if made.has_probabilities else None)


def _of_booster(estimator: Any, made: Any, rows: Any) -> Expected:
    if hasattr(estimator, "num_features"):  # XGBoost's takes its own matrices
        import xgboost

        names = getattr(rows, "columns", None)
        given = xgboost.DMatrix(rows, feature_names=estimator.feature_names if names is None else list(names))
        if estimator.feature_types and "c" in estimator.feature_types:
            given = xgboost.DMatrix(
                rows,
                feature_names=estimator.feature_names,
                feature_types=estimator.feature_types,
                enable_categorical=True,
            )
        scores = np.asarray(estimator.predict(given))
    else:
        scores = np.asarray(estimator.predict(rows))
    return _of_scores(scores, made) if isinstance(made, Classified) else Expected(numbers=_rows(scores))


def _of_scores(scores: np.ndarray, made: Classified) -> Expected:
    """Labels from probabilities; a label alone (an objective that gives it) is compared as such."""
    if scores.ndim == 1 and len(made.classes) > 2:
        return Expected([made.classes[int(score)] for score in scores])
    if scores.ndim == 1:
        scores = np.stack([1 - scores, scores], axis=1)
    return Expected([made.classes[int(i)] for i in scores.argmax(axis=1)], scores)


def _rows(numbers: Any) -> np.ndarray:
    found = np.asarray(numbers, np.float64)
    return found.reshape(len(found), -1)


# Rows to try.


def made_up(converted: Converted, estimator: Any, made: Any, graph: Graph) -> Any:
    """Rows within the ranges that the estimator knows, some on thresholds of trees, some with NaN if it takes NaN."""
    random = np.random.default_rng(0)
    if any(graph.encoders.get(i) for i in range(len(graph.columns))) and len(graph.columns) == 1:
        return _texts(graph, 0, random, mapping=_takes_mappings(estimator))
    columns = [_column(graph, place, random) for place in range(len(graph.columns))]
    rows = _table(columns, converted, estimator, graph)
    missing = [place for place, c in enumerate(graph.columns) if c.kind != STRING and not graph.encoders.get(place)]
    holed = [_holed(c, random) if place in missing else c for place, c in enumerate(columns)]
    other = _table(holed, converted, estimator, graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            predicted(estimator, made, other)
        except Exception:  # it takes no NaN: whatever it raises
            return rows
    return other


def _takes_mappings(estimator: Any) -> bool:
    steps = getattr(estimator, "steps", None)
    return name_of(steps[0][1] if steps else estimator) == "DictVectorizer"


def _column(graph: Graph, place: int, random: np.random.Generator) -> list[Any]:
    if graph.encoders.get(place):
        return _texts(graph, place, random)
    categories = graph.categories[place]
    if categories is not None:
        chosen = [categories[i] for i in random.integers(0, len(categories), _ROWS)]
        return [None if c == MISSING else c for c in chosen] if graph.columns[place].kind == STRING else chosen
    low, high = graph.ranges[place]
    if np.isnan(low):
        found = random.normal(size=_ROWS)
    else:
        low, high = (low - 1, high + 1) if low == high else (low, high)
        found = random.uniform(low, high, _ROWS)
    ties = graph.ties.get(place)
    if ties:
        found = np.where(random.random(_ROWS) < _TIE_SHARE, random.choice(ties, _ROWS), found)
    return list(found.tolist())


def _texts(graph: Graph, place: int, random: np.random.Generator, mapping: bool = False) -> list[Any]:
    words = list(graph.vocabularies.get(place, [])) or ["one", "two", "three", "four"]
    found: list[Any] = []
    for _ in range(_ROWS):
        some = [words[i] for i in random.integers(0, len(words), 8)]
        found.append(dict.fromkeys(some, 1.0) if mapping else " ".join(some))
    return found


def _holed(column: list[Any], random: np.random.Generator) -> list[Any]:
    return [
        float("nan") if hole else value
        for value, hole in zip(column, random.random(_ROWS) < _MISSING_SHARE, strict=True)
    ]


def _table(columns: list[list[Any]], converted: Converted, estimator: Any, graph: Graph) -> Any:
    """A data frame for an estimator that was fitted with one, else an array."""
    if converted.array is not None:
        return np.array(columns, np.float64).T
    if not hasattr(estimator, "feature_names_in_") and not any(isinstance(v, str) for c in columns for v in c):
        return np.array(columns, np.float64).T
    import pandas

    names = list(getattr(estimator, "feature_names_in_", [each.name for each in converted.inputs]))
    found = {
        name: _typed(column, graph.typed.get(place))
        for place, (name, column) in enumerate(zip(names, columns, strict=True))
    }
    return pandas.DataFrame(found)


def _typed(column: list[Any], categories: Any) -> Any:
    if categories is None:
        return column
    import pandas

    whole = not any(isinstance(c, str | float) for c in categories)
    values = [int(v) if whole and v == v else v for v in column]
    return pandas.Categorical([None if v != v else v for v in values], categories=list(categories))
