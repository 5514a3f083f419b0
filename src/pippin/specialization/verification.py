"""Verification: compares a candidate with ONNX Runtime on degenerate inputs, where engines differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..engines import Compiled, engine_named
from ..errors import EngineError, PippinError
from ..format.description import FunctionDescription
from ..lowering.lowered_model import Lowered
from ..support.cancellation import Stop
from .budget import Budget
from .degenerate import degenerate_inputs, difference
from .exactness import compile_exact
from .nonfinite import EXACT, Guard
from .sample_inputs import example_inputs, image_tensors
from .segmentation import UncompiledSegment
from .trial import Trial

Arrays = Mapping[str, np.ndarray]


@dataclass(slots=True)
class Verification:
    """Returns how a candidate differs, or "". With `prepare`, the exact results are computed first, by themselves."""

    segment: UncompiledSegment
    function: FunctionDescription
    lowered: Lowered
    guards: Mapping[str, Guard]
    budget: Budget
    _exact: list[tuple[Compiled, Guard]] = field(default_factory=list)

    def __call__(self, trial: Trial, trials: Sequence[Trial]) -> str:
        if trial.compiled is None or not self._concerns(trial):
            return ""
        inputs = self._inputs()
        right = self._exact_run(trials) if inputs else None
        if right is None:
            return ""
        own = trial.compiled, self.guards[trial.engine.name]
        return difference(own, right, inputs, self.segment.results(self.lowered), self.budget.comparison().run)

    def prepare(self, trial: Trial) -> None:
        """Compute what a candidate is compared with, before it is loaded."""
        inputs = self._inputs() if self._concerns(trial) else []
        right = self._exact_run([]) if inputs else None
        if right is not None and not isinstance(right[0], Recorded):
            guard = self.guards[trial.engine.name]
            admitted = [arrays for arrays in inputs if guard.admits(arrays)]
            self._exact = [(Recorded(right[0], admitted, self.budget.comparison()), right[1])]

    def _concerns(self, trial: Trial) -> bool:
        return trial.engine.name != EXACT and self.segment.device == "cpu"

    def _inputs(self) -> list[dict[str, np.ndarray]]:
        try:
            pixels = image_tensors(self.function, self.lowered)
            return degenerate_inputs(self.segment.read(example_inputs(self.function, self.lowered)), pixels)
        except PippinError:  # no sample inputs
            return []

    def _exact_run(self, trials: Sequence[Trial]) -> tuple[Compiled, Guard] | None:
        engine, known = engine_named(EXACT), self._exact
        if not known:
            known += [(t.compiled, self.guards[EXACT]) for t in trials if t.engine is engine and t.compiled is not None]
        if not known and engine.installed and not engine.declined(self.lowered):  # another one was asked for
            # Its plain kernels compile in a fraction of the time, for the two or three runs that are needed.
            try:
                known.append((compile_exact(replace(self.lowered, model=self.segment.model)), Guard()))
            except EngineError:
                return None
        return known[0] if known else None


class Recorded:
    """Answers with what a model computed before it was freed; raises what it raised. The inputs come in their order."""

    def __init__(self, compiled: Compiled, inputs: Sequence[Arrays], budget: Budget) -> None:
        self._answers: list[tuple[Arrays, dict[str, np.ndarray] | EngineError]] = []
        for arrays in inputs:
            try:
                self._answers.append((arrays, budget.run(compiled, arrays)))
            except EngineError as error:
                self._answers.append((arrays, type(error)(str(error))))  # its traceback would hold the model

    def run(self, inputs: Arrays, stop: Stop | None = None, into: Arrays | None = None) -> dict[str, np.ndarray]:
        for arrays, answer in self._answers:
            if all(
                np.array_equal(inputs[name], array, equal_nan=array.dtype.kind == "f") for name, array in arrays.items()
            ):
                if isinstance(answer, EngineError):
                    raise answer
                return answer
        raise EngineError("not computed before")
