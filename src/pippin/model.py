"""Model: the object that people hold. load, predict, predict_batch, make_state."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .configuration import Configuration
from .errors import ConfigurationError, FeatureShapeError, FeatureTypeError, PippinError, StateError

if TYPE_CHECKING:  # what these import is only needed once a model is loaded
    from .format.asset import Asset
    from .format.description import ModelDescription
    from .session import Session


def load(
    source: str | os.PathLike[str] | bytes | Asset | Any,
    configuration: Configuration | None = None,
    *,
    weights: Mapping[str, bytes] | os.PathLike[str] | None = None,
) -> Model:
    """Open a model and specialize it for this machine.

    `source` is the path of an `.mlpackage` or `.mlmodel`, or a specification in memory (bytes or a protobuf
    message) whose weight files are `weights`: {"weights/weight.bin": bytes}, or the folder that holds them.
    Raises FormatError where the file is unsound, UnsupportedError where it cannot be executed here,
    ConfigurationError for options that do not fit it, CompilationError where an engine fails.
    """
    from .format.asset import open_asset
    from .session import specialize

    configuration = configuration or Configuration()
    asset = open_asset(source, weights)
    return Model(asset.description, configuration, specialize(asset, configuration))


class State:
    """What a stateful model remembers between predictions. Made by `Model.make_state`, all zeros at first.

    Any thread may use it; predictions on one state wait for each other.
    """

    def __init__(self, session: Session) -> None:
        from threading import Lock

        self._session = session
        self._ports = {port.name: port for port in session.states}
        self._lock = Lock()
        self._arrays = {
            name: np.zeros(tuple(d or 0 for d in port.type.shape or ()), port.dtype)
            for name, port in self._ports.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._ports)

    def read(self, name: str) -> np.ndarray:
        """A copy of one state, in its declared shape and dtype. Raises StateError for an unknown name."""
        self._check(name)
        with self._lock:
            return self._arrays[name].astype(self._ports[name].type.dtype.numpy)

    def write(self, name: str, value: Any) -> None:
        """Replace one state. Raises StateError for an unknown name, FeatureError for an unfit array."""
        from .features.arrays import to_array

        self._check(name)
        port = self._ports[name]
        array = to_array(name, value, port.type.dtype, port.dtype)
        if array.shape != self._arrays[name].shape:
            raise FeatureShapeError(f"the state '{name}' has the shape {self._arrays[name].shape}, not {array.shape}")
        with self._lock:
            self._arrays[name] = array.copy()

    def _check(self, name: str) -> None:
        if name not in self._ports:
            raise StateError(f"there is no state '{name}' (the states are: {', '.join(self._ports) or 'none'})")


class Model:
    """A loaded model. Any thread may predict; `close` (or leaving a `with` block) gives its memory back."""

    def __init__(self, description: ModelDescription, configuration: Configuration, session: Session) -> None:
        self.description = description
        self.configuration = configuration
        self._session: Session | None = session
        self.function_name = session.function.name
        self.engine = session.engine

    def predict(self, features: Mapping[str, Any], *, state: State | None = None) -> dict[str, Any]:
        """One prediction: {input name: value} to {output name: value}.

        A multiarray takes numpy arrays of any layout, anything with `__array__` or DLPack on the CPU, numbers and
        nested lists; an image takes a Pillow image, a file path, or a uint8 array (height, width[, 3]). Arrays come
        back in the declared dtype, images as Pillow images, a classifier's label and {label: probability}. A
        stateful model needs a `state` of its own and updates it. Raises FeatureError, StateError, PredictionError.
        """
        session = self._open()
        if not isinstance(features, Mapping):
            raise FeatureTypeError(f"features is a {type(features).__name__}; a dictionary of inputs by name is needed")
        if state is None:
            if session.states:
                names = ", ".join(port.name for port in session.states)
                raise StateError(f"the model has states ({names}): give state=model.make_state()")
            return session.run(features, {})
        if not session.states:
            raise StateError("the model has no states; predict without state")
        if state._session is not session:
            raise StateError("the state was made by another model")
        with state._lock:
            return session.run(features, state._arrays)

    def predict_batch(self, batch: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Predictions for many inputs, in order. An error names the index of the element that caused it."""
        results = []
        for index, features in enumerate(batch):
            try:
                results.append(self.predict(features))
            except PippinError as error:
                error.add_note(f"in element {index} of the batch")
                raise
        return results

    def make_state(self) -> State:
        """A new state, all zeros. Raises StateError where the model has none."""
        session = self._open()
        if not session.states:
            raise StateError("the model has no states")
        return State(session)

    def close(self) -> None:
        """Give back the engine's memory; later predictions raise ConfigurationError."""
        self._session = None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pippin.Model {self.function_name!r} on {self.engine}>"

    def _open(self) -> Session:
        if self._session is None:
            raise ConfigurationError("the model is closed")
        return self._session
