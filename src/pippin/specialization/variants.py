"""VariantSelector: one prediction alone uses all cores, many at once use few each; which it is, is seen from what runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock, Thread

import numpy as np

from ..engines import Compiled
from ..errors import EngineError
from ..support.cancellation import Stop

# So many predictions must come while no other runs until the model counts as alone again: between two of a crowd,
# there is a moment with one.
_CALM = 3


class Variant:
    """A form for `streams` predictions at once; compiled by `load` when it is first of use, in a thread of its own.

    The artifact of the model serves all forms: its weights are mapped, and lie in memory once. What an engine packs
    anew for its kernels, it packs for each form.
    """

    def __init__(self, streams: int, load: Callable[[], Compiled], compiled: Compiled | None = None) -> None:
        self.streams = streams
        self.compiled = compiled
        self._load: Callable[[], Compiled] | None = load if compiled is None else None
        self._lock = Lock()

    def begin(self) -> None:
        """Load it beside what runs, once."""
        with self._lock:
            load, self._load = self._load, None
        if load is not None:
            # Not a daemon: the end of the interpreter would meet the engine in the middle of it.
            Thread(target=self._loaded, args=(load,), name="pippin variant").start()

    def _loaded(self, load: Callable[[], Compiled]) -> None:
        try:
            self.compiled = load()
        except (EngineError, OSError):
            return  # its entry was removed from the cache meanwhile: the form for one goes on to serve


class VariantSelector:
    """Compiled in several forms. A prediction takes the one for as many as are under way when it begins."""

    def __init__(self, alone: Compiled, variants: Sequence[Variant]) -> None:
        self._alone = alone
        self._variants = tuple(sorted(variants, key=lambda variant: variant.streams))
        self._inside: list[None] = []  # one for each prediction: append and pop are atomic, and cheaper than a lock
        self._calm = _CALM  # a count that is lost between two threads changes nothing

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        under_way = self._inside
        under_way.append(None)
        try:
            inside = len(under_way)
            if inside > 1:
                self._calm = 0
            elif self._calm < _CALM:
                self._calm += 1
            chosen = self._alone if self._calm >= _CALM else self._for(max(inside, 2))
            return chosen.run(inputs, stop, into)
        finally:
            under_way.pop()

    def _for(self, count: int) -> Compiled:
        fitting = next((variant for variant in self._variants if variant.streams >= count), self._variants[-1])
        if fitting.compiled is None:
            fitting.begin()
        return fitting.compiled or self._alone


class Serialized:
    """Predictions that are computed one after the other, each with all cores, while their inputs and outputs are
    prepared side by side."""

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
