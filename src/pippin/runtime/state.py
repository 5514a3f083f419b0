"""State: the memory of a stateful model between predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FeatureShapeError, StateError
from ..support.cancellation import Stop
from .flow.state_queue import StateQueue

if TYPE_CHECKING:
    from .session import Session


class State:
    """The memory of a stateful model between predictions. Created by `Model.make_state`, initially all zeros.

    Thread-safe. Predictions, `read` and `write` on one state run one at a time, in arrival order; predictions on
    different states run concurrently.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._ports = {port.name: port for port in session.states}
        self.state_queue = StateQueue()
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
        with self.state_queue.turn():
            return self._arrays[name].astype(self._ports[name].type.dtype.numpy)

    def write(self, name: str, value: Any) -> None:
        """Replace one state. Raises StateError for an unknown name, FeatureError for an array that does not fit."""
        from ..features.arrays import to_array

        self._check(name)
        port = self._ports[name]
        array = to_array(name, value, port.type.dtype, port.dtype)
        if array.shape != self._arrays[name].shape:
            raise FeatureShapeError(f"the state '{name}' must have shape {self._arrays[name].shape}, got {array.shape}")
        with self.state_queue.turn():
            self._arrays[name] = array.copy()

    def belongs_to(self, session: Session) -> bool:
        return self._session is session

    def run(self, features: Mapping[str, Any], stop: Stop | None, backings: Mapping[str, Any] | None) -> dict[str, Any]:
        """Predict, reading and updating the state. The caller must hold the turn of `state_queue`."""
        return self._session.run(features, self._arrays, stop, backings)

    def _check(self, name: str) -> None:
        if name not in self._ports:
            raise StateError(f"the model has no state '{name}' (states: {', '.join(self._ports) or 'none'})")
