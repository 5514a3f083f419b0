"""State: what a stateful model remembers from one prediction to the next."""

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
    """What a stateful model remembers between predictions. Made by `Model.make_state`, all zeros at first.

    Any thread may use it; predictions on one state are one after the other, in the order they were asked for,
    and so are `read` and `write`; those on different states run at the same time.
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
        """Replace one state. Raises StateError for an unknown name, FeatureError for an unfit array."""
        from ..features.arrays import to_array

        self._check(name)
        port = self._ports[name]
        array = to_array(name, value, port.type.dtype, port.dtype)
        if array.shape != self._arrays[name].shape:
            raise FeatureShapeError(f"the state '{name}' has the shape {self._arrays[name].shape}, not {array.shape}")
        with self.state_queue.turn():
            self._arrays[name] = array.copy()

    def belongs_to(self, session: Session) -> bool:
        return self._session is session

    def run(self, features: Mapping[str, Any], stop: Stop | None, backings: Mapping[str, Any] | None) -> dict[str, Any]:
        """A prediction that reads and updates it. Whoever calls has the turn on its state_queue."""
        return self._session.run(features, self._arrays, stop, backings)

    def _check(self, name: str) -> None:
        if name not in self._ports:
            raise StateError(f"there is no state '{name}' (the states are: {', '.join(self._ports) or 'none'})")
