"""DynamicBatcher: several elements of a batch computed as one, along a first axis of flexible size, where that gives the same
and is measured to be faster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np

from ...errors import PippinError, PredictionCancelled
from ...format.description import FunctionDescription, MultiArray
from ...support.cancellation import Stop
from ...types import DataType

Features = Mapping[str, Any]
Outputs = dict[str, Any]
Predict = Callable[[Features], Outputs]

# How many are tried at once, and what a stack must gain over the same elements one by one, with all cores.
_SIZES = (4, 16)
_GAIN = 1.1
# What a stack must keep over its difference from the single results, in dB: kernels add up in another order.
_SAME = {DataType.FLOAT16: 45.0, DataType.FLOAT32: 80.0, DataType.FLOAT64: 80.0}


class DynamicBatcher:
    """Decides once for a model, at its first batch that is long enough. Any thread may ask."""

    def __init__(self, function: FunctionDescription, stateful: bool) -> None:
        self._inputs = {f.name: f.type for f in function.inputs if isinstance(f.type, MultiArray)}
        self._outputs = {f.name: f.type for f in function.outputs if isinstance(f.type, MultiArray)}
        self.possible = (
            not stateful
            and len(self._inputs) == len(function.inputs)
            and len(self._outputs) == len(function.outputs)
            and all(kind.shape and kind.flexibility is not None for kind in self._inputs.values())
        )
        self._size: int | None = None if self.possible else 1
        self._lock = Lock()

    @property
    def undecided(self) -> bool:
        return self._size is None

    def size(self, batch: Sequence[Features], single: Predict, many: Callable[[Sequence[Features]], object]) -> int:
        """How many elements to compute as one; 1 where they stay apart. `many` predicts them as they otherwise are."""
        if not self.possible or len(batch) < 2 * _SIZES[0]:
            return 1
        with self._lock:
            if self._size is None:
                self._size = self._decided(batch, single, many)
            return self._size

    def _decided(self, batch: Sequence[Features], single: Predict, many: Callable[[Sequence[Features]], object]) -> int:
        alike = batch[: _SIZES[-1]]
        if not self.alike(alike):
            return 1
        try:
            right = [single(features) for features in alike]
            many(alike)
            apart = _seconds(lambda: many(alike)) / len(alike)
            best, least = 1, apart / _GAIN
            for size in _SIZES:
                if size > len(alike) or not self.allowed(alike[:size]):
                    continue
                found = self.split(single(self.stack(alike[:size])), alike[:size])
                if found is None or not all(self._same(a, b) for a, b in zip(right, found, strict=False)):
                    return 1
                took = _seconds(lambda part=alike[:size]: single(self.stack(part))) / size  # type: ignore[misc]
                if took < least:
                    best, least = size, took
            return best
        except Exception:  # an element that is bad is reported where it is predicted by itself
            return 1

    def alike(self, group: Sequence[Features]) -> bool:
        """Whether the elements are arrays that differ in nothing but their values."""
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

    def allowed(self, group: Sequence[Features]) -> bool:
        """Whether the model takes so many at once."""
        return all(kind.allows((len(group), *group[0][name].shape[1:])) for name, kind in self._inputs.items())

    def stack(self, group: Sequence[Features]) -> dict[str, np.ndarray]:
        return {name: np.concatenate([features[name] for features in group]) for name in self._inputs}

    def split(self, outputs: Outputs, group: Sequence[Features]) -> list[Outputs] | None:
        """The outputs of each element, which belong to the caller; None where they are not as many."""
        if any(value.ndim == 0 or value.shape[0] != len(group) for value in outputs.values()):
            return None
        return [{name: value[i : i + 1].copy() for name, value in outputs.items()} for i in range(len(group))]

    def jobs(
        self, batch: Sequence[Features], size: int, predict: Callable[..., Outputs], job: Callable[..., Any]
    ) -> list[Any]:
        """The batch in stacks of so many elements; those that cannot be stacked stay apart."""
        made = []
        for start in range(0, len(batch), size):
            group = batch[start : start + size]
            if len(group) > 1 and self.alike(group) and self.allowed(group):
                held = 2 * sum(array.nbytes for features in group for array in features.values())
                made.append(job(partial(self._many, group, predict), held, len(group)))
            else:
                made += [job(partial(predict, features), 0) for features in group]
        return made

    def _many(self, group: Sequence[Features], predict: Callable[..., Outputs], stop: Stop | None) -> Any:
        """The outputs of a stack; where it fails, each element is computed by itself, to tell which one it is."""
        try:
            found = self.split(predict(self.stack(group), stop), group)
        except PredictionCancelled:
            raise
        except PippinError:
            found = None
        return found if found is not None else [_alone(predict, features, stop) for features in group]

    def _same(self, right: Outputs, found: Outputs) -> bool:
        for name, kind in self._outputs.items():
            a, b = right[name], found[name]
            if a.shape != b.shape or a.dtype != b.dtype:
                return False
            if not kind.dtype.is_float:
                if not np.array_equal(a, b):
                    return False
                continue
            if not np.array_equal(np.isfinite(a), np.isfinite(b)):
                return False
            a, b = np.nan_to_num(a.astype(np.float64)), np.nan_to_num(b.astype(np.float64))
            if np.square(a - b).sum() > np.square(a).sum() * 10 ** (-_SAME.get(kind.dtype, 80.0) / 10):
                return False
        return True


def _alone(predict: Callable[..., Outputs], features: Features, stop: Stop | None) -> Outputs | PippinError:
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
