"""Text: vectorizers. Core ML has no tokenizer for them, so the model takes the counts of the words.

A text input is a dictionary: of words to their numbers, or for a hashing vectorizer of hashes to signed numbers.
`Converted.features` makes it of a text, with the vectorizer's own analyzer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..parts.program import ProgramBuilder, Tensor
from ..parts.values import Value
from .registry import converts, refuses
from .scaling import normalized
from .table import Table

refuses("sklearn", "its hashes are those of Python objects; use HashingVectorizer or DictVectorizer", "FeatureHasher")


def _vocabulary(estimator: Any) -> list[str]:
    return sorted(estimator.vocabulary_, key=estimator.vocabulary_.__getitem__)


def _analyzed(estimator: Any) -> Callable[[Any], dict[str, float]]:
    analyze = estimator.build_analyzer()
    known = estimator.vocabulary_

    def encode(text: Any) -> dict[str, float]:
        return {word: float(count) for word, count in Counter(analyze(text)).items() if word in known}

    return encode


def _counts(estimator: Any, table: Table) -> Value:
    words = _vocabulary(estimator)
    table.graph.vocabularies[_column(table)] = words
    value = table.graph.counts(table.words(_analyzed(estimator)), words)
    return _binary(table, value) if estimator.binary else value


def _column(table: Table) -> int:
    column = table.columns[0]
    return column if isinstance(column, int) else 0


def _binary(table: Table, value: Value) -> Value:
    return table.graph.step(lambda g, x: g.minimum(x, 1.0), value, width=value.width)


@converts("sklearn", "CountVectorizer")
def counts(estimator: Any, table: Table) -> Table:
    return Table.of(table.graph, _counts(estimator, table))


@converts("sklearn", "TfidfVectorizer")
def weighted(estimator: Any, table: Table) -> Table:
    return transformer(estimator._tfidf, Table.of(table.graph, _counts(estimator, table)))


@converts("sklearn", "TfidfTransformer")
def transformer(estimator: Any, table: Table) -> Table:
    graph = table.graph
    if estimator.sublinear_tf:

        def step(g: ProgramBuilder, x: Tensor) -> Tensor:
            present = g.greater(x, 0.0)
            logs = g.add(g.log(g.select(present, x, np.ones(x.shape))), 1.0)
            return g.select(present, logs, np.zeros(x.shape))

        table = Table.of(graph, graph.step(step, table.numbers(), width=table.width))
    if estimator.use_idf:
        table = Table.of(graph, graph.scale(table.numbers(), 0.0, estimator.idf_))
    return table if estimator.norm is None else normalized(estimator.norm, table)


@converts("sklearn", "HashingVectorizer")
def hashed(estimator: Any, table: Table) -> Table:
    """The model takes the hashes: computing them needs the bytes of the words."""
    analyze, hasher = estimator.build_analyzer(), estimator._get_hasher()

    def encode(text: Any) -> dict[int, float]:
        row = hasher.transform([analyze(text)])
        if estimator.binary:
            row.data.fill(1)
        return {int(place): float(number) for place, number in zip(row.indices, row.data, strict=True)}

    value = table.words(encode, hashed=True)
    value.width = int(estimator.n_features)
    made = Table.of(table.graph, table.graph.concat([value]))
    return made if estimator.norm is None else normalized(estimator.norm, made)


@converts("sklearn", "DictVectorizer")
def dictionary(estimator: Any, table: Table) -> Table:
    """Strings become entries of their own, named by key and value, as in scikit-learn."""
    names, separator = list(estimator.feature_names_), estimator.separator

    def encode(row: Mapping[str, Any]) -> dict[str, float]:
        pairs = [(f"{k}{separator}{v}", 1.0) if isinstance(v, str) else (k, float(v)) for k, v in row.items()]
        return dict(pairs)

    table.graph.vocabularies[_column(table)] = names
    return Table.of(table.graph, table.graph.counts(table.words(encode), names))
