"""Fork: detects models used after a fork. A child inherits an engine's memory but not its threads, and would hang."""

from __future__ import annotations

import os

from ..errors import PredictionError

generation = 0
"""Number of forks between the process that imported this module and this one."""


def _forked() -> None:
    global generation
    generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def refused() -> PredictionError:
    return PredictionError(
        "the model was loaded before this process was forked, and its engine's threads exist only in the parent: load"
        " the model in the child, or start processes with 'spawn' or 'forkserver' (multiprocessing.set_start_method)"
    )
