"""Estimator files: reads fitted estimators from the files of their libraries.

joblib and pickle files run code when they are read, so they are only read on request; the others do not.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError, MissingFileError, UnsupportedModelError

RUNS_CODE = (".joblib", ".pkl", ".pickle")
SAFE = (".skops", ".json", ".ubj", ".txt", ".cbm")


def read_estimator(path: Path, trust: bool = False) -> Any:
    """The estimator in a file. Raises ConfigurationError for one that may run code, unless `trust`."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise MissingFileError(f"{path}: no such file", path)
    if suffix in RUNS_CODE:
        if not trust:
            raise ConfigurationError(
                f"{path}: reading a {suffix} file runs the code that is in it; use --trust if you know who made it, or"
                " save the estimator with skops (`skops.io.dump`), or in its library's own format, which run none"
            )
        return _read(path, "joblib", lambda joblib: joblib.load(path))
    if suffix not in _READERS:
        known = ", ".join((*RUNS_CODE, *SAFE))
        raise UnsupportedModelError(f"{path}: a file of this kind is not converted; estimators are in {known}")
    module, reader = _READERS[suffix]
    return _read(path, module, lambda library: reader(library, path, trust))


def _read(path: Path, module: str, reader: Callable[[Any], Any]) -> Any:
    from importlib import import_module

    try:
        library = import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ConfigurationError(f"{path} needs the package {package}: pip install 'pippin[estimators]'") from None
    try:
        return reader(library)
    except (ConfigurationError, UnsupportedModelError):
        raise
    except Exception as error:  # each library has errors of its own for a damaged file
        raise UnsupportedModelError(f"{path} cannot be read by {module}: {str(error).splitlines()[0][:300]}") from None


def _skops(io: Any, path: Path, trust: bool) -> Any:
    unknown = io.get_untrusted_types(file=path)
    if unknown and not trust:
        raise ConfigurationError(
            f"{path} has objects of types that skops does not know: {', '.join(unknown)}; use --trust if you trust them"
        )
    return io.load(path, trusted=unknown)


def _xgboost(library: Any, path: Path, trust: bool) -> Any:
    return library.Booster(model_file=str(path))


def _lightgbm(library: Any, path: Path, trust: bool) -> Any:
    return library.Booster(model_file=str(path))


def _catboost(library: Any, path: Path, trust: bool) -> Any:
    found = library.CatBoost().load_model(str(path))
    loss = str(found.get_all_params().get("loss_function", "")).partition(":")[0]
    classifier = loss in ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll")
    made = library.CatBoostClassifier() if classifier else library.CatBoostRegressor()
    return made.load_model(str(path))


_READERS: dict[str, tuple[str, Callable[[Any, Path, bool], Any]]] = {
    ".skops": ("skops.io", _skops),
    ".json": ("xgboost", _xgboost),
    ".ubj": ("xgboost", _xgboost),
    ".txt": ("lightgbm", _lightgbm),
    ".cbm": ("catboost", _catboost),
}
