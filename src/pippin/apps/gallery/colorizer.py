"""Colorizer: colours grayscale tiles, in two designs of the same app: a serial actor, and concurrent tasks.

`Serial` is the actor that such an app starts with: it decodes, resizes and predicts one tile after the other and never
stops early. `Async` runs one task per tile; the model's flow control bounds concurrency, and cancelling a task cancels
its prediction. Both are used from one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, Protocol

from ...configuration import Configuration
from ...devices.cpu import cores
from ...runtime.flow.flow_control import FlowControl
from ...runtime.model import Model, load
from .cut_tiles import MODEL, Tile, gray_file, gray_input, jpeg

Mode = Literal["serial", "async"]
_RATE_SECONDS = 2.0


@dataclass(slots=True)
class Counts:
    """Tile counts since the last reset."""

    asked: int = 0
    done: int = 0
    cancelled: int = 0
    failed: int = 0
    under_way: int = 0


class Colorizer(Protocol):
    mode: Mode
    model: Model

    async def colorize(self, tile: Tile) -> bytes:
        """Return the coloured tile as a JPEG file, 256 x 256."""
        ...

    def close(self) -> None: ...


class Serial:
    """One tile at a time; a prediction may use all cores. Cancelling the caller does not stop the work."""

    mode: Mode = "serial"

    def __init__(self) -> None:
        self.model = load(MODEL)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="actor")

    async def colorize(self, tile: Tile) -> bytes:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, self._work, tile))

    def _work(self, tile: Tile) -> bytes:
        return jpeg(self.model.predict({"photo": gray_input(gray_file(tile))})["colorized"])

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self.model.close()


class Async:
    """Concurrent tiles. Each prediction uses one thread, so one runs per core."""

    mode: Mode = "async"

    def __init__(self, max_in_flight: int | None = None) -> None:
        self.max_in_flight = max_in_flight or cores()
        self.model = load(MODEL, Configuration(threads=1), flow=FlowControl(max_in_flight=self.max_in_flight))
        self._threads = ThreadPoolExecutor(cores(), thread_name_prefix="pictures")

    async def colorize(self, tile: Tile) -> bytes:
        loop = asyncio.get_running_loop()
        photo = await loop.run_in_executor(self._threads, lambda: gray_input(gray_file(tile)))
        outputs = await self.model.predict_async({"photo": photo})
        return await loop.run_in_executor(self._threads, jpeg, outputs["colorized"])

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.model.close()


class Counted:
    """Wraps a colorizer and counts its work."""

    def __init__(self, colorizer: Colorizer) -> None:
        self.colorizer = colorizer
        self.counts = Counts()
        self._times: deque[float] = deque()
        self._cancelled_before = 0

    async def colorize(self, tile: Tile) -> bytes:
        counts = self.counts  # keep the object: a reset replaces it while the tile is under way
        counts.asked += 1
        counts.under_way += 1
        try:
            file = await self.colorizer.colorize(tile)
        except asyncio.CancelledError:
            counts.cancelled += 1
            raise
        except BaseException:
            counts.failed += 1
            raise
        finally:
            counts.under_way -= 1
        counts.done += 1
        self._times.append(time.monotonic())
        return file

    def reset(self) -> None:
        self.counts = Counts()
        self._times.clear()
        self._cancelled_before = self.colorizer.model.statistics().cancelled

    def cancelled_predictions(self) -> int:
        """Predictions cancelled while queued or running. A tile may be cancelled before its prediction is requested."""
        return self.colorizer.model.statistics().cancelled - self._cancelled_before

    def in_flight(self) -> int:
        """Predictions running now."""
        if self.colorizer.mode == "serial":
            return min(self.counts.under_way, 1)
        return self.colorizer.model.statistics().in_flight

    def per_second(self) -> float:
        """Tiles per second over the last two seconds."""
        since = time.monotonic() - _RATE_SECONDS
        while self._times and self._times[0] < since:
            self._times.popleft()
        return len(self._times) / _RATE_SECONDS
