"""Frame stream: feeds frames to a model at a fixed rate; flow control drops frames that arrive too fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....errors import PredictionCancelled, PredictionDropped
from ....runtime.flow.flow_control import FlowControl, Policy, Statistics
from ....runtime.model import Model, load
from . import samples

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..open_models import Opened

POLICIES: Mapping[Policy, str] = {
    "latest": "latest: all but the newest waiting frame",
    "drop_oldest": "the oldest waiting frame",
    "drop_newest": "the new frame",
}
_RECENT = 1.0  # seconds over which the rate is averaged


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame and its prediction."""

    number: int
    image: Image
    outputs: Mapping[str, Any]


class Stream:
    """Predictions on one stream of frames. Not thread-safe: use it from one event loop."""

    def __init__(self, model: Model, features: Callable[[Image], Mapping[str, Any]]) -> None:
        """`features` converts a frame to the model's inputs; it is called in a thread."""
        self.model = model
        self.frames = 0
        self.failure: Exception | None = None
        self.latest: Seen | None = None
        """Prediction of the newest frame that was not dropped."""
        self._features = features
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[float] = []

    @property
    def statistics(self) -> Statistics:
        return self.model.statistics()

    @property
    def rate(self) -> float:
        """Predictions completed in the last second."""
        since = time.monotonic() - _RECENT
        self._done = [moment for moment in self._done if moment > since]
        return len(self._done) / _RECENT

    def push(self, image: Image) -> None:
        """Submit a frame without waiting; it is predicted or dropped."""
        self.frames += 1
        task = asyncio.create_task(self._predict(self.frames, image))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for the submitted frames."""
        await asyncio.gather(*self._tasks)

    def close(self) -> None:
        """Cancel the submitted frames and close the model."""
        for task in list(self._tasks):
            task.cancel()
        self.model.close()

    async def _predict(self, number: int, image: Image) -> None:
        try:
            features = await asyncio.to_thread(self._features, image)
            outputs = await self.model.predict_async(features)
        except (PredictionDropped, PredictionCancelled):
            return
        except Exception as error:  # shown at the page's next update
            self.failure = error
            return
        self._done.append(time.monotonic())
        if self.latest is None or number > self.latest.number:
            self.latest = Seen(number, image, outputs)


async def open_stream(
    opened: Opened, policy: Policy, max_in_flight: int, features: Callable[[Image], Mapping[str, Any]]
) -> Stream:
    """Load a copy of the model with its own flow control, normally from the cache, and open a stream on it."""
    flow = FlowControl(max_in_flight=max_in_flight, policy=policy)
    model = await asyncio.to_thread(load, opened.path, opened.configuration, flow=flow)
    return Stream(model, features)


async def camera(frames_per_second: Callable[[], float]) -> AsyncIterator[Image]:
    """Synthetic camera: yields frames at the given rate and skips frames it is late for."""
    started = due = time.monotonic()
    while True:
        yield await asyncio.to_thread(samples.frame, time.monotonic() - started)
        now = time.monotonic()
        due = max(due + 1 / frames_per_second(), now)
        await asyncio.sleep(due - now)
