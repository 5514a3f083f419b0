"""Fork: a forked process has the memory of an engine and none of its threads: predictions there would wait for ever."""

from __future__ import annotations

import os

from ..errors import PredictionError

generation = 0
"""How often this process was forked since the module was imported in an ancestor."""


def _forked() -> None:
    global generation
    generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def refused() -> PredictionError:
    return PredictionError(
        "the model was loaded before this process was forked, and its engine's threads are only in the parent: load it"
        " in the child, or start processes by 'spawn' or 'forkserver' (multiprocessing.set_start_method)"
    )
