"""Headless comparison: times the same scroll through the gallery for each design."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from ...devices.cpu import cores
from .colorizer import Async, Colorizer, Counted, Serial
from .cut_tiles import Tile, gray_file, tiles

SCREEN = 24
"""Tiles per screen."""
SCREENS = 20
DWELL = 0.1
"""Seconds that each screen but the last stays in view."""
_SCREEN_RUNS = 3


@dataclass(frozen=True, slots=True)
class Run:
    """Result of one design; times in seconds."""

    name: str
    screen: float
    """Time to colour one screen without scrolling; median of three."""
    scroll: float
    """Time from the first screen coming into view until the last one is coloured."""
    waited: float
    """Part of `scroll` after scrolling ended."""
    coloured: int
    cancelled: int
    per_second: float
    """Coloured tiles per second of `scroll`."""
    busy: float
    """Share of the cores in use during `scroll`, 0 to 1."""


def compare(
    screens: int = SCREENS,
    dwell: float = DWELL,
    max_in_flight: int | None = None,
    progress: Callable[[str], object] = lambda doing: None,
) -> list[Run]:
    """Compare serial, async, and async with cancellation. `screens` is 1 to 20; `dwell` is in seconds."""
    wall = tiles(screens * SCREEN)
    for tile in wall:
        gray_file(tile)  # cache the grayscale file, as if it were on disk
    rows: tuple[tuple[str, Callable[[], Colorizer], bool], ...] = (
        ("serial", Serial, False),
        ("async", lambda: Async(max_in_flight), False),
        ("async, cancelling", lambda: Async(max_in_flight), True),
    )
    runs = []
    for name, make, cancelling in rows:
        progress(name)
        with closing(make()) as colorizer:
            runs.append(asyncio.run(_run(name, colorizer, wall, dwell, cancelling)))
    return runs


async def _run(name: str, colorizer: Colorizer, wall: Sequence[Tile], dwell: float, cancelling: bool) -> Run:
    screens = [wall[first : first + SCREEN] for first in range(0, len(wall), SCREEN)]
    await colorizer.colorize(wall[0])
    one_screen = median([await _one_screen(colorizer, screens[0]) for _ in range(_SCREEN_RUNS)])
    counted = Counted(colorizer)
    clock, used = time.perf_counter(), _cpu_seconds()
    tasks = await _scroll(counted, screens, dwell, cancelling)
    scrolled = time.perf_counter()
    await asyncio.gather(*tasks[-1])
    ended, used = time.perf_counter(), _cpu_seconds() - used
    await asyncio.gather(*(task for screen in tasks for task in screen), return_exceptions=True)
    counts, took = counted.counts, ended - clock
    busy = used / (took * cores())
    return Run(
        name, one_screen, took, ended - scrolled, counts.done, counts.cancelled, counts.done / took, min(busy, 1.0)
    )


async def _one_screen(colorizer: Colorizer, screen: Sequence[Tile]) -> float:
    started = time.perf_counter()
    await asyncio.gather(*map(colorizer.colorize, screen))
    return time.perf_counter() - started


async def _scroll(
    counted: Counted, screens: Sequence[Sequence[Tile]], dwell: float, cancelling: bool
) -> list[list[asyncio.Task[bytes]]]:
    """Request the tiles of each screen in turn, `dwell` seconds apart; optionally cancel those of the previous one."""
    tasks: list[list[asyncio.Task[bytes]]] = []
    for screen in screens:
        if tasks:
            await asyncio.sleep(dwell)
            if cancelling:
                for task in tasks[-1]:
                    task.cancel()
        tasks.append([asyncio.create_task(counted.colorize(tile)) for tile in screen])
    return tasks


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system
