"""Live camera: predicts frames of a synthetic or the browser's camera as they arrive and counts the dropped ones."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import TYPE_CHECKING, Any

from nicegui import ui

from ....runtime.flow.flow_control import Policy
from ..widgets import busy, card, data_url, error_box, hint, picture, tile, took
from .draw_panels import draw
from .frame_stream import POLICIES, Seen, Stream, camera, open_stream
from .input_controls import PictureControl
from .output_panels import Panel, Picture, panels_of
from .tab_session import Desk

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..open_models import Opened

_SHOWN = 0.12  # seconds between page updates
_BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
_WATCH = """
(async () => {
  try {
    if (!navigator.mediaDevices) throw new Error('the browser does not allow camera access on this page');
    const stream = await navigator.mediaDevices.getUserMedia({video: {width: 320, height: 240}});
    const video = Object.assign(document.createElement('video'), {srcObject: stream, muted: true});
    await video.play();
    const canvas = Object.assign(document.createElement('canvas'), {width: 320, height: 240});
    window.pippinCamera = {stream, timer: setInterval(() => {
      canvas.getContext('2d').drawImage(video, 0, 0, 320, 240);
      emitEvent('EVENT', {frame: canvas.toDataURL('image/jpeg', 0.8)});
    }, 1000 / RATE)};
  } catch (error) { emitEvent('EVENT', {failure: String(error.message || error)}); }
})()
"""
_UNWATCH = """
if (window.pippinCamera) {
  clearInterval(window.pippinCamera.timer);
  window.pippinCamera.stream.getTracks().forEach(track => track.stop());
  delete window.pippinCamera;
}
"""


class Live:
    """Live card of one browser page."""

    def __init__(self, opened: Opened, desk: Desk, control: PictureControl, others: Any) -> None:
        """`others()` returns the inputs other than the frame and raises FeatureError if one is missing."""
        self._opened, self._desk, self._control, self._others = opened, desk, control, others
        self._stream: Stream | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._shown = 0
        self._event = f"pippin_frame_{id(self)}"
        with card("Live", "Frames arrive at a fixed rate; frames that arrive too fast are dropped"):
            with ui.element("div").classes("line"):
                self._source = ui.toggle(["Synthetic camera", "Camera"], value="Synthetic camera")
                self._source.props("no-caps unelevated dense")
                self._rate = ui.number("Frames per second", value=30, min=1, max=240)
                self._rate.props("dense outlined").classes("amount")
                self._policy = ui.select(dict(POLICIES), value="latest", label="Drop").props("dense outlined")
                self._room = ui.number("In flight", value=1, min=1, max=16, format="%d").props("dense outlined")
                ui.element("div").classes("grow")
                self._button = ui.button("Start", icon="play_arrow", on_click=self._toggle).props("unelevated no-caps")
            self._message = ui.element("div")
            with ui.element("div").classes("live") as self._view:
                with ui.element("div"):
                    self._frame = picture(_BLANK, "Newest frame")
                    hint("frame")
                with ui.element("div"):
                    self._result = picture(_BLANK, "Newest result")
                    self._panels = ui.element("div")
            self._view.set_visibility(False)
            with ui.element("div").classes("tiles small"):
                names = ("Frames", "Predicted", "Dropped", "Per second", "Latency")
                self._figures = {name: tile(name, "0" if name != "Latency" else "–") for name in names}
        self._timer = ui.timer(_SHOWN, self._look, active=False)
        ui.on(self._event, self._came)
        ui.context.client.on_delete(self.stop)

    def stop(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
            self._feeding = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    async def _toggle(self) -> None:
        self._message.clear()
        if self._stream is not None:
            self._timer.deactivate()
            ui.run_javascript(_UNWATCH)
            self._count(self._stream)
            self.stop()
            self._button.set_text("Start")
            self._button.props("icon=play_arrow")
            return
        try:
            async with busy(self._button):
                others = self._others()
                policy: Policy = self._policy.value
                name = self._control.feature.name
                self._stream = await open_stream(
                    self._opened,
                    policy,
                    int(self._room.value or 1),
                    lambda image: {**others, name: self._control.value_of(image)},
                )
        except Exception as error:
            self._fail(error)
            return
        self._shown = 0
        self._button.set_text("Stop")
        self._button.props("icon=stop")
        self._view.set_visibility(True)
        self._timer.activate()
        if self._source.value == "Camera":
            rate = max(1.0, min(float(self._rate.value or 1), 30.0))
            ui.run_javascript(_WATCH.replace("EVENT", self._event).replace("RATE", str(rate)))
        else:
            self._feeding = asyncio.create_task(self._feed(self._stream))

    async def _feed(self, stream: Stream) -> None:
        async for image in camera(lambda: max(1.0, min(float(self._rate.value or 1), 240.0))):
            stream.push(image)

    async def _came(self, event: Any) -> None:
        """Handle a frame of the browser's camera, or its failure."""
        if self._stream is None:
            return
        if failure := event.args.get("failure"):
            self.stop()
            self._timer.deactivate()
            self._button.set_text("Start")
            self._button.props("icon=play_arrow")
            with self._message:
                hint(f"Camera not available: {failure}")
            return
        self._stream.push(await asyncio.to_thread(_decoded, event.args["frame"]))

    async def _look(self) -> None:
        """Show the newest result if it has changed."""
        stream = self._stream
        if stream is None:
            return
        if stream.failure is not None:
            await self._toggle()
            self._fail(stream.failure)
            return
        self._count(stream)
        seen = stream.latest
        if seen is None or seen.number == self._shown:
            return
        self._shown = seen.number
        frame, panels = await asyncio.to_thread(self._drawn, seen)
        self._frame.props["src"] = frame
        self._frame.update()
        first = next((panel for panel in panels if isinstance(panel, Picture)), None)
        self._result.set_visibility(first is not None)
        if first is not None:
            self._result.props["src"] = await asyncio.to_thread(data_url, first.image, "JPEG")
            self._result.update()
        self._panels.clear()
        with self._panels:
            draw([panel for panel in panels if panel is not first], "JPEG")

    def _drawn(self, seen: Seen) -> tuple[str, list[Panel]]:
        source = self._control.seen(seen.image)
        desk = self._desk
        return data_url(seen.image, "JPEG"), panels_of(desk.kind, desk.function, seen.outputs, source, desk.options)

    def _count(self, stream: Stream) -> None:
        counted = stream.statistics
        self._figures["Frames"].set_text(f"{stream.frames:,}")
        self._figures["Predicted"].set_text(f"{counted.completed:,}")
        self._figures["Dropped"].set_text(f"{counted.dropped:,}")
        self._figures["Per second"].set_text(f"{stream.rate:.0f}")
        if counted.latency_p50 is not None:
            self._figures["Latency"].set_text(took(counted.latency_p50))

    def _fail(self, error: BaseException) -> None:
        self._message.clear()
        with self._message:
            error_box(error)


def _decoded(address: str) -> Image:
    import PIL.Image

    return PIL.Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB")
