"""Support vectors: lowers kernel classifiers and regressors, with LIBSVM's results.

Source: `SVM.proto`; C.-C. Chang, C.-J. Lin, "LIBSVM: A library for support vector machines" (2011). Coupling of
pairwise probabilities: T.-F. Wu, C.-J. Lin, R. C. Weng, "Probability estimates for multi-class classification by
pairwise coupling" (2004), algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from ...errors import SpecificationError
from ...format.asset import Asset
from ...format.description import FunctionDescription
from .. import limits
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import FLOAT, INT, Classical

# LIBSVM clips pairwise probabilities to this distance from 0 and 1.
_LEAST = 1e-7


def lower_svm_regressor(asset: Asset, function: FunctionDescription) -> Lowered:
    """coefficients @ K(support vectors, x) - rho."""
    g = Classical(asset, function)
    alpha = np.array(g.message.coefficients.alpha, FLOAT)
    values = _kernel_values(g, len(alpha))
    g.give(g.only_output, g.Sub(g.MatMul(values, alpha[:, None]), g.message.rho))
    return g.finished()


def lower_svm_classifier(asset: Asset, function: FunctionDescription) -> Lowered:
    """Classify by probability if the model has probA and probB, else by the votes of all pairs of classes."""
    g = Classical(asset, function)
    classes = asset.description.class_labels or ()
    count = len(classes)
    if count < 2 or len(g.message.rho) != count * (count - 1) // 2:
        raise SpecificationError(
            f"the {g.kind} needs at least two classes and one rho per pair,"
            f" got {count} classes and {len(g.message.rho)} values of rho"
        )
    pairs, weights = list(combinations(range(count), 2)), _pair_weights(g, count)
    decisions = g.Sub(g.MatMul(_kernel_values(g, weights.shape[0]), weights), np.array(g.message.rho, FLOAT))
    a, b = np.array(g.message.probA, FLOAT), np.array(g.message.probB, FLOAT)
    if not len(a) and not len(b):
        return g.finished(g.classify(_votes(g, decisions, count, pairs), classes, probabilities=False))
    if len(a) != len(pairs) or len(b) != len(pairs):
        raise SpecificationError(
            f"the {g.kind} needs one probA and probB per pair of classes,"
            f" got {len(a)} probA and {len(b)} probB for {len(pairs)} pairs"
        )
    # 1 / (1 + exp(a f + b)), the probability of the first class of each pair.
    first = g.Sigmoid(g.Neg(g.Add(g.Mul(decisions, a), b)))
    first = g.Min(g.Max(first, np.float64(_LEAST)), np.float64(1 - _LEAST))
    both = g.Concat(first, g.Sub(1.0, first), axis=1)
    return g.finished(g.classify(both if count == 2 else _coupled(g, both, count, pairs), classes))


def _kernel_values(g: Classical, count: int) -> Tensor:
    """K(support vector, x) for each support vector, (1, count)."""
    vectors = _vectors(g, count)
    x = g.row(vectors.shape[1])
    kind = g.message.kernel.WhichOneof("kernel")
    if kind not in _KERNELS:
        raise SpecificationError(f"the {g.kind} has no kernel")
    return _KERNELS[kind](g, getattr(g.message.kernel, kind), x, vectors)


def _linear(g: Classical, parameters: Any, x: Tensor, vectors: np.ndarray) -> Tensor:
    return g.MatMul(x, np.ascontiguousarray(vectors.T))


def _rbf(g: Classical, parameters: Any, x: Tensor, vectors: np.ndarray) -> Tensor:
    distance = g.Sub(vectors, x)
    squared = g.ReduceSum(g.Mul(distance, distance), [1], keepdims=0)
    return g.Exp(g.Mul(g.Unsqueeze(squared, [0]), -parameters.gamma))


def _poly(g: Classical, parameters: Any, x: Tensor, vectors: np.ndarray) -> Tensor:
    product = g.Add(g.Mul(_linear(g, parameters, x, vectors), parameters.gamma), parameters.c)
    return g.Pow(product, np.float64(parameters.degree))


def _sigmoid(g: Classical, parameters: Any, x: Tensor, vectors: np.ndarray) -> Tensor:
    return g.Tanh(g.Add(g.Mul(_linear(g, parameters, x, vectors), parameters.gamma), parameters.c))


_KERNELS: Mapping[str, Callable[[Classical, Any, Tensor, np.ndarray], Tensor]] = {
    "linearKernel": _linear,
    "rbfKernel": _rbf,
    "polyKernel": _poly,
    "sigmoidKernel": _sigmoid,
}


def _vectors(g: Classical, count: int) -> np.ndarray:
    """The support vectors (count, n). Sparse ones are indexed from 1, as in LIBSVM, and as wide as the input."""
    if g.message.WhichOneof("supportVectors") == "sparseSupportVectors":
        sparse = g.message.sparseSupportVectors.vectors
        width = max((node.index for vector in sparse for node in vector.nodes), default=0)
        width = max(width, g.row().shape[1] or 0)  # type: ignore[index]
        found = limits.full((len(sparse), width), 0, FLOAT)
        for row, vector in zip(found, sparse, strict=True):
            for node in vector.nodes:
                if node.index < 1:
                    raise SpecificationError(
                        f"the index of a sparse support vector must be at least 1, got {node.index}"
                    )
                row[node.index - 1] = node.value
    else:
        dense = [vector.values for vector in g.message.denseSupportVectors.vectors]
        if len({len(vector) for vector in dense}) > 1:
            raise SpecificationError(f"the support vectors of the {g.kind} have different lengths")
        found = np.array(dense, FLOAT).reshape(len(dense), -1)
    if len(found) != count or not count:
        raise SpecificationError(
            f"the {g.kind} needs one coefficient per support vector,"
            f" got {len(found)} support vectors and {count} coefficients"
        )
    return found


def _pair_weights(g: Classical, count: int) -> np.ndarray:
    """(support vectors, pairs): the coefficient of each vector in the decision between two classes.

    Against class j, a vector of class i uses coefficient row j - 1 (j > i) or j (j < i).
    """
    sizes = list(g.message.numberOfSupportVectorsPerClass)
    alphas = [np.array(row.alpha, FLOAT) for row in g.message.coefficients]
    total = sum(sizes)
    if len(sizes) != count or len(alphas) != count - 1 or any(len(row) != total for row in alphas):
        raise SpecificationError(
            f"the {g.kind} has {count} classes, {len(sizes)} support vector counts with sum {total}, and coefficient"
            f" rows of lengths {[len(row) for row in alphas]}; it needs one row per class but one, as long as that sum"
        )
    if any(size < 0 for size in sizes):
        raise SpecificationError(
            f"the {g.kind} has a class with {min(sizes)} support vectors; the number must not be negative"
        )
    limits.constant(total * count * count)
    starts = np.cumsum([0, *sizes])
    columns = []
    for i, j in combinations(range(count), 2):
        column = np.zeros(total, FLOAT)
        column[starts[i] : starts[i + 1]] = alphas[j - 1][starts[i] : starts[i + 1]]
        column[starts[j] : starts[j + 1]] = alphas[i][starts[j] : starts[j + 1]]
        columns.append(column)
    return np.array(columns, FLOAT).reshape(-1, total).T.copy()


def _votes(g: Classical, decisions: Tensor, count: int, pairs: list[tuple[int, int]]) -> Tensor:
    won, lost = (limits.full((len(pairs), count), 0, FLOAT) for _ in range(2))
    for row, (i, j) in enumerate(pairs):
        won[row, i] = lost[row, j] = 1
    first = g.cast(g.Greater(decisions, 0.0), FLOAT)
    # Propagate NaN, so that no class wins.
    return g.Add(g.Add(g.MatMul(first, won), g.MatMul(g.Sub(1.0, first), lost)), g.Mul(g.ReduceSum(decisions), 0.0))


def _coupled(g: Classical, both: Tensor, count: int, pairs: list[tuple[int, int]]) -> Tensor:
    """The class probabilities (1, count) that best fit those of the pairs.

    LIBSVM's iteration, with its error bound and its limit of iterations.
    """
    picked = np.zeros((count, count), INT)
    for row, (i, j) in enumerate(pairs):
        picked[i, j], picked[j, i] = row, row + len(pairs)
    r = g.Gather(g.Reshape(both, [-1]), picked)  # r[i, j] = P(i | i or j)
    r = g.Mul(r, 1 - np.eye(count))
    flipped = g.Transpose(r, perm=[1, 0])
    diagonal = g.ReduceSum(g.Mul(flipped, flipped), [1], keepdims=1)
    q = g.Sub(g.Mul(diagonal, np.eye(count)), g.Mul(flipped, r))
    start = np.full((count, 1), 1 / count)

    def improved(_: Tensor, __: Tensor, p: Tensor) -> list[Any]:
        qp = g.MatMul(q, p)
        pqp = g.MatMul(g.Transpose(p, perm=[1, 0]), qp)
        done = g.Less(g.ReduceMax(g.Abs(g.Sub(qp, pqp)), keepdims=0), 0.005 / count)
        moved = p
        for t in range(count):
            unit = np.eye(count)[:, t : t + 1]
            own, rate = g.MatMul(unit.T.copy(), qp), g.Slice(diagonal, [t], [t + 1], [0])
            step = g.Div(g.Sub(pqp, own), rate)
            shrink = g.Add(step, 1.0)
            grown = g.Add(pqp, g.Mul(step, g.Add(g.Mul(step, rate), g.Mul(own, 2.0))))
            pqp = g.Div(g.Div(grown, shrink), shrink)
            qp = g.Div(g.Add(qp, g.Mul(g.MatMul(q, unit), step)), shrink)
            moved = g.Div(g.Add(moved, g.Mul(step, unit)), shrink)
        return [g.Not(done), g.Where(done, p, moved)]

    body = g.subgraph(improved, [(INT, ()), (np.dtype(bool), ()), (FLOAT, (count, 1))])
    rounds = np.array(max(100, count), INT)
    p = g.emit("Loop", rounds, np.array(True), g.tensor(start), types=[(FLOAT, (count, 1))], body=body)
    return g.Reshape(p, [1, count])
