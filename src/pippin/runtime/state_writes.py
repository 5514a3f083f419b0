"""State writes: puts what a prediction computed into the arrays of its state, all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import PredictionError
from ..lowering.lowered_model import Lowered, StateWrite, written_name
from ..specialization.nonfinite import StateArray

Place = tuple[slice, ...]


class StateWrites:
    """What one function writes to its states: whole new values, and rows (`lowering/held_states.py`)."""

    def __init__(self, lowered: Lowered) -> None:
        self._whole = tuple((name, written_name(name)) for name in lowered.written)
        self._rows = lowered.writes
        bounds = {bound for write in lowered.writes for bound in (*write.starts, *write.ends) if isinstance(bound, str)}
        rows = {write.rows for write in lowered.writes}
        self.tensors = frozenset({*(name for _, name in self._whole), *rows, *bounds})
        """The graph outputs that it reads."""

    def apply(self, state: dict[str, StateArray], arrays: Mapping[str, np.ndarray]) -> None:
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
                array, rows = state[write.state], arrays[write.rows]
                target = array[place]
                undo.append((target, target.copy()))
                target[...] = rows
                array.note(rows)
            for name, output in self._whole:
                state[name] = arrays[output].view(StateArray)
        except BaseException:  # Ctrl-C between two rows
            for target, old in reversed(undo):
                target[...] = old
            state.update(before)
            raise

    def _place(self, write: StateWrite, state: Mapping[str, StateArray], arrays: Mapping[str, Any]) -> Place:
        place = []
        sizes = zip(write.starts, write.ends, arrays[write.rows].shape, state[write.state].shape, strict=True)
        for axis, (start, end, count, size) in enumerate(sizes):
            start = start if isinstance(start, int) else int(arrays[start][0])
            end = end if isinstance(end, int) else int(arrays[end][0])
            if end - start != count or end > size:
                raise PredictionError(
                    f"the program writes {count} elements to {start} to {end} of axis {axis} of the state"
                    f" '{write.state}', which has {size}"
                )
            place.append(slice(start, end))
        return tuple(place)
