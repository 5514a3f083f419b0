"""Degenerate inputs: zeros, constants, large values, one NaN. Engines agree on random values and differ here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..engines import Compiled
from ..errors import EngineError, PredictionCancelled
from .nonfinite import Guard

_TIME_LIMIT = 2.0  # seconds, after which no further input is tried
# The square root of the largest float32: exp and its like overflow, sums of products do not. Where a sum overflows
# depends on its order, which is no engine's fault.
_LARGE = 2.0**63

Arrays = dict[str, np.ndarray]
Run = Callable[[Compiled, Arrays], dict[str, np.ndarray]]


def degenerate_inputs(sample: Arrays, pixels: set[str]) -> list[Arrays]:
    """Variations of sample inputs in their floats; integers are often indices and stay. Images have no NaN."""

    def filled(value: float) -> Arrays:
        return {name: _filled(array, min(value, 255.0) if name in pixels else value) for name, array in sample.items()}

    one_nan = {name: _with_nan(array) if name not in pixels else array for name, array in sample.items()}
    return [filled(0.0), filled(1.0), filled(_LARGE), one_nan]


def _filled(array: np.ndarray, value: float) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    return np.full_like(array, min(value, float(np.finfo(array.dtype).max)))


def _with_nan(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f" or not array.size:
        return array
    array = array.copy()
    array.reshape(-1)[array.size // 2] = np.nan
    return array


def difference(
    found: tuple[Compiled, Guard], reference: tuple[Compiled, Guard], inputs: list[Arrays], outputs: list[str],
    run: Run = lambda compiled, arrays: compiled.run(arrays), clock: Callable[[], float] = time.perf_counter,
) -> str:  # fmt: skip
    """Where the engine has NaN or infinity and the reference has not, or the other way round; "" if nowhere.

    `run` makes the predictions; if it raises PredictionCancelled, nothing more is compared. Inputs for which a guard
    calls the exact compilation are not compared either: their answer is not the engine's.
    """
    started = clock()
    for arrays in inputs:
        if clock() - started > _TIME_LIMIT:
            break
        if not found[1].admits(arrays):
            continue
        try:
            expected = _answer(*reference, arrays, run)
            if expected is None:
                continue
            own = run(found[0], arrays)
        except PredictionCancelled:  # it takes too long
            break
        except EngineError as error:
            return f"fails on degenerate inputs: {error}"
        if found[1].trusts(own):
            for name in outputs:
                if not _alike(np.asarray(expected[name]), np.asarray(own[name])):
                    return f"'{name}' differs in NaN or infinity from ONNX Runtime on {_described(arrays)}"
    return ""


def _answer(compiled: Compiled, guard: Guard, arrays: Arrays, run: Run) -> Mapping[str, Any] | None:
    """What the reference says; None if it cannot tell."""
    if not guard.admits(arrays):
        return None
    try:
        outputs = run(compiled, arrays)
    except PredictionCancelled:
        raise
    except EngineError:
        return None
    return outputs if guard.trusts(outputs) else None


def _alike(expected: np.ndarray, found: np.ndarray) -> bool:
    if expected.dtype.kind != "f" or expected.shape != found.shape:
        return expected.shape == found.shape
    bad = ~np.isfinite(expected)
    return np.array_equal(bad, ~np.isfinite(found)) and np.array_equal(expected[bad], found[bad], equal_nan=True)


def _described(arrays: Arrays) -> str:
    floats = [array for array in arrays.values() if array.dtype.kind == "f" and array.size]
    if any(np.isnan(array).any() for array in floats):
        return "an input with a NaN"
    return "inputs that are all " + ", ".join(sorted({f"{array.flat[0]:g}" for array in floats}) or ["equal"])
