"""Reference: a float32 run that candidates must agree with before one of them may be chosen.

Engines are compared with each other when several are measured (`candidates.py`). That is not enough for quantized
activations, where all may be wrong in the same way, and for an engine whose kernels are checked and that runs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from ..engines import Compiled, Engine, Settings, all_engines
from ..errors import PippinError, PredictionCancelled, PredictionError, SpecializationCancelled
from ..lowering.external_data import readable
from ..passes.eight_bit import in_float32, quantizes_activations
from .budget import Budget
from .precision import MIN_DB_8_BIT, MIN_DB_FLOAT32, signal_to_noise
from .prepared_models import prepared
from .progress import Stages
from .trial import Trial

Arrays = Mapping[str, np.ndarray]

_LARGE = 4.0  # standard deviations: beyond the range of most activations, so that codes are the largest


@dataclass(frozen=True, slots=True)
class Reference:
    """Inputs with their expected outputs, and the signal-to-noise ratio that is required in dB."""

    engine: str
    runs: tuple[tuple[Arrays, Arrays], ...]
    minimum: float

    def noise(self, compiled: Compiled, outputs: list[str], budget: Budget) -> dict[str, float]:
        """The lowest signal-to-noise ratio of each output in dB. Raises PredictionError."""
        found = [signal_to_noise(right, budget.run(compiled, inputs), outputs) for inputs, right in self.runs]
        return {name: min(run[name] for run in found) for name in outputs}


def reference(
    model: onnx.ModelProto,
    engines: Sequence[Engine],
    trusted: Sequence[Engine],
    sample: Callable[[], list[dict[str, np.ndarray]]],
    budget: Budget,
) -> Reference | None:
    """The reference for a model that `engines` may run; None if they need none. `trusted` can run the model.

    Raises PippinError if there is none to be had.
    """
    quantized = quantizes_activations(model)
    if not quantized and not all(engine.thorough for engine in engines):
        return None
    if not trusted:
        raise PippinError("no other engine is installed that can run the model")
    inputs = sample()
    if quantized:
        model, inputs = in_float32(model), [*inputs, _large(inputs[0])]
    engine = min(trusted, key=lambda engine: engine.load_rank)
    with readable(prepared(engine, model)) as source:
        compiled = engine.compile(source, Settings())
    minimum = MIN_DB_8_BIT if quantized else MIN_DB_FLOAT32
    return Reference(engine.name, tuple((arrays, budget.run(compiled, arrays)) for arrays in inputs), minimum)


def trusted_engines(declined: Mapping[str, Mapping[str, str]]) -> list[Engine]:
    """The installed engines whose float32 results need no check, without those that decline the model."""
    installed = [engine for engine in all_engines().values() if engine.installed and not engine.thorough]
    return [engine for engine in installed if not declined.get(engine.name)]


def _large(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of large positive values: the sums that saturate first."""
    return {
        name: np.abs(array) * array.dtype.type(_LARGE) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }


def agreeing(
    trials: list[Trial], reference: Callable[[], Reference | None], outputs: list[str], stages: Stages, budget: Budget
) -> list[Trial]:
    """The candidates that agree with the reference; the others get a note."""
    try:
        known = reference() if trials else None
    except SpecializationCancelled:
        raise
    except PippinError as error:  # no sample inputs, or no engine to compare with
        for trial in trials:
            trial.unchecked = str(error)
        return trials
    if known is None:
        return trials
    with stages.stage("measure"):
        return [trial for trial in trials if _agrees(trial, known, outputs, budget)]


def _agrees(trial: Trial, reference: Reference, outputs: list[str], budget: Budget) -> bool:
    assert trial.compiled is not None
    try:
        trial.noise = reference.noise(trial.compiled, outputs, budget)
    except PredictionCancelled as error:
        trial.unchecked = str(error)
        return True
    except PredictionError as error:
        trial.note = f"failed on sample inputs: {error}"
        return False
    name, worst = min(trial.noise.items(), key=lambda item: item[1], default=("", np.inf))
    if worst >= reference.minimum:
        return True
    trial.note = (
        f"'{name}' has a signal-to-noise ratio of {worst:.1f} dB against {reference.engine} in float32; "
        f"{reference.minimum:.0f} dB is required"
    )
    return False
