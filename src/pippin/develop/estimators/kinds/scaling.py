"""Scaling: transformers of numbers to numbers, and projections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....errors import UnsupportedModelError
from ..parts.forest import AT_MOST, LESS, Forest, steps
from ..parts.interpolation import interpolated
from ..parts.program import ProgramBuilder, Tensor
from .registry import converts, name_of, refuses
from .table import Table

refuses(
    "sklearn", "its result is found by an iteration for each row", "NMF", "MiniBatchNMF", "LatentDirichletAllocation"
)
refuses("sklearn", "it only knows the rows that it was fitted on", "TSNE", "MDS", "SpectralEmbedding", "DBSCAN")


@converts("sklearn", "StandardScaler")
def standard(estimator: Any, table: Table) -> Table:
    mean = estimator.mean_ if estimator.with_mean else np.zeros(table.width)
    scale = estimator.scale_ if estimator.with_std else np.ones(table.width)
    if estimator.with_mean and estimator.with_std:
        table.seen(mean - 2 * scale, mean + 2 * scale)
    return Table.of(table.graph, table.graph.scale(table.numbers(), -np.asarray(mean), 1 / np.asarray(scale)))


@converts("sklearn", "MinMaxScaler")
def min_max(estimator: Any, table: Table) -> Table:
    table.seen(estimator.data_min_, estimator.data_max_)
    made = table.graph.scale(table.numbers(), estimator.min_ / estimator.scale_, estimator.scale_)
    if estimator.clip:
        low, high = estimator.feature_range
        made = table.graph.step(lambda g, x: g.clip(x, low, high), made, width=made.width)
    return Table.of(table.graph, made)


@converts("sklearn", "MaxAbsScaler")
def max_abs(estimator: Any, table: Table) -> Table:
    table.seen(-estimator.scale_, estimator.scale_)
    made = table.graph.scale(table.numbers(), 0.0, 1 / estimator.scale_)
    if getattr(estimator, "clip", False):
        made = table.graph.step(lambda g, x: g.clip(x, -1, 1), made, width=made.width)
    return Table.of(table.graph, made)


@converts("sklearn", "RobustScaler")
def robust(estimator: Any, table: Table) -> Table:
    centre = estimator.center_ if estimator.with_centering else np.zeros(table.width)
    scale = estimator.scale_ if estimator.with_scaling else np.ones(table.width)
    table.seen(centre - 2 * np.asarray(scale), centre + 2 * np.asarray(scale))
    return Table.of(table.graph, table.graph.scale(table.numbers(), -np.asarray(centre), 1 / np.asarray(scale)))


@converts("sklearn", "Normalizer")
def normalizer(estimator: Any, table: Table) -> Table:
    return normalized(estimator.norm, table)


def normalized(norm: str, table: Table) -> Table:
    """Rows divided by their norm. Core ML's "LMax" divides by the highest number, scikit-learn by the largest."""
    x, graph = table.numbers(), table.graph
    if norm == "max" or x.in_program:

        def step(g: ProgramBuilder, x: Tensor) -> Tensor:
            sizes = {
                "max": lambda: g.max(g.abs(x)),
                "l1": lambda: g.sum(g.abs(x)),
                "l2": lambda: g.sqrt(g.sum(g.square(x))),
            }
            size = sizes[norm]()
            return g.div(x, g.select(g.equal(size, 0.0), np.ones(1), size))

        return Table.of(graph, graph.step(step, x, width=x.width))

    def fill(message: Any) -> None:
        message.normType = message.NormType.Value(norm.upper())

    return Table.of(graph, graph.part("normalizer", [x], "array", x.width, fill))


@converts("sklearn", "Binarizer")
def binarizer(estimator: Any, table: Table) -> Table:
    bound = float(estimator.threshold)
    table.seen(bound - 1, bound + 1)
    trees = [steps(column, [bound], [{}, {column: 1.0}], AT_MOST) for column in range(table.width)]
    return Table.of(table.graph, table.graph.trees(table.numbers(), Forest(np.zeros(table.width), trees)))


@converts("sklearn", "KBinsDiscretizer")
def bins(estimator: Any, table: Table) -> Table:
    edges = [np.asarray(e, np.float64) for e in estimator.bin_edges_]
    table.seen([e[0] for e in edges], [e[-1] for e in edges])
    one_hot, trees, start = estimator.encode != "ordinal", [], 0
    for column, some in enumerate(edges):
        count = len(some) - 1
        values = [{start + i: 1.0} if one_hot else {start: float(i)} for i in range(count)]
        trees.append(steps(column, some[1:-1].tolist(), values, LESS))
        start += count if one_hot else 1
    return Table.of(table.graph, table.graph.trees(table.numbers(), Forest(np.zeros(start), trees)))


@converts("sklearn", "PolynomialFeatures")
def polynomial(estimator: Any, table: Table) -> Table:
    """Products of columns, as many factors as the degree; a one stands for a missing factor."""
    powers, width = estimator.powers_, table.width
    degree = max(int(powers.sum(axis=1).max()), 1)
    places = np.full((degree, len(powers)), width)
    for number, row in enumerate(powers):
        factors = np.repeat(np.arange(width), row)
        places[: len(factors), number] = factors

    def step(g: ProgramBuilder, x: Tensor) -> Tensor:
        padded = g.concat([x, g.tensor(np.ones(1))])
        made = g.gather(padded, places[0])
        for row in places[1:]:
            made = g.mul(made, g.gather(padded, row))
        return made

    return Table.of(table.graph, table.graph.step(step, table.numbers(), width=len(powers)))


@converts("sklearn", "PowerTransformer")
def power(estimator: Any, table: Table) -> Table:
    lambdas = np.asarray(estimator.lambdas_, np.float64)
    function = _yeo_johnson if estimator.method == "yeo-johnson" else _box_cox
    if estimator.method == "box-cox":
        table.seen(0.5, 3)
    made = table.graph.step(lambda g, x: function(g, x, lambdas), table.numbers(), width=table.width)
    if estimator.standardize:
        scaler = estimator._scaler
        made = table.graph.scale(made, -scaler.mean_, 1 / scaler.scale_)
    return Table.of(table.graph, made)


def _box_cox(g: ProgramBuilder, x: Tensor, lambdas: np.ndarray) -> Tensor:
    """(x^a - 1) / a, or log x if a is 0."""
    logs, zero = g.log(x), np.abs(lambdas) < 1e-9
    safe = np.where(zero, 1.0, lambdas)
    powers = g.div(g.sub(g.exp(g.mul(logs, safe)), 1.0), safe)
    return g.add(g.mul(powers, np.where(zero, 0.0, 1.0)), g.mul(logs, np.where(zero, 1.0, 0.0)))


def _yeo_johnson(g: ProgramBuilder, x: Tensor, lambdas: np.ndarray) -> Tensor:
    """Box-Cox of x + 1 from 0 on, and of 1 - x with 2 - a, negated, below 0."""
    positive = _box_cox(g, g.add(g.maximum(x, 0.0), 1.0), lambdas)
    negative = _box_cox(g, g.add(g.maximum(g.mul(x, -1.0), 0.0), 1.0), 2 - lambdas)
    return g.sub(positive, negative)


@converts("sklearn", "QuantileTransformer")
def quantiles(estimator: Any, table: Table) -> Table:
    if estimator.output_distribution != "uniform":
        raise UnsupportedModelError(
            "QuantileTransformer to a normal distribution needs the inverse error function, which Core ML has not;"
            " use output_distribution='uniform' or PowerTransformer"
        )
    points = np.asarray(estimator.quantiles_, np.float64).T
    table.seen(points[:, 0], points[:, -1])
    heights = [estimator.references_] * len(points)
    return Table.of(table.graph, interpolated(table.graph, table.numbers(), list(points), heights))


@converts("sklearn", "PCA", "IncrementalPCA")
def principal(estimator: Any, table: Table) -> Table:
    weights, mean = np.asarray(estimator.components_, np.float64), estimator.mean_
    if estimator.whiten:
        weights = weights / np.sqrt(np.maximum(estimator.explained_variance_, 1e-300))[:, None]
    x = table.numbers() if mean is None else table.graph.scale(table.numbers(), -mean, 1.0)
    return Table.of(table.graph, table.graph.linear(x, weights))


@converts("sklearn", "TruncatedSVD", "GaussianRandomProjection", "SparseRandomProjection")
def projection(estimator: Any, table: Table) -> Table:
    weights = estimator.components_
    weights = weights.toarray() if hasattr(weights, "toarray") else weights
    return Table.of(table.graph, table.graph.linear(table.numbers(), weights))


@converts("sklearn", "FactorAnalysis")
def factors(estimator: Any, table: Table) -> Table:
    """The means of the factors given the columns: a projection of the centred columns."""
    weights = estimator.components_ / estimator.noise_variance_
    covariance = np.linalg.inv(np.eye(len(weights)) + weights @ estimator.components_.T)
    x = table.graph.scale(table.numbers(), -estimator.mean_, 1.0)
    return Table.of(table.graph, table.graph.linear(x, covariance @ weights))


_FUNCTIONS: dict[Any, Callable[[ProgramBuilder, Tensor], Tensor]] = {
    np.log1p: lambda g, x: g.log(g.add(x, 1.0)),
    np.log: lambda g, x: g.log(x),
    np.exp: lambda g, x: g.exp(x),
    np.expm1: lambda g, x: g.sub(g.exp(x), 1.0),
    np.sqrt: lambda g, x: g.sqrt(x),
    np.square: lambda g, x: g.square(x),
    np.abs: lambda g, x: g.abs(x),
    np.tanh: lambda g, x: g.tanh(x),
}
_POSITIVE = (np.log1p, np.log, np.sqrt)


def function_step(function: Any, owner: str) -> Callable[[ProgramBuilder, Tensor], Tensor]:
    """A numpy function as operations. Raises UnsupportedModelError for any other: Python is not Core ML."""
    if function not in _FUNCTIONS:
        known = ", ".join(f"numpy.{each.__name__}" for each in _FUNCTIONS)
        raise UnsupportedModelError(
            f"{owner} calls {getattr(function, '__name__', function)!r}; converted are {known}. Compute the column"
            " before the model instead"
        )
    return _FUNCTIONS[function]


@converts("sklearn", "FunctionTransformer")
def function(estimator: Any, table: Table) -> Table:
    inner = getattr(estimator.func, "func", estimator.func)  # of a partial
    if inner is None or getattr(inner, "__name__", "") == "check_array":
        return table
    if estimator.kw_args:
        raise UnsupportedModelError(f"{name_of(estimator)} calls its function with arguments, which is not converted")
    step = function_step(estimator.func, name_of(estimator))
    if estimator.func in _POSITIVE:
        table.seen(0.1, 5)
    return Table.of(table.graph, table.graph.step(step, table.numbers(), width=table.width))
