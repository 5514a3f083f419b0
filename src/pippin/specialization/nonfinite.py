"""Non-finite: predictions with NaN or infinity run on an exact compilation if the chosen engine is not exact itself.

Before a prediction, the float inputs that matter are checked for NaN, infinity and huge values, which overflow inside;
after it, the probe tells whether a NaN arose in the graph (`passes/nonfinite.py`). The exact compilation is ONNX
Runtime without fused operators, and is made when the first such prediction comes: few models ever see one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from ..engines import Compiled
from ..errors import PredictionError
from ..support.cancellation import Stop

EXACT = "onnxruntime"
"""The engine of the exact compilation."""
_HUGE = 1e12  # sums and products of such values can overflow
_SQUARE = _HUGE**2
# Elements; the dot product is faster, but uses several threads for more.
_FEW = 8192
# Without numpy's dispatch to other kinds of arrays, which takes 0.1 of 0.4 us. Unlike `dot`, it does not warn of an
# overflow.
_vdot: Callable[[np.ndarray, np.ndarray], Any] = getattr(np.vdot, "_implementation", np.vdot)


class NonFinite(Exception):
    """A prediction holds a value that its engine may get wrong."""


class StateArray(np.ndarray):
    """An array of a state, which is not checked as a whole before each prediction: a cache is large, and few rows of it
    change."""

    moderate: bool | None = None
    """Whether no value is NaN, infinite or huge; None if that is not known."""

    def note(self, rows: np.ndarray) -> None:
        """Rows were written to the array."""
        if not (self.moderate and moderate(rows)):
            self.moderate = None  # also if it was false: the rows may have replaced what was wrong


def moderate(array: np.ndarray) -> bool:
    """Whether no value is NaN, infinite or huge."""
    if type(array) is StateArray:
        if array.moderate is None:
            array.moderate = moderate(array.view(np.ndarray))
        return array.moderate
    if array.size <= _FEW and array.itemsize > 2:
        return bool(_vdot(array, array) < _SQUARE)
    return not array.size or (float(array.max()) < _HUGE and float(array.min()) > -_HUGE)


@dataclass(frozen=True, slots=True)
class Guard:
    """What is checked on each prediction of a segment."""

    inputs: tuple[str, ...] = ()
    probe: str = ""

    def __bool__(self) -> bool:
        return bool(self.inputs or self.probe)

    def admits(self, inputs: Mapping[str, np.ndarray]) -> bool:
        return all(moderate(inputs[name]) for name in self.inputs)

    def trusts(self, outputs: Mapping[str, np.ndarray]) -> bool:
        return not self.probe or not np.isnan(outputs[self.probe]).any()


class Guarded:
    """A compiled segment that hands on to `exact` where its engine may be wrong; it raises NonFinite if that is None.

    The checks take part in every prediction, so `moderate` is written out for small arrays: 0.2 of 0.6 us.
    """

    def __init__(self, compiled: Compiled, guard: Guard, exact: Compiled | None = None) -> None:
        self._compiled, self._inputs, self._probe, self._exact = compiled, guard.inputs, guard.probe, exact

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        for name in self._inputs:
            array = inputs[name]
            few = array.size <= _FEW and array.itemsize > 2
            if not (_vdot(array, array) < _SQUARE if few else moderate(array)):
                return self._run_exactly(inputs, stop, into)
        if not self._probe:
            return self._compiled.run(inputs, stop, into)
        # Not into the caller's arrays: one may be an input, which the exact run still reads.
        outputs = self._compiled.run(inputs, stop)
        probe = outputs.pop(self._probe)
        return outputs if probe == probe else self._run_exactly(inputs, stop, into)

    def _run_exactly(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None, into: Mapping[str, np.ndarray] | None
    ) -> dict[str, np.ndarray]:
        if self._exact is None:
            raise NonFinite
        return self._exact.run(inputs, stop, into)


class Exact:
    """The exact compilation of a model, made on its first run."""

    def __init__(self, make: Callable[[], Compiled]) -> None:
        self._make, self._lock = make, Lock()
        self._made: Compiled | None = None

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return self._made.run(inputs, stop, into)


def unavailable() -> Compiled:
    """Stands for an exact compilation that cannot be made."""
    raise PredictionError("the prediction holds NaN, infinite or huge values, which the loaded engine gets wrong")
