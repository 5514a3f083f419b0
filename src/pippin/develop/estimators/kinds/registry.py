"""Registry: which function converts which class, found by the names of the class and of those that it derives from."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

from ....errors import UnsupportedModelError
from .table import Table

Convert = Callable[[Any, Table], Any]
"""Takes a fitted estimator and its columns. A transformer gives a table, a regressor a value (`parts.values`), a
classifier a `classified.Classified`."""
_Function = TypeVar("_Function", bound=Convert)

_FAMILIES = {
    "sklearn": (
        "trees", "boosting", "linear", "discriminant", "naive_bayes", "svm", "neighbors", "neural", "scaling",
        "encoding", "imputing", "selecting", "text", "compose", "meta",
    ),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
}  # fmt: skip
_CONVERTERS: dict[tuple[str, str], Convert] = {}
_REFUSED: dict[tuple[str, str], str] = {}


def converts(library: str, *names: str) -> Callable[[_Function], _Function]:
    """Register a function for classes of a library."""

    def register(function: _Function) -> _Function:
        _CONVERTERS.update({(library, name): function for name in names})
        return function

    return register


def refuses(library: str, reason: str, *names: str) -> None:
    """Register why classes cannot be converted."""
    _REFUSED.update({(library, name): reason for name in names})


def convert(estimator: Any, table: Table) -> Any:
    """Write an estimator into the table's graph. Raises UnsupportedModelError, which says why, for one that no Core ML
    model expresses."""
    for kind in type(estimator).__mro__:
        key = kind.__module__.partition(".")[0], kind.__name__
        for family in _FAMILIES.get(key[0], ()):
            import_module(f"{__package__}.{family}")
        if key in _CONVERTERS:
            _check_fitted(estimator)
            return _CONVERTERS[key](estimator, table)
        if key in _REFUSED:
            raise UnsupportedModelError(f"{name_of(estimator)} cannot be converted: {_REFUSED[key]}")
    raise UnsupportedModelError(
        f"{name_of(estimator)} cannot be converted: no Core ML model is known to say the same;"
        " `pippin.develop.estimators.kinds.registry.kinds()` lists what can"
    )


def kinds() -> dict[str, list[str]]:
    """The names of the classes that can be converted, by library."""
    for families in _FAMILIES.values():
        for family in families:
            import_module(f"{__package__}.{family}")
    return {library: sorted(n for lib, n in _CONVERTERS if lib == library) for library in _FAMILIES}


def name_of(estimator: Any) -> str:
    return type(estimator).__name__


def _check_fitted(estimator: Any) -> None:
    if type(estimator).__module__.partition(".")[0] != "sklearn":
        return
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        from ....errors import ConfigurationError

        raise ConfigurationError(
            f"this {name_of(estimator)} is not fitted: call its fit before converting it"
        ) from None
