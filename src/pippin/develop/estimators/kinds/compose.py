"""Compose: pipelines, transformers of some columns, and what wraps another estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.graph import Graph
from ..parts.values import Value
from .neighbors import Clusters
from .registry import convert, converts, name_of
from .scaling import function_step
from .table import Table


def transformed(estimator: Any, table: Table) -> Table:
    """What a transformer makes of a table."""
    if estimator in (None, "passthrough"):
        return table
    if estimator == "drop":
        return Table(table.graph, [])
    made = convert(estimator, table)
    if isinstance(made, Clusters):
        return Table.of(table.graph, made.transformed())
    if not isinstance(made, Table):
        raise UnsupportedModelError(f"{name_of(estimator)} is not converted as a transformer")
    return made


@converts("sklearn", "Pipeline")
def pipeline(estimator: Any, table: Table) -> Any:
    *before, last = (step for _, step in estimator.steps)
    for step in before:
        table = transformed(step, table)
    return table if last in (None, "passthrough") else convert(last, table)


@converts("sklearn", "ColumnTransformer")
def columns(estimator: Any, table: Table) -> Table:
    found = Table(table.graph, [])
    for name, transformer, _ in estimator.transformers_:
        indices = estimator._transformer_to_input_indices.get(name, [])
        if len(indices):
            found = found + _weighted(estimator, name, transformed(transformer, table.select(indices)))
    return found


@converts("sklearn", "FeatureUnion")
def union(estimator: Any, table: Table) -> Table:
    found = Table(table.graph, [])
    for name, transformer in estimator.transformer_list:
        found = found + _weighted(estimator, name, transformed(transformer, table))
    return found


def _weighted(estimator: Any, name: str, table: Table) -> Table:
    weight = (estimator.transformer_weights or {}).get(name)
    return table if weight is None else Table.of(table.graph, table.graph.scale(table.numbers(), 0.0, float(weight)))


@converts("sklearn", "BaseSearchCV")
def search(estimator: Any, table: Table) -> Any:
    return convert(estimator.best_estimator_, table)


@converts("sklearn", "FrozenEstimator")
def frozen(estimator: Any, table: Table) -> Any:
    return convert(estimator.estimator, table)


@converts("sklearn", "TransformedTargetRegressor")
def target(estimator: Any, table: Table) -> Value:
    """The inner prediction, and the inverse of what was done to the target."""
    value, inverse, graph = convert(estimator.regressor_, table), estimator.transformer_, table.graph
    if not isinstance(value, Value):
        raise UnsupportedModelError(
            f"{name_of(estimator)} wraps {name_of(estimator.regressor_)}, which is no regressor"
        )
    match type(inverse).__name__:
        case "StandardScaler":
            scale = inverse.scale_ if inverse.with_std else np.ones(value.width)
            mean = inverse.mean_ if inverse.with_mean else np.zeros(value.width)
            return _affine(graph, value, scale, mean)
        case "MinMaxScaler":
            return _affine(graph, value, 1 / inverse.scale_, -inverse.min_ / inverse.scale_)
        case "FunctionTransformer":
            if inverse.inverse_func is None:
                return value
            step = function_step(inverse.inverse_func, name_of(estimator))
            return graph.step(step, value, width=value.width)
    raise UnsupportedModelError(
        f"{name_of(estimator)} has a target transformed by {name_of(inverse)}; converted are StandardScaler,"
        " MinMaxScaler and functions"
    )


def _affine(graph: Graph, value: Value, scale: np.ndarray, offset: np.ndarray) -> Value:
    return graph.linear(graph.row(value), np.diag(scale), offset)
