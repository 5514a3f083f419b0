"""State: the memory of a stateful model between predictions."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FeatureShapeError, StateError
from ..lowering.lowered_model import Port
from ..specialization.nonfinite import StateArray
from ..support.cancellation import Stop
from .flow.state_queue import StateQueue

if TYPE_CHECKING:
    from .session import Session


class State:
    """The memory of a stateful model between predictions. Created by `Model.make_state`, initially all zeros.

    It fits every model and function that declares states of these names, shapes and dtypes. Thread-safe. Predictions,
    `read`, `write`, `copy` and `save` on one state run one at a time, in arrival order; predictions on different states
    run concurrently. A prediction that fails or is cancelled leaves the state as it was.
    """

    def __init__(self, ports: Mapping[str, Port], arrays: dict[str, StateArray], content: Callable[[], str]) -> None:
        """`arrays` in the dtypes that an engine computes in; `content` is the hash of the model."""
        self._ports, self._arrays, self._content = dict(ports), arrays, content
        self._fitting: weakref.ref[Session] | None = None
        self.state_queue = StateQueue()

    @classmethod
    def of(cls, session: Session) -> State:
        """A state for a session, all zeros. Raises StateError if it has none."""
        if not session.states:
            raise StateError("the model has no states")
        ports = {port.name: port for port in session.states}
        arrays = {name: port.zeros().view(StateArray) for name, port in ports.items()}
        return cls(ports, arrays, session.content)

    @classmethod
    def load(cls, path: str | os.PathLike[str], session: Session) -> State:
        """Read what `save` wrote. Raises StateError for a damaged file, or a state of another model."""
        from .saved_state import load

        state = cls.of(session)
        for name, array in load(path, session.content(), state._ports).items():
            state.write(name, array)
        return state

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._ports)

    @property
    def bytes(self) -> int:
        """The memory that the state takes, in bytes."""
        return sum(array.nbytes for array in self._arrays.values())

    def read(self, name: str) -> np.ndarray:
        """A copy of one state, in its declared shape and dtype. Raises StateError for an unknown name."""
        self._check(name)
        with self.state_queue.turn():
            return self._declared(name)

    def write(self, name: str, value: Any) -> None:
        """Replace one state. Raises StateError for an unknown name, FeatureError for an array that does not fit."""
        from ..features.arrays import to_array

        self._check(name)
        port = self._ports[name]
        array = to_array(name, value, port.type.dtype, port.dtype)
        if array.shape != port.state_shape:
            raise FeatureShapeError(f"the state '{name}' must have shape {port.state_shape}, got {array.shape}")
        with self.state_queue.turn():
            self._arrays[name] = array.copy().view(StateArray)

    def copy(self) -> State:
        """Another state with the same content, as it is after the predictions that were asked for before."""
        with self.state_queue.turn():
            arrays = {name: array.copy() for name, array in self._arrays.items()}
        return State(self._ports, arrays, self._content)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file, for `Model.load_state`; an existing file is replaced when the new one is complete.

        It holds the arrays in their declared dtypes and the hash of the model that made the state. Raises StateError if
        the file cannot be written, or if the model has no files of its own.
        """
        from .saved_state import save

        content = self._content()
        with self.state_queue.turn():
            arrays = {name: self._declared(name) for name in self._arrays}
        save(path, content, self._ports, arrays)

    def run(
        self, session: Session, features: Mapping[str, Any], stop: Stop | None, backings: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Predict, reading and updating the state. The caller must hold the turn of `state_queue`.

        Raises StateError if the session's states do not fit.
        """
        if self._fitting is None or self._fitting() is not session:
            self._fit(session)
        if len(session.states) == len(self._arrays):
            return session.run(features, self._arrays, stop, backings)
        arrays = {port.name: self._arrays[port.name] for port in session.states}
        outputs = session.run(features, arrays, stop, backings)
        self._arrays.update(arrays)
        return outputs

    def _fit(self, session: Session) -> None:
        """Check the states of a session, and hold the arrays in its dtypes."""
        for port in session.states:
            own = self._ports.get(port.name)
            if own is None:
                raise StateError(
                    f"the state does not fit the model: it has no '{port.name}' (it has: {', '.join(self._ports)})"
                )
            if own.type.shape != port.type.shape or own.type.dtype is not port.type.dtype:
                raise StateError(
                    f"the state does not fit the model: '{port.name}' is {own.type} in the state,"
                    f" {port.type} in the model"
                )
        for port in session.states:
            if self._arrays[port.name].dtype != port.dtype:
                self._arrays[port.name] = self._arrays[port.name].astype(port.dtype).view(StateArray)
            self._ports[port.name] = port
        self._fitting = weakref.ref(session)

    def _declared(self, name: str) -> np.ndarray:
        """A copy of one state in its declared dtype."""
        return self._arrays[name].view(np.ndarray).astype(self._ports[name].type.dtype.numpy)

    def _check(self, name: str) -> None:
        if name not in self._ports:
            raise StateError(f"the model has no state '{name}' (states: {', '.join(self._ports) or 'none'})")
