"""Graph: builds a model from parts, each fed by named features; what is nearest to float64 is chosen.

Classical models compute in float64, ML Programs in float32. A part of either kind may follow the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .forest import Forest
from .program import ProgramBuilder, Tensor
from .values import ARRAY, HASHES, INTEGER, NUMBER, STRING, WORDS, Columns, Part, Step, Value

_MOST_LINEAR = 12
"""Rows of a linear map that become models of their own; more become one operation of a program."""
_TIES = 20
SOFTMAX, LOGISTIC = 1, 2


class Graph:
    def __init__(self, width: int) -> None:
        self.columns = [Value("", 1) for _ in range(width)]
        """The inputs of the estimator. The kind of each is known once a part takes it."""
        self.ranges = np.full((width, 2), np.nan)
        """The lowest and the highest number that the estimator knows of each column."""
        self.categories: list[Sequence[Any] | None] = [None] * width
        """Or the categories."""
        self.ties: dict[int, list[float]] = {}
        """Some numbers of a column on which a tree's decision turns."""
        self.tolerance = 1e-6
        """How far probabilities may be from those of the estimator: what its own arithmetic is exact to."""
        self._made: dict[tuple[str, tuple[int, ...]], Value] = {}
        """Rows of the same numbers are made once."""
        self.missing: set[int] = set()
        """Columns that may be NaN."""
        self.vocabularies: dict[int, Sequence[str]] = {}
        """The words that a column of texts is looked for."""
        self.typed: dict[int, Sequence[Any]] = {}
        """Columns that the estimator takes as pandas categories, with those."""
        self.encoders: dict[int, Callable[[Any], Any]] = {}
        """For columns that are not given as they are in a table: how to make the feature."""

    # Numbers.

    def numbers(self, indices: Sequence[int]) -> Value:
        """The columns as a row of numbers."""
        key = ("columns", tuple(indices))
        if key not in self._made:
            for index in indices:
                self.take(index, NUMBER)
            self._made[key] = self._output(Columns([], indices=tuple(indices)), ARRAY, len(indices))
        return self._made[key]

    def take(self, index: int, kind: str) -> Value:
        from ....errors import UnsupportedModelError

        column = self.columns[index]
        if column.kind not in ("", kind):
            raise UnsupportedModelError(
                f"column {index} is taken as {column.kind} by one part of the estimator and as {kind} by another;"
                " give it twice, under two names"
            )
        column.kind = kind
        return column

    def constant(self, numbers: Any) -> Value:
        """Numbers that depend on nothing: a tree without branches."""
        base = np.asarray(numbers, np.float64).reshape(-1)
        return self.trees(self.numbers([0]), Forest(base))

    def concat(self, values: Sequence[Value]) -> Value:
        values = list(values)
        if len(values) == 1 and values[0].kind == ARRAY:
            return values[0]
        key = ("concat", tuple(map(id, values)))
        if key not in self._made:
            self._made[key] = self._concat(values)
        return self._made[key]

    def _concat(self, values: list[Value]) -> Value:
        width = sum(value.width for value in values)
        if all(value.in_program for value in values):
            return self.step(lambda g, *xs: g.concat(xs), *values, width=width)

        def fill(message: Any) -> None:
            for value in values:
                message.inputList.add(inputColumn=value.name, inputDimensions=value.width)

        return self.part("featureVectorizer", values, ARRAY, width, fill)

    def select(self, value: Value, indices: Sequence[int]) -> Value:
        indices = [int(i) for i in indices]
        if indices == list(range(value.width)):
            return value
        key = ("select", (id(value), *indices))
        if key not in self._made:
            self._made[key] = self._select(value, indices)
        return self._made[key]

    def _select(self, value: Value, indices: list[int]) -> Value:
        if isinstance(value.node, Columns):
            return self.numbers([value.node.indices[i] for i in indices])
        if value.in_program:
            return self.step(lambda g, x: g.gather(x, np.array(indices)), value, width=len(indices))
        return self.part(
            "arrayFeatureExtractor", [value], ARRAY, len(indices), lambda m: m.extractIndex.extend(indices)
        )

    def scale(self, value: Value, shift: Any, scale: Any) -> Value:
        """(x + shift) * scale, each a number or one for each element."""
        shift, scale = (np.broadcast_to(np.asarray(v, np.float64), (value.width,)) for v in (shift, scale))
        if not shift.any() and (scale == 1).all():
            return value
        if value.in_program:
            return self.step(lambda g, x: g.mul(g.add(x, shift), scale), value, width=value.width)

        def fill(message: Any) -> None:
            message.shiftValue.extend(shift)
            message.scaleValue.extend(scale)

        return self.part("scaler", [value], ARRAY, value.width, fill)

    def linear(self, value: Value, weights: Any, offset: Any = 0.0, logistic: bool = False) -> Value:
        """weights (m, n) @ x (n) + offset (m); `logistic`: its logistic function."""
        weights = np.atleast_2d(np.asarray(weights, np.float64))
        offset = np.broadcast_to(np.asarray(offset, np.float64).reshape(-1), (len(weights),))
        if value.in_program or len(weights) > _MOST_LINEAR:

            def step(g: ProgramBuilder, x: Tensor) -> Tensor:
                made = g.linear(x, weights, offset)
                return g.sigmoid(made) if logistic else made

            return self.step(step, value, width=len(weights))
        return self.joined([self._row(value, w, o, logistic) for w, o in zip(weights, offset, strict=True)])

    def _row(self, value: Value, weights: np.ndarray, offset: float, logistic: bool) -> Value:
        def fill(message: Any) -> None:
            message.weights.add().value.extend(weights)
            message.offset.append(offset)
            message.postEvaluationTransform = int(logistic)

        return self.part("glmRegressor", [value], NUMBER, 1, fill)

    def joined(self, numbers: Sequence[Value]) -> Value:
        """Numbers as one row. One number alone stays one: it may be what the model predicts."""
        return numbers[0] if len(numbers) == 1 else self.concat(numbers)

    def trees(self, value: Value, forest: Forest, transform: int = 0) -> Value:
        """The sums of a forest's leaves: a row, or one number."""
        self.known(value, forest)
        kind = NUMBER if forest.dimensions == 1 else ARRAY
        return self.part("treeEnsembleRegressor", [value], kind, forest.dimensions, lambda m: forest.fill(m, transform))

    def quadratic(self, value: Value, directions: Any, squares: Any, linears: Any, offset: float) -> Value:
        """sum of squares * u^2 + linears * u, plus an offset, with u = directions @ x, in float64.

        Support vectors with a kernel of degree 2 say it: (u + 1)^2 and (u - 1)^2 make up u^2 and u.
        """
        directions, squares, linears = (np.asarray(v, np.float64) for v in (directions, squares, linears))
        plus, minus = squares / 2 + linears / 4, squares / 2 - linears / 4
        vectors = np.concatenate([directions, -directions])

        def fill(message: Any) -> None:
            message.kernel.polyKernel.degree = 2
            message.kernel.polyKernel.gamma = message.kernel.polyKernel.c = 1
            message.coefficients.alpha.extend(np.concatenate([plus, minus]))
            message.rho = float(squares.sum() - offset)
            sparse = message.sparseSupportVectors
            for row in vectors:
                nodes = sparse.vectors.add().nodes
                for index in np.flatnonzero(row):
                    nodes.add(index=int(index) + 1, value=float(row[index]))

        return self.part("supportVectorRegressor", [value], NUMBER, 1, fill)

    def filled(self, value: Value, fills: Any, missing: float = float("nan")) -> Value:
        """The row with other numbers in place of missing ones."""

        def fill(message: Any) -> None:
            message.imputedDoubleArray.vector.extend(np.asarray(fills, np.float64))
            message.replaceDoubleValue = missing

        return self.part("imputer", [value], ARRAY, value.width, fill)

    # Categories and words.

    def one_hot(self, value: Value, categories: Sequence[str], refuse: bool) -> Value:
        """A one at the place of the category; zeros for an unknown one, or an error."""

        def fill(message: Any) -> None:
            message.stringCategories.vector.extend(categories)
            message.handleUnknown = 0 if refuse else 1
            message.outputSparse = False

        return self.part("oneHotEncoder", [value], ARRAY, len(categories), fill)

    def place(self, value: Value, categories: Sequence[str], unknown: int | None) -> Value:
        """The index of the category, as a row of one number."""

        def fill(message: Any) -> None:
            for number, category in enumerate(categories):
                message.stringToInt64Map.map[category] = number
            if unknown is not None:
                message.int64Value = unknown

        return self.concat([self.part("categoricalMapping", [value], INTEGER, 1, fill)])

    def counts(self, value: Value, keys: Sequence[Any]) -> Value:
        """The numbers of a dictionary at the places of its keys; unknown keys are dropped."""

        def fill(message: Any) -> None:
            (message.stringToIndex if value.kind == WORDS else message.int64ToIndex).vector.extend(keys)

        return self.concat([self.part("dictVectorizer", [value], HASHES, len(keys), fill)])

    # Any part, any step.

    def part(self, kind: str, inputs: Sequence[Value], output: str, width: int, fill: Callable[[Any], None]) -> Value:
        return self._output(Part(list(inputs), type=kind, fill=fill), output, width)

    def step(self, function: Callable[..., Any], *inputs: Value, width: int) -> Value:
        """Operations of an ML Program on rows of numbers."""
        return self._output(Step([self.row(value) for value in inputs], function=function), ARRAY, width)

    def row(self, value: Value) -> Value:
        """One number as a row of one."""
        return value if value.kind == ARRAY else self.concat([value])

    def classifier(self, node: Part | Step, classes: Sequence[Any]) -> Part | Step:
        """A part that ends the model: its label and its probabilities."""
        node.classes = classes
        node.outputs = [Value(STRING if isinstance(classes[0], str) else INTEGER, 1, node), Value(WORDS, 1, node)]
        return node

    @staticmethod
    def _output(node: Any, kind: str, width: int) -> Value:
        value = Value(kind, width, node)
        node.outputs = [value]
        return value

    # What is known of the data.

    def known(self, value: Value, forest: Forest) -> None:
        """Note the range and some of the thresholds of a forest's columns."""
        self.seen(value, forest.ranges(value.width))
        if isinstance(value.node, Columns):
            for column, numbers in forest.thresholds(_TIES).items():
                self.ties.setdefault(value.node.indices[column], []).extend(numbers)

    def seen(self, value: Value, ranges: Any) -> None:
        """Note the lowest and highest numbers (width, 2) of a value that is made of columns alone."""
        if isinstance(value.node, Columns):
            for index, (low, high) in zip(value.node.indices, np.asarray(ranges, np.float64), strict=True):
                row = self.ranges[index]
                row[:] = np.fmin(row[0], low), np.fmax(row[1], high)
