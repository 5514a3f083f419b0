"""Dynamic batcher: merges batch elements into one prediction along a flexible first axis.

It does so only if a trial gave the same results in less time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from ...errors import PippinError, PredictionCancelled
from ...features.outputs import Outputs as ShownOutputs
from ...format.description import FunctionDescription, MultiArray
from ...support.cancellation import Stop
from ...types import DataType

Features = Mapping[str, Any]
Outputs = dict[str, Any]
Predict = Callable[[Features], Outputs]

# Batch sizes to try, and the speed-up required over the same elements predicted separately on all cores.
_BATCH_SIZES = (4, 16)
_GAIN = 1.1
# Required signal-to-noise ratio in dB against single predictions: kernels sum in a different order.
_MIN_SNR = {DataType.FLOAT16: 45.0, DataType.FLOAT32: 80.0, DataType.FLOAT64: 80.0}


class DynamicBatcher:
    """Decides once for a model, at its first sufficiently long batch. Thread-safe."""

    def __init__(self, function: FunctionDescription, stateful: bool) -> None:
        self._inputs = {f.name: f.type for f in function.inputs if isinstance(f.type, MultiArray)}
        self._outputs = {f.name: f.type for f in function.outputs if isinstance(f.type, MultiArray)}
        self.supported = (
            not stateful
            and len(self._inputs) == len(function.inputs)
            and len(self._outputs) == len(function.outputs)
            and all(kind.shape and kind.flexibility is not None for kind in self._inputs.values())
        )
        self._size: int | None = None if self.supported else 1
        self._lock = Lock()

    @property
    def needs_trial(self) -> bool:
        return self._size is None

    def batch_size(
        self, batch: Sequence[Features], single: Predict, many: Callable[[Sequence[Features]], object]
    ) -> int:
        """How many elements to merge into one prediction; 1: none. `many` predicts elements separately."""
        if not self.supported or len(batch) < 2 * _BATCH_SIZES[0]:
            return 1
        with self._lock:
            if self._size is None:
                self._size = self._run_trial(batch, single, many)
            return self._size

    def _run_trial(
        self, batch: Sequence[Features], single: Predict, many: Callable[[Sequence[Features]], object]
    ) -> int:
        sample = batch[: _BATCH_SIZES[-1]]
        if not self.same_layout(sample):
            return 1
        try:
            expected = [single(features) for features in sample]
            many(sample)
            separate = _seconds(lambda: many(sample)) / len(sample)
            best, fastest = 1, separate / _GAIN
            for size in _BATCH_SIZES:
                if size > len(sample) or not self.fits_model(sample[:size]):
                    continue
                found = self.split(single(self.merge(sample[:size])), sample[:size])
                if found is None or not all(self._equivalent(a, b) for a, b in zip(expected, found, strict=False)):
                    return 1
                took = _seconds(lambda part=sample[:size]: single(self.merge(part))) / size  # type: ignore[misc]
                if took < fastest:
                    best, fastest = size, took
            return best
        except Exception:  # a bad element is reported by its own prediction
            return 1

    def same_layout(self, group: Sequence[Features]) -> bool:
        """Whether all elements are arrays of the same shape and dtype, with a first axis of 1."""
        return all(
            isinstance(features, Mapping)
            and features.keys() == self._inputs.keys()
            and all(
                isinstance(value := features[name], np.ndarray)
                and value.ndim > 0
                and value.shape == group[0][name].shape
                and value.dtype == group[0][name].dtype
                for name in self._inputs
            )
            for features in group
        ) and all(group[0][name].shape[0] == 1 for name in self._inputs)

    def fits_model(self, group: Sequence[Features]) -> bool:
        """Whether the model accepts a batch of this size."""
        return all(kind.allows((len(group), *group[0][name].shape[1:])) for name, kind in self._inputs.items())

    def merge(self, group: Sequence[Features]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([features[name] for features in group]) for name in self._inputs}

    def split(self, outputs: Outputs, group: Sequence[Features]) -> list[Outputs] | None:
        """Copies of the outputs of each element; None if the first axis does not match the number of elements."""
        if any(value.ndim == 0 or value.shape[0] != len(group) for value in outputs.values()):
            return None
        return [
            ShownOutputs({name: value[i : i + 1].copy() for name, value in outputs.items()}) for i in range(len(group))
        ]

    def jobs(
        self, batch: Sequence[Features], size: int, predict: Callable[..., Outputs], job: Callable[..., Any]
    ) -> list[Any]:
        """One job for each `size` elements; elements that cannot be merged get a job of their own."""
        made = []
        for start in range(0, len(batch), size):
            group = batch[start : start + size]
            if len(group) > 1 and self.same_layout(group) and self.fits_model(group):
                held = 2 * sum(array.nbytes for features in group for array in features.values())
                made.append(job(partial(self._predict_merged, group, predict), held, len(group)))
            else:
                made += [job(partial(predict, features), 0) for features in group]
        return made

    def _predict_merged(self, group: Sequence[Features], predict: Callable[..., Outputs], stop: Stop | None) -> Any:
        """Predict merged elements. On failure, predict each one separately to find the bad one."""
        try:
            found = self.split(predict(self.merge(group), stop), group)
        except PredictionCancelled:
            raise
        except PippinError:
            found = None
        return found if found is not None else [_predict_single(predict, features, stop) for features in group]

    def _equivalent(self, expected: Outputs, found: Outputs) -> bool:
        for name, kind in self._outputs.items():
            a, b = expected[name], found[name]
            if a.shape != b.shape or a.dtype != b.dtype:
                return False
            if not kind.dtype.is_float:
                if not np.array_equal(a, b):
                    return False
                continue
            if not np.array_equal(np.isfinite(a), np.isfinite(b)):
                return False
            a, b = np.nan_to_num(a.astype(np.float64)), np.nan_to_num(b.astype(np.float64))
            if np.square(a - b).sum() > np.square(a).sum() * 10 ** (-_MIN_SNR.get(kind.dtype, 80.0) / 10):
                return False
        return True


def _predict_single(predict: Callable[..., Outputs], features: Features, stop: Stop | None) -> Outputs | PippinError:
    try:
        return predict(features, stop)
    except PredictionCancelled:
        raise
    except PippinError as error:
        return error


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)
