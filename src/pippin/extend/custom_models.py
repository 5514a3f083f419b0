"""Custom models: the classes that stand for the custom models inside files.

A class is registered by the decorator, or, so that it need not be imported first, as an entry point of the group
"pippin.custom_models" whose name is the class's name in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from ..errors import UnsupportedModelError

GROUP = "pippin.custom_models"


class CustomModel(Protocol):
    """What a registered class is called with; the Python form of Core ML's `MLCustomModel`.

    `parameters` holds the numbers, strings, booleans and bytes that the file gives the model; `description` tells its
    inputs and outputs.
    """

    def __init__(self, parameters: Mapping[str, Any], description: Any) -> None: ...

    def predict(self, features: dict[str, Any]) -> Mapping[str, Any]:
        """A value for each described output. Several threads may call at once.

        Features are what a prediction takes and gives: arrays of the declared dtype, images (Pillow), numbers, strings,
        dictionaries and lists. An exception ends the prediction with a PredictionError.
        """
        ...


_registered: dict[str, type[Any]] = {}
_Class = TypeVar("_Class", bound=type[Any])


def custom_model(name: str) -> Callable[[_Class], _Class]:
    """Register a class for the custom models of this class name; a later registration takes its place.

    @pippin.custom_model("WordCounter")
    class WordCounter:
        def __init__(self, parameters, description): ...
        def predict(self, features): return {"count": len(features["text"].split())}
    """

    def register(made: _Class) -> _Class:
        _registered[name] = made
        return made

    return register


def class_of(name: str) -> type[Any]:
    """The class that is registered under a name. Raises UnsupportedModelError where there is none."""
    if name not in _registered:
        from importlib.metadata import entry_points  # takes 20 ms

        for entry in entry_points(group=GROUP, name=name):
            _registered.setdefault(name, entry.load())
    if name not in _registered:
        known = ", ".join(sorted(_registered)) or "none"
        raise UnsupportedModelError(
            f"the custom model of the class '{name}' is not there (registered: {known}): register one with"
            f" @pippin.custom_model({name!r}), or as an entry point of the group {GROUP}"
        )
    return _registered[name]
