"""Concurrency variants: switches between compiled variants of a model by the number of predictions in flight.

A single prediction uses all cores; concurrent predictions use a few cores each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock, Thread

import numpy as np

from ..engines import Compiled
from ..errors import EngineError
from ..support.cancellation import Stop

# Predictions that must start with no other in flight before the load counts as sequential again: under concurrent
# load, the number in flight drops to one now and then.
_SEQUENTIAL = 3


class Variant:
    """A variant for `streams` concurrent predictions. `load` compiles it in a background thread on first use.

    All variants share the model's artifact: its weights are memory-mapped, so they are in memory once. Weights that an
    engine repacks for its kernels are repacked for each variant.
    """

    def __init__(self, streams: int, load: Callable[[], Compiled], compiled: Compiled | None = None) -> None:
        self.streams = streams
        self.compiled = compiled
        self._load: Callable[[], Compiled] | None = load if compiled is None else None
        self._lock = Lock()

    def start_loading(self) -> None:
        """Load in a background thread, once."""
        with self._lock:
            load, self._load = self._load, None
        if load is not None:
            # Not a daemon thread: the interpreter must not shut down while the engine is compiling.
            Thread(target=self._load_now, args=(load,), name="pippin variant").start()

    def _load_now(self, load: Callable[[], Compiled]) -> None:
        try:
            self.compiled = load()
        except (EngineError, OSError):
            return  # the cache entry was removed: keep using the single-prediction variant


class VariantSelector:
    """Runs each prediction on the variant that fits the number in flight when it starts."""

    def __init__(self, single: Compiled, variants: Sequence[Variant]) -> None:
        self._single = single
        self._variants = tuple(sorted(variants, key=lambda variant: variant.streams))
        self._in_flight: list[None] = []  # one item per prediction: append and pop are atomic and cheaper than a lock
        self._sequential = _SEQUENTIAL  # unlocked: a lost update is harmless

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        in_flight = self._in_flight
        in_flight.append(None)
        try:
            count = len(in_flight)
            if count > 1:
                self._sequential = 0
            elif self._sequential < _SEQUENTIAL:
                self._sequential += 1
            chosen = self._single if self._sequential >= _SEQUENTIAL else self._variant_for(max(count, 2))
            return chosen.run(inputs, stop, into)
        finally:
            in_flight.pop()

    def _variant_for(self, count: int) -> Compiled:
        variant = next((variant for variant in self._variants if variant.streams >= count), self._variants[-1])
        if variant.compiled is None:
            variant.start_loading()
        return variant.compiled or self._single


class Serialized:
    """Runs one prediction at a time, with all cores, while callers prepare inputs and outputs concurrently."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._lock = Lock()

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        with self._lock:
            if stop is not None:
                stop.check()
            return self._compiled.run(inputs, stop, into)
