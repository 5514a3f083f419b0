"""Custom models: a registry, by class name, of Python classes for custom models in model files.

Register a class with the decorator, or as an entry point in the group "pippin.custom_models", named after the class in
the file; then it need not be imported first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from ..errors import UnsupportedModelError

GROUP = "pippin.custom_models"


class CustomModel(Protocol):
    """Interface of a registered class; the Python form of Core ML's `MLCustomModel`.

    `parameters` contains the numbers, strings, booleans and bytes stored in the file; `description` describes the
    inputs and outputs.
    """

    def __init__(self, parameters: Mapping[str, Any], description: Any) -> None: ...

    def predict(self, features: dict[str, Any]) -> Mapping[str, Any]:
        """Return a value for each described output. Called concurrently from several threads.

        Features are as in a prediction: arrays of the declared dtype, images (Pillow), numbers, strings, dictionaries
        and lists. An exception fails the prediction with a PredictionError.
        """
        ...


_registered: dict[str, type[Any]] = {}
_Class = TypeVar("_Class", bound=type[Any])


def custom_model(name: str) -> Callable[[_Class], _Class]:
    """Register a class for custom models of this class name, replacing an earlier registration.

    @pippin.custom_model("WordCounter")
    class WordCounter:
        def __init__(self, parameters, description): ...
        def predict(self, features): return {"count": len(features["text"].split())}
    """

    def register(cls: _Class) -> _Class:
        _registered[name] = cls
        return cls

    return register


def class_of(name: str) -> type[Any]:
    """The class registered under a name. Raises UnsupportedModelError if there is none."""
    if name not in _registered:
        from importlib.metadata import entry_points  # takes 20 ms

        for entry in entry_points(group=GROUP, name=name):
            _registered.setdefault(name, entry.load())
    if name not in _registered:
        known = ", ".join(sorted(_registered)) or "none"
        raise UnsupportedModelError(
            f"custom model class '{name}' is not registered (registered: {known}): register it with"
            f" @pippin.custom_model({name!r}) or as an entry point in the group '{GROUP}'"
        )
    return _registered[name]
