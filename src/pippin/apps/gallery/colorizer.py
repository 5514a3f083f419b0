"""Colorizing: a grayscale file to a coloured one, by two designs of the same app: an actor, and tasks.

`Serial` is the actor that such an app begins with: decode, resize and predict one tile after the other, each to its
end. `Async` gives each tile a task; what is under way is bounded by the model's flow, and a cancelled task cancels its
prediction. Both belong to one event loop.
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
from .tiles import MODEL, Tile, gray_file, gray_input, jpeg

Mode = Literal["serial", "async"]
_RATE_SECONDS = 2.0


@dataclass(slots=True)
class Counts:
    """Of the tiles that were asked for since the last reset."""

    asked: int = 0
    done: int = 0
    cancelled: int = 0
    failed: int = 0
    under_way: int = 0


class Colorizer(Protocol):
    mode: Mode
    model: Model

    async def colorize(self, tile: Tile) -> bytes:
        """A JPEG file in colour, 256 x 256."""
        ...

    def close(self) -> None: ...


class Serial:
    """The prediction may use all cores, since it is alone. Whoever stops waiting does not stop the work."""

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
    """Each prediction keeps to one core, so that as many run side by side as there are cores."""

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
    """A colorizer, and the figures of what it does."""

    def __init__(self, colorizer: Colorizer) -> None:
        self.colorizer = colorizer
        self.counts = Counts()
        self._times: deque[float] = deque()
        self._cancelled_before = 0

    async def colorize(self, tile: Tile) -> bytes:
        counts = self.counts  # those of this tile's time, should they be reset meanwhile
        counts.asked += 1
        counts.under_way += 1
        try:
            made = await self.colorizer.colorize(tile)
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
        return made

    def reset(self) -> None:
        self.counts = Counts()
        self._times.clear()
        self._cancelled_before = self.colorizer.model.statistics().cancelled

    def cancelled_predictions(self) -> int:
        """Predictions that the model's flow cancelled, waiting or running; a tile may be given up before it has one."""
        return self.colorizer.model.statistics().cancelled - self._cancelled_before

    def in_flight(self) -> int:
        """Predictions that run now."""
        if self.colorizer.mode == "serial":
            return min(self.counts.under_way, 1)
        return self.colorizer.model.statistics().in_flight

    def per_second(self) -> float:
        """Tiles that were done in the last two seconds, divided by two."""
        since = time.monotonic() - _RATE_SECONDS
        while self._times and self._times[0] < since:
            self._times.popleft()
        return len(self._times) / _RATE_SECONDS
