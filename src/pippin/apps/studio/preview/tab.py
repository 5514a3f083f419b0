"""Preview tab: a control for each input on the left, the prediction on the right."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nicegui import ui

from ....format.description import FeatureDescription
from ..open_models import Opened
from ..text import Heading, TextLabel
from ..widgets import busy, card, error_box, hint, loaded_model, took
from .csv_rows import Table
from .draw_panels import draw
from .input_controls import Control, PictureControl, SoundControl, control_for
from .kinds import control_of
from .live_camera import Live
from .tab_session import Desk, Made

if TYPE_CHECKING:
    from PIL.Image import Image

# Inputs of non-maximum suppression; the model has defaults for them.
_LEFT_OUT = ("iouThreshold", "confidenceThreshold")
_THRESHOLDS = ("objectDetector", "poseEstimation")


async def build(opened: Opened) -> None:
    place = ui.element("div").classes("stack")
    model = await loaded_model(opened, place)
    if model is not None:
        with place:
            Preview(opened, Desk(opened, model))


class Preview:
    """Preview tab of one browser page."""

    def __init__(self, opened: Opened, desk: Desk) -> None:
        self._desk = desk
        self._made: list[tuple[str, Made, Image | None]] = []
        """The last results: the file of the picture they were made of, if there are several, and the picture."""
        self._busy = False
        self._again = False
        self._controls: dict[str, Control] = {}
        with ui.element("div").classes("two"):
            with ui.element("div").classes("stack"):
                with card("Input", opened.kind.title):
                    self._inputs()
                if desk.has_memory:
                    self._memory()
            with ui.element("div").classes("stack"), card("Output") as self._output:
                self._options()
                self._status = hint("Enter an input and press Predict.")
                self._results = ui.element("div").classes("results").props('data-results=""')
        frame = next((c for c in self._controls.values() if isinstance(c, PictureControl)), None)
        if frame is not None and not desk.function.states:
            Live(opened, desk, frame, lambda: self._features(without=frame))
        if opened.kind.name == "tabular":
            Table(desk, self._controls)

    def _inputs(self) -> None:
        features = self._desk.function.inputs
        small = [f for f in features if control_of(f) in ("number", "text", "sequence")]
        for feature in features:
            if feature not in small:
                self._controls[feature.name] = self._control(feature)
        with ui.element("div").classes("fields"):
            for feature in small:
                self._controls[feature.name] = self._control(feature)
        with ui.element("div").classes("line"):
            self._button = ui.button(
                "Step" if self._desk.function.states else "Predict", icon="play_arrow", on_click=self._predict
            ).props("unelevated no-caps")

    def _control(self, feature: FeatureDescription) -> Control:
        memory = feature.name in self._desk.carried.values()
        if feature.name in _LEFT_OUT:
            feature = replace(feature, optional=True)
        return control_for(feature, self._desk.kind, self._given, zeros=memory)

    def _memory(self) -> None:
        """Card for states and carried features."""
        desk = self._desk
        with card("Memory", "State kept between predictions"):
            for output, name in desk.carried.items():
                hint(f"{output} is passed to {name} in the next prediction")
            with ui.element("div").classes("line"):
                if desk.carried:
                    ui.switch("Carry over", value=True, on_change=lambda event: setattr(desk, "carries", event.value))
                self._steps = TextLabel("0 steps").classes("steps")
                ui.element("div").classes("grow")
                ui.button("Reset", icon="restart_alt", on_click=self._reset).props("flat dense no-caps")
            self._states = ui.element("div").classes("results")

    def _options(self) -> None:
        """Drawing options; moving a slider redraws the last results."""
        options = self._desk.options
        with ui.element("div").classes("line options"):
            if self._desk.kind.name in _THRESHOLDS:
                self._slider("Confidence", "threshold", options.threshold)
            if self._desk.kind.name == "imageSegmenter":
                self._slider("Opacity", "opacity", options.opacity)

    def _slider(self, title: str, name: str, value: float) -> None:
        async def moved(event: Any) -> None:
            self._desk.options = self._desk.options.with_value(name, float(event.value))
            if self._made:
                redrawn = [await asyncio.to_thread(self._desk.redrawn, made, image) for _, made, image in self._made]
                self._made = [(name, made, image) for (name, _, image), made in zip(self._made, redrawn, strict=True)]
                self._show()

        TextLabel(title).classes("dim")
        slider = ui.slider(min=0, max=1, step=0.05, value=value, on_change=moved).props("label").classes("slider")
        slider.props(f'aria-label="{title}"')

    @property
    def _picture(self) -> Image | None:
        return next((c.picture for c in self._controls.values() if c.picture is not None), None)

    def _features(self, without: Control | None = None, afresh: bool = False) -> dict[str, Any]:
        """Values of the controls, without carried-over inputs unless `afresh`. Raises FeatureError."""
        found = {}
        for name, control in self._controls.items():
            if control is not without and (afresh or name not in self._desk.handed):
                value = control.value()
                if value is not None:
                    found[name] = value
        return found

    async def _given(self) -> None:
        """Predict with the new input, now or after the prediction under way."""
        if self._busy:
            self._again = True
            return
        try:
            self._features()
        except Exception:  # another input is still missing; the Predict button reports it
            return
        await self._predict()

    async def _predict(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            async with busy(self._button):
                self._made = await self._made_now()
                self._show()
        except Exception as error:
            self._made = []
            self._status.set_text("")
            self._results.clear()
            with self._results:
                error_box(error)
        finally:
            self._busy = False
        if self._again:
            self._again = False
            await self._predict()

    async def _made_now(self) -> list[tuple[str, Made, Image | None]]:
        sound = next((c for c in self._controls.values() if isinstance(c, SoundControl)), None)
        several = sound is not None and len(sound.windows) > 1
        features = await asyncio.to_thread(lambda: self._features(afresh=several))
        if sound is not None and several:
            windows = [features | {sound.feature.name: window} for window in sound.windows]
            return [("", await self._desk.listen(windows), None)]
        control = next((c for c in self._controls.values() if isinstance(c, PictureControl)), None)
        if control is None or len(control.images) < 2:
            return [("", await self._desk.predict(features, self._picture), self._picture)]
        found: list[tuple[str, Made, Image | None]] = []
        for name, image in control.images:
            value = await asyncio.to_thread(control.value_of, image)
            seen = control.seen(image)
            found.append((name, await self._desk.predict(features | {control.feature.name: value}, seen), seen))
        return found

    def _show(self) -> None:
        count = sum(made.predictions for _, made, _ in self._made)
        seconds = sum(made.seconds * made.predictions for _, made, _ in self._made) / count
        several = f"{count} predictions, each in " if count > 1 else "Predicted in "
        self._status.set_text(f"{several}{took(seconds)} on {self._desk.model.engine}")
        self._results.clear()
        with self._results:
            for name, made, _ in self._made:
                if name:
                    Heading(3, name).classes("file-name")
                draw(made.panels)
        if self._desk.has_memory:
            self._remember()

    def _remember(self) -> None:
        steps = self._desk.steps
        self._steps.set_text(f"{steps} step{'s' * (steps != 1)}")
        self._states.clear()
        with self._states:
            draw(self._desk.states())

    def _reset(self) -> None:
        self._desk.reset()
        self._remember()
        self._results.clear()
        self._made = []
        self._status.set_text("Memory cleared.")
