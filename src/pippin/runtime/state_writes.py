"""State writes: puts what a prediction computed into the arrays of its state, all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import PredictionError
from ..lowering.lowered_model import Lowered, StateWrite, written_name

Place = tuple[slice, ...]


class StateWrites:
    """What one function writes to its states: whole new values, and rows (`lowering/held_states.py`)."""

    def __init__(self, lowered: Lowered) -> None:
        self._whole = tuple((name, written_name(name)) for name in lowered.written)
        self._rows = lowered.writes
        starts = {start for write in lowered.writes for start in write.starts if isinstance(start, str)}
        self.tensors = frozenset({*(name for _, name in self._whole), *(write.rows for write in lowered.writes), *starts})
        """The graph outputs that it reads."""

    def apply(self, state: dict[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> None:
        """Update the arrays of a state. Raises PredictionError, and changes nothing, if one does not fit."""
        for name, output in self._whole:
            if arrays[output].shape != state[name].shape:
                raise PredictionError(
                    f"the state '{name}' has shape {state[name].shape}, but the program writes {arrays[output].shape}"
                )
        places = [self._place(write, state, arrays) for write in self._rows]
        before = {name: state[name] for name, _ in self._whole}
        undo: list[tuple[np.ndarray, np.ndarray]] = []
        try:
            for write, place in zip(self._rows, places, strict=True):
                target = state[write.state][place]
                undo.append((target, target.copy()))
                target[...] = arrays[write.rows]
            for name, output in self._whole:
                state[name] = arrays[output]
        except BaseException:  # Ctrl-C between two rows
            for target, rows in reversed(undo):
                target[...] = rows
            state.update(before)
            raise

    def _place(self, write: StateWrite, state: Mapping[str, np.ndarray], arrays: Mapping[str, Any]) -> Place:
        shape, rows = state[write.state].shape, arrays[write.rows].shape
        starts = [start if isinstance(start, int) else int(arrays[start][0]) for start in write.starts]
        for axis, (start, count, size) in enumerate(zip(starts, rows, shape, strict=True)):
            if not 0 <= start <= size - count:
                raise PredictionError(
                    f"the program writes {start} to {start + count} of axis {axis} of the state '{write.state}', which"
                    f" has {size} elements"
                )
        return tuple(slice(start, start + count) for start, count in zip(starts, rows, strict=True))

