"""From estimator: a fitted estimator becomes a Core ML model that predicts the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ConfigurationError
from .converted import Converted, Input
from .kinds.classified import Classified
from .kinds.registry import convert, name_of
from .kinds.table import Table
from .parts.assemble import Assembly
from .parts.graph import Graph
from .parts.values import NUMBER, Columns, Node, Value

ARRAY = "input"
"""The name of an input that is a row of all numbers."""
TEXT = "text"
"""The name of an only input that is a text."""
PREDICTION, LABEL, PROBABILITIES, TRANSFORMED = "prediction", "classLabel", "classProbability", "transformed"
_TEXT = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer", "DictVectorizer")


def from_estimator(estimator: Any, inputs: Any = None, check: Any = None, tolerance: float | None = None) -> Converted:
    """Convert a fitted estimator of scikit-learn, XGBoost, LightGBM or CatBoost, or a whole Pipeline.

    `inputs` are the names of its columns, or a table that has them. By default they are those that it was fitted with;
    without any, the model takes one row of numbers, "input". Columns of categories are strings. A text vectorizer takes
    a dictionary of words to their counts; `Converted.features` makes the features of rows, texts among them.

    `check` are rows as the estimator takes them, on which the model must predict what the estimator predicts; by
    default rows made up within the ranges that the estimator knows, some with NaN if it takes NaN; False: no check.
    Probabilities and predictions may differ by `tolerance` (by default 1e-6, for XGBoost and CatBoost, which compute in
    float32, 1e-5), predictions relative to the largest.

    Raises UnsupportedModelError, which says why, if no Core ML model says the same, ConversionError if a prediction
    differs, and ConfigurationError if the estimator is not fitted or `inputs` does not fit it.
    """
    names = _names(estimator, inputs)
    graph = Graph(_width(estimator, names))
    made = convert(estimator, Table(graph, range(len(graph.columns))))
    single = names is None and all(column.kind in ("", NUMBER) for column in graph.columns)
    for number, column in enumerate(graph.columns):
        column.name = _made_up_name(graph, number) if names is None else names[number]
    converted = Converted(
        _specification(graph, made, ARRAY if single else None, estimator),
        tuple(Input(c.name, c.kind, graph.encoders.get(i)) for i, c in enumerate(graph.columns)),
        ARRAY if single else None,
    )
    if check is not False:
        from .checking import compare

        compare(converted, estimator, made, graph, check, tolerance)
    return converted


def _specification(graph: Graph, made: Any, array: str | None, estimator: Any) -> Any:
    taken = {array} if array else {column.name for column in graph.columns}
    predicted, scores = "", ""
    ends: list[Node]
    if isinstance(made, Classified):
        node = made.end()
        predicted, scores = _free(LABEL, taken), _free(PROBABILITIES, taken) if made.has_probabilities else ""
        outputs = [(node.outputs[0], predicted)] + ([(node.outputs[1], scores)] if scores else [])
        ends = [node]
    else:
        value = made.numbers() if isinstance(made, Table) else _single(graph, made)
        value = _made_by_a_part(graph, value)
        name = _free(TRANSFORMED if isinstance(made, Table) else PREDICTION, taken)
        predicted, outputs = ("" if isinstance(made, Table) else name), [(value, name)]
        assert value.node is not None
        ends = [value.node]
    specification = Assembly(graph.columns, array).model(ends, outputs, predicted, scores)
    specification.description.metadata.shortDescription = _origin(estimator)
    return specification


def _single(graph: Graph, value: Value) -> Value:
    """One predicted number as a number, not as a row."""
    if value.kind == NUMBER or value.width > 1:
        return value
    return graph.part("arrayFeatureExtractor", [value], NUMBER, 1, lambda m: m.extractIndex.append(0))


def _made_by_a_part(graph: Graph, value: Value) -> Value:
    """Columns that nothing changes still need a part that gives them."""
    if value.node is not None and not isinstance(value.node, Columns):
        return value
    return graph.part("scaler", [value], value.kind, value.width, lambda m: m.scaleValue.append(1.0))


def _made_up_name(graph: Graph, number: int) -> str:
    return TEXT if len(graph.columns) == 1 and number in graph.encoders else f"x{number}"


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _origin(estimator: Any) -> str:
    from importlib.metadata import PackageNotFoundError, version

    library = type(estimator).__module__.partition(".")[0]
    names = {"sklearn": ("scikit-learn",), "xgboost": ("xgboost", "xgboost-cpu")}
    for package in names.get(library, (library,)):
        try:
            return f"{name_of(estimator)} of {package} {version(package)}"
        except PackageNotFoundError:
            continue
    return name_of(estimator)


def _names(estimator: Any, inputs: Any) -> list[str] | None:
    """The names of the columns; None if there are none."""
    found = inputs if inputs is not None else _own_names(estimator)
    if found is None:
        return None
    if hasattr(found, "columns"):
        found = found.columns
    if isinstance(found, str):
        found = [found]
    if not isinstance(found, Sequence) and not hasattr(found, "__iter__"):
        raise ConfigurationError(
            f"`inputs` must be names of columns or a table that has them, got {type(inputs).__name__}"
        )
    names = [str(name) for name in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or "" in names:
        raise ConfigurationError(
            f"the columns of a model need names that differ; {twice or ''!r} is there twice or empty"
        )
    return names


def _own_names(estimator: Any) -> Any:
    """The names that the estimator was fitted with, not those that its library made up."""
    kind, name = type(estimator).__module__.partition(".")[0], name_of(estimator)
    if kind == "catboost":
        names = list(estimator.feature_names_ or [])
        return None if names == [str(i) for i in range(len(names))] else names
    if kind == "lightgbm":
        names = estimator.feature_name() if name == "Booster" else list(estimator.feature_name_)
        return None if names == [f"Column_{i}" for i in range(len(names))] else names
    if kind == "xgboost":
        return estimator.feature_names if name == "Booster" else getattr(estimator, "feature_names_in_", None)
    return getattr(estimator, "feature_names_in_", None)


def _width(estimator: Any, names: list[str] | None) -> int:
    count = _columns(estimator)
    if count is None:
        if names is None:
            raise ConfigurationError(
                f"{name_of(estimator)} does not say how many columns it has; give `inputs`, their names"
            )
        return len(names)
    if names is not None and len(names) != count:
        raise ConfigurationError(
            f"{name_of(estimator)} has {count} columns, but {len(names)} names are given in `inputs`"
        )
    return count


def _columns(estimator: Any) -> int | None:
    name = name_of(estimator)
    if name == "Booster":
        return int(estimator.num_features() if hasattr(estimator, "num_features") else estimator.num_feature())
    if name == "Pipeline":
        first = next((step for _, step in estimator.steps if step not in (None, "passthrough")), None)
        return _columns(first) if first is not None else None
    if name in _TEXT:
        return 1
    if name == "FeatureUnion":
        return _columns(estimator.transformer_list[0][1])
    if hasattr(estimator, "best_estimator_"):
        return _columns(estimator.best_estimator_)
    if name.startswith("CatBoost"):
        return len(estimator.feature_names_)
    if name == "IsotonicRegression":
        return 1
    found = getattr(estimator, "n_features_in_", None) or getattr(estimator, "shape_fit_", (0, None))[1]
    return None if found is None else int(found)
