"""Stream: frames that come whether a prediction is done or not, and the flow control that drops the ones too many."""

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
    "latest": "latest: all but the newest",
    "drop_oldest": "the oldest that waits",
    "drop_newest": "the one that came last",
}
_RECENT = 1.0  # seconds over which the rate is counted


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame with what was predicted from it."""

    number: int
    image: Image
    outputs: Mapping[str, Any]


class Stream:
    """Predictions of one stream of frames, with a flow control of its own. For one event loop."""

    def __init__(self, model: Model, features: Callable[[Image], Mapping[str, Any]]) -> None:
        """`features` makes of a frame what the model takes; it is called in a thread."""
        self.model = model
        self.frames = 0
        self.failure: Exception | None = None
        self.latest: Seen | None = None
        """What was predicted from the newest frame that was not dropped."""
        self._features = features
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[float] = []

    @property
    def statistics(self) -> Statistics:
        return self.model.statistics()

    @property
    def rate(self) -> float:
        """Predictions that were completed in the last second."""
        since = time.monotonic() - _RECENT
        self._done = [moment for moment in self._done if moment > since]
        return len(self._done) / _RECENT

    def push(self, image: Image) -> None:
        """A frame came. It is predicted, or dropped; nobody waits."""
        self.frames += 1
        task = asyncio.create_task(self._predict(self.frames, image))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks)

    def close(self) -> None:
        """Cancel what waits, and give the model back."""
        for task in list(self._tasks):
            task.cancel()
        self.model.close()

    async def _predict(self, number: int, image: Image) -> None:
        try:
            features = await asyncio.to_thread(self._features, image)
            outputs = await self.model.predict_async(features)
        except (PredictionDropped, PredictionCancelled):
            return
        except Exception as error:  # whoever looks at the stream tells it
            self.failure = error
            return
        self._done.append(time.monotonic())
        if self.latest is None or number > self.latest.number:
            self.latest = Seen(number, image, outputs)


async def open_stream(
    opened: Opened, policy: Policy, max_in_flight: int, features: Callable[[Image], Mapping[str, Any]]
) -> Stream:
    """A stream with a copy of the model that has its own flow control; from the cache, where it lies by now."""
    flow = FlowControl(max_in_flight=max_in_flight, policy=policy)
    model = await asyncio.to_thread(load, opened.path, opened.configuration, flow=flow)
    return Stream(model, features)


async def camera(frames_per_second: Callable[[], float]) -> AsyncIterator[Image]:
    """The made-up camera: it keeps its pace, and leaves out what it comes too late for."""
    started = due = time.monotonic()
    while True:
        yield await asyncio.to_thread(samples.frame, time.monotonic() - started)
        now = time.monotonic()
        due = max(due + 1 / frames_per_second(), now)
        await asyncio.sleep(due - now)
