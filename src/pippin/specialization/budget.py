"""Budget: how long measuring may take. A run that would take longer is stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import numpy as np

from ..engines import Compiled
from ..errors import PredictionCancelled
from .progress import Stages

_SECONDS = {"default": 30.0, "fast_prediction": 300.0, "progressive": 30.0}
_SECONDS_UNBOUNDED = 2.0
"""For a graph with a loop without a bound, which probably never ends on sample inputs if it takes longer."""
_SECONDS_COMPARISON = 10.0
FOREVER = 1e6  # seconds; what a timer can wait for


class Budget:
    """Seconds for measuring one segment, counted from now."""

    def __init__(self, seconds: float, stages: Stages) -> None:
        self._seconds, self._stages = seconds, stages
        self._deadline = time.perf_counter() + seconds

    @classmethod
    def of(cls, strategy: str, unbounded: bool, stages: Stages) -> Budget:
        return cls(_SECONDS_UNBOUNDED if unbounded else _SECONDS.get(strategy, math.inf), stages)

    def comparison(self) -> Budget:
        """A part of it for comparing a candidate with a reference: a prediction that takes seconds is not compared."""
        return Budget(min(max(self.left, 0.0), _SECONDS_COMPARISON), self._stages)

    def extend(self, seconds: float) -> None:
        """Something else took this long since the budget was made."""
        self._deadline += seconds

    @property
    def left(self) -> float:
        return self._deadline - time.perf_counter()

    def run(self, compiled: Compiled, arrays: Mapping[str, np.ndarray], share: float = 1.0) -> dict[str, np.ndarray]:
        """Run with a share of what is left. Raises PredictionCancelled if that is too short, and
        SpecializationCancelled."""
        self._stages.check()
        with self._stages.stoppable(min(max(self.left * share, 0.0), FOREVER)) as stop:
            try:
                return compiled.run(arrays, stop)
            except PredictionCancelled:
                self._stages.check()
                raise PredictionCancelled(
                    f"stopped: it did not complete within its share of {self._seconds:g} s"
                ) from None
