"""Loading bar: shows the stage of a first load on standard error, once it takes over a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from typing import Any

DELAY = 1.0
"""Seconds before the bar appears: a load from the cache, or of a small model, shows nothing."""


class _Bar:
    def __init__(self, stage: str) -> None:
        self._at: tuple[str, float | None] = stage, None
        self._shown: tuple[Any, Any] | None = None
        self._over = False
        self._lock = Lock()

    def show(self) -> None:
        """Called by the timer, in its thread."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        with self._lock:
            if self._over:
                return
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
            bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._shown = bar, bar.add_task("", total=None)
            self._update()
            bar.start()

    def report(self, progress: Any) -> None:
        with self._lock:
            self._at = progress.stage, progress.share
            self._update()

    def _update(self) -> None:
        if self._shown is not None:
            bar, task = self._shown
            stage, share = self._at
            bar.update(task, description=stage, total=None if share is None else 1.0, completed=share or 0.0)

    def close(self) -> None:
        with self._lock:
            self._over = True
            if self._shown is not None:
                self._shown[0].stop()


@contextmanager
def loading_bar(stage: str = "read") -> Iterator[Callable[[Any], None] | None]:
    """Yield the `progress` of a load; None if standard error is not a terminal, where nothing is shown."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(stage)
    timer = Timer(DELAY, bar.show)
    timer.daemon = True
    timer.start()
    try:
        yield bar.report
    finally:
        timer.cancel()
        bar.close()
