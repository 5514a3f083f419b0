"""Input controls: one page control per model input, chosen by type: picture, sound, array, number, text."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui

from ....errors import FeatureError, MissingFeatureError
from ....features.files import filled, fitted
from ....features.image_input import Resize
from ....features.sound import is_sound
from ....format.description import FeatureDescription, Int64, MultiArray
from ....support.visible_text import visible
from ..file_drop import file_drop
from ..text import TextLabel
from ..widgets import curve, data_url, error_box, hint, picture
from . import samples
from .kinds import Kind, control_of
from .output_panels import curve_of
from .parse_values import (
    Range,
    array_in,
    dictionary_value,
    hertz,
    image_value,
    number_value,
    opened_image,
    seen_by_model,
    sequence_value,
    sound_in,
    windows_of,
    written_array,
)

if TYPE_CHECKING:
    from PIL.Image import Image

Given = Callable[[], Awaitable[object]]
RESIZES = {"scale_fill": "Stretch", "scale_fit": "Fit", "center_crop": "Crop the middle"}
RANGES: tuple[Range, ...] = ("0 to 1", "-1 to 1", "0 to 255", "ImageNet")
_PICTURES = "image/*"
_ARRAYS = ".npy,.npz,.json,.csv,.wav"
_SOUNDS = "audio/*,.wav,.npy"
_THUMBNAIL, _SMALL = 420, 96  # pixels of one picture, and of each of several


class Control:
    """Control for one input. `given` is called when a new value should trigger a prediction."""

    def __init__(self, feature: FeatureDescription, given: Given) -> None:
        self.feature = feature
        self.given = given

    def value(self) -> Any:
        """Value for the prediction; None if an optional input is empty. Raises FeatureError."""
        raise MissingFeatureError(f"'{self.feature.name}' is missing")

    @property
    def picture(self) -> Image | None:
        """Picture to draw results into, if any."""
        return None

    def missing(self) -> None:
        """Report an empty input. Raises MissingFeatureError unless the input is optional."""
        if not self.feature.optional:
            raise MissingFeatureError(f"'{self.feature.name}' is missing ({self.feature.type})")


class PictureControl(Control):
    """Pictures from files, or the built-in sample. The first is the value; of several, each is predicted."""

    def __init__(self, feature: FeatureDescription, given: Given) -> None:
        super().__init__(feature, given)
        self.images: list[tuple[str, Image]] = []
        """The pictures by the name of their files."""
        with ui.element("div").classes("control"):
            _title(feature)
            file_drop("Drop pictures here, or click", _PICTURES, self._dropped, multiple=True)
            self._place = ui.element("div").classes("given")
            with ui.element("div").classes("line"):
                ui.button("Sample picture", icon="auto_awesome", on_click=self._sample).props("flat dense no-caps")
                ui.element("div").classes("grow")
                self._resize = ui.select(RESIZES, value="scale_fill", label="Resize", on_change=self._changed)
                self._resize.props("dense outlined options-dense").classes("small-select")
                self._scale: Any = None
                if isinstance(feature.type, MultiArray):
                    self._scale = ui.select(list(RANGES), value=RANGES[0], label="Values", on_change=self._changed)
                    self._scale.props("dense outlined options-dense").classes("small-select")

    def value(self) -> Any:
        return self.value_of(self.images[0][1]) if self.images else self.missing()

    def value_of(self, image: Image) -> Any:
        """Input value for another picture, with this control's resize and value settings."""
        resize: Resize = self._resize.value
        return image_value(image, self.feature, resize, self._scale.value if self._scale is not None else RANGES[0])

    @property
    def picture(self) -> Image | None:
        return self.seen(self.images[0][1]) if self.images else None

    def seen(self, image: Image) -> Image:
        return seen_by_model(image, self.feature, self._resize.value)

    async def _dropped(self, files: Sequence[Any]) -> None:
        found, errors = [], []
        for file in files:
            try:
                data = await file.read()
                found.append((file.name, await asyncio.to_thread(opened_image, data, self.feature.name, file.name)))
            except FeatureError as error:
                errors.append(error)
        await self._take(found, errors)

    async def _sample(self) -> None:
        await self._take([("sample", await asyncio.to_thread(samples.frame, 1.0, (480, 360)))])

    async def _take(self, images: list[tuple[str, Image]], errors: Sequence[FeatureError] = ()) -> None:
        self.images = images
        size = _THUMBNAIL if len(images) == 1 else _SMALL
        drawn = [await asyncio.to_thread(thumbnail, image, size) for _, image in images]
        self._place.clear()
        with self._place:
            for error in errors:
                error_box(error)
            with ui.element("div").classes("line"):
                for (name, image), source in zip(images, drawn, strict=True):
                    with ui.element("div"):
                        picture(source, f"Input: {name}")
                        hint(f"{name}, {image.width} × {image.height}")
        if images:
            await self.given()

    async def _changed(self) -> None:
        if self.images:
            await self.given()


class ArrayControl(Control):
    """Array that is generated, read from a file, or typed."""

    def __init__(self, feature: FeatureDescription, given: Given, start: str, rate: int | None) -> None:
        super().__init__(feature, given)
        self._rate = rate
        self._file: np.ndarray | None = None
        choices = ["Random", "Zeros", "Ones", "File", "Typed"]
        with ui.element("div").classes("control"):
            _title(feature)
            with ui.element("div").classes("line"):
                self._choice = ui.toggle(choices, value=start, on_change=self._show).props("no-caps unelevated dense")
                self._seed = ui.number("Seed", value=0, format="%d").props("dense outlined").classes("seed")
            self._drop = ui.element("div")
            with self._drop:
                file_drop("Drop a .npy, .npz, .json, .csv or .wav file here, or click", _ARRAYS, self._dropped)
            self._typed = ui.textarea(placeholder="[[1, 2], [3, 4]]  or  1 2 3").props("dense outlined autogrow")
            self._typed.props["aria-label"] = f"Numbers of {visible(feature.name)}"
            self._place = ui.element("div").classes("given")
        self._show()

    def value(self) -> Any:
        match self._choice.value:
            case "File":
                return self.missing() if self._file is None else self._file
            case "Typed":
                text = (self._typed.value or "").strip()
                return written_array(text, self.feature) if text else self.missing()
        assert isinstance(self.feature.type, MultiArray)
        return filled(self._choice.value.lower(), self.feature.name, self.feature.type, int(self._seed.value or 0))

    def _show(self) -> None:
        self._seed.set_visibility(self._choice.value == "Random")
        self._drop.set_visibility(self._choice.value == "File")
        self._typed.set_visibility(self._choice.value == "Typed")
        self._place.set_visibility(self._choice.value == "File")

    async def _dropped(self, files: Sequence[Any]) -> None:
        self._place.clear()
        (file,) = files
        with self._place:
            try:
                array, note = await asyncio.to_thread(self._read, await file.read(), file.name)
            except FeatureError as error:
                self._file = None
                error_box(error)
                return
            self._file = array
            hint(f"{file.name}: {array.dtype}, {' × '.join(map(str, array.shape))}{note}")
        await self.given()

    def _read(self, data: bytes, name: str) -> tuple[np.ndarray, str]:
        if not is_sound(name) or not isinstance(self.feature.type, MultiArray):
            return array_in(data, name, self.feature), ""
        sound, _, note = sound_in(data, name, self.feature, self._rate)
        return fitted(sound, self.feature.type), f"; {note}"


class SoundControl(Control):
    """Sound from a file or the built-in sample; a sound longer than the input is split into windows. `rate` is the
    model's, if known: sounds of another rate are resampled."""

    def __init__(self, feature: FeatureDescription, given: Given, rate: int | None) -> None:
        super().__init__(feature, given)
        self._rate = rate
        self._windows: list[np.ndarray] = []
        with ui.element("div").classes("control"):
            _title(feature)
            file_drop("Drop a sound here, or click", _SOUNDS, self._dropped)
            self._place = ui.element("div").classes("given")
            ui.button("Sample sound", icon="auto_awesome", on_click=self._sample).props("flat dense no-caps")

    def value(self) -> Any:
        return self._windows[0] if self._windows else self.missing()

    @property
    def windows(self) -> list[np.ndarray]:
        return self._windows

    async def _dropped(self, files: Sequence[Any]) -> None:
        (file,) = files
        try:
            data = await file.read()
            sound, rate, note = await asyncio.to_thread(sound_in, data, file.name, self.feature, self._rate)
            await self._take(sound, file.name, rate, note)
        except FeatureError as error:
            self._windows = []
            self._place.clear()
            with self._place:
                error_box(error)

    async def _sample(self) -> None:
        rate = self._rate or 16000
        await self._take(samples.hum(rate=rate), "hum", rate, hertz(rate))

    async def _take(self, sound: np.ndarray, name: str, rate: int | None, note: str) -> None:
        self._windows = windows_of(sound, self.feature)
        self._place.clear()
        with self._place:
            ui.html(curve(curve_of(name, sound).values, -1, 1), sanitize=False)
            length = f" ({sound.size / rate:.2f} s)" if rate else ""
            hint(f"{name}: {sound.size:,} samples{length} in {len(self._windows)} windows; {note}")
        await self.given()


class NumberControl(Control):
    def __init__(self, feature: FeatureDescription, given: Given) -> None:
        super().__init__(feature, given)
        whole = isinstance(feature.type, Int64)
        with ui.element("div").classes("field"):
            start = None if feature.optional else 0
            self._input = ui.number(visible(feature.name), value=start, step=1 if whole else None).props(
                "dense outlined"
            )
            self._input.on("keydown.enter", given)
            if feature.doc:
                self._input.tooltip(feature.doc)

    def value(self) -> Any:
        number = number_value(self._input.value, self.feature)
        return self.missing() if number is None else number

    def fill(self, text: str) -> None:
        self._input.set_value(number_value(text, self.feature))


class TextControl(Control):
    def __init__(self, feature: FeatureDescription, given: Given, long: bool) -> None:
        super().__init__(feature, given)
        with ui.element("div").classes("field wide" if long else "field"):
            if long:
                self._input: Any = ui.textarea(visible(feature.name), placeholder="Type text").props(
                    "outlined autogrow"
                )
            else:
                self._input = ui.input(visible(feature.name)).props("dense outlined").on("keydown.enter", given)
            if feature.doc:
                hint(feature.doc)

    def value(self) -> Any:
        if self._input.value:
            return str(self._input.value)
        return None if self.feature.optional else ""

    def fill(self, text: str) -> None:
        self._input.set_value(text)


class DictionaryControl(Control):
    """Dictionary typed as JSON; with string keys, also the word counts of a text."""

    def __init__(self, feature: FeatureDescription, given: Given) -> None:
        super().__init__(feature, given)
        words = getattr(feature.type, "key", "") == "string"

        choices = ["Word counts", "Keys and numbers"] if words else ["Keys and numbers"]
        with ui.element("div").classes("control"):
            _title(feature)
            self._choice = ui.toggle(choices, value=choices[0]).props("no-caps unelevated dense")
            self._input = ui.textarea(placeholder='text, or {"key": 1.5}').props("outlined autogrow")
            self._input.props["aria-label"] = visible(feature.name)

    def value(self) -> Any:
        text = (self._input.value or "").strip()
        if not text:
            return self.missing()
        return dictionary_value(text, self.feature, self._choice.value == "Word counts")


class SequenceControl(Control):
    def __init__(self, feature: FeatureDescription, given: Given) -> None:
        super().__init__(feature, given)
        with ui.element("div").classes("field wide"):
            self._input = ui.input(visible(feature.name), placeholder="comma-separated").props("dense outlined")
            self._input.on("keydown.enter", given)

    def value(self) -> Any:
        text = (self._input.value or "").strip()
        return sequence_value(text, self.feature) if text or not self.feature.optional else None


def control_for(feature: FeatureDescription, kind: Kind, given: Given, zeros: bool) -> Control:
    """Build the control for an input. `zeros`: an array starts as zeros instead of random numbers."""
    match control_of(feature):
        case "image" | "pixels":
            return PictureControl(feature, given)
        case "sound":
            return SoundControl(feature, given, kind.sample_rate)
        case "number":
            return NumberControl(feature, given)
        case "text":
            return TextControl(feature, given, kind.name == "text")
        case "dictionary":
            return DictionaryControl(feature, given)
        case "sequence":
            return SequenceControl(feature, given)
    return ArrayControl(feature, given, "Zeros" if zeros else "Random", kind.sample_rate)


def thumbnail(image: Image, size: int) -> str:
    """A small copy of a picture, as a data URL."""
    small = image.copy()
    small.thumbnail((size, size))
    return data_url(small)


def _title(feature: FeatureDescription) -> None:
    with ui.element("div").classes("control-head"):
        TextLabel(feature.name).classes("code feature-name")
        TextLabel(str(feature.type) if len(str(feature.type)) < 60 else f"{str(feature.type)[:60]}…").classes("dim")
    if feature.doc:
        hint(feature.doc)
