"""Sound input: the samples of a sound file at the model's rate, in windows of the length that the model takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import FeatureValueError
from ...features.sound import Sound, is_sound, read_sound, resampled
from ...format.description import FeatureDescription, MultiArray, ShapeRange
from ...support.regular_files import open_regular


@dataclass(frozen=True, slots=True)
class SoundOptions:
    """How sounds become inputs."""

    rate: int | None = None
    """The sample rate that the model expects, in Hz; None if it is not known."""
    overlap: float = 0.0
    """The share of a window that the next one repeats."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a sound, from `start` to `end` seconds, in the shape of the input."""

    samples: np.ndarray
    start: float
    end: float

    @property
    def span(self) -> str:
        return f"{self.start:.2f}-{self.end:.2f} s"


def takes_sound(feature: FeatureDescription, file: str) -> bool:
    """Whether a file is a sound for an input of samples."""
    return is_sound(file) and isinstance(feature.type, MultiArray) and feature.type.dtype.is_float


def sound_windows(
    path: Path, feature: FeatureDescription, options: SoundOptions, notice: Callable[[str], object]
) -> list[Window]:
    """Read a sound, change its rate to the model's, and cut it. What is done to it is said by `notice`.

    Raises FeatureValueError if the file cannot be read.
    """
    name = feature.name
    try:
        with open_regular(path) as file:
            sound = read_sound(file, path.name, name)
    except OSError as error:
        raise FeatureValueError(f"'{name}': {path} cannot be read: {error.strerror or error}") from None
    if sound.channels > 1:
        notice(f"{name}: averaged {sound.channels} channels to one")
    sound = _at_rate(sound, name, options.rate, notice)
    kind = feature.type
    assert isinstance(kind, MultiArray)
    windows = _cut(sound, kind, options.overlap)
    left = windows[-1].samples.size - round((windows[-1].end - windows[-1].start) * sound.rate)
    if len(windows) > 1:
        notice(f"{name}: {len(windows)} windows of {windows[0].end - windows[0].start:.2f} s")
    if left > 0:
        notice(f"{name}: {'the last window' if len(windows) > 1 else path.name} ends with {left} samples of silence")
    return windows


def _at_rate(sound: Sound, name: str, rate: int | None, notice: Callable[[str], object]) -> Sound:
    if rate is None:
        notice(f"{name}: {_hertz(sound.rate)}, as it is: the model states no sample rate; --sample-rate resamples")
        return sound
    if rate == sound.rate:
        return sound
    notice(f"{name}: resampled {_hertz(sound.rate)} to {_hertz(rate)}")
    return Sound(resampled(sound.samples, sound.rate, rate), rate)


def _cut(sound: Sound, kind: MultiArray, overlap: float) -> list[Window]:
    """The windows; a single one if the input takes the whole sound, or is not shaped like one."""
    samples, shape, length = sound.samples, kind.shape, sound.samples.size
    seconds = length / sound.rate
    if shape is None:
        return [Window(samples, 0.0, seconds)]
    axis = _time_axis(kind, shape)
    whole = (*shape[:axis], length, *shape[axis + 1 :])
    if math.prod(whole) == length and kind.allows(whole):
        return [Window(samples.reshape(whole), 0.0, seconds)]
    if math.prod(shape) == length:
        return [Window(samples.reshape(shape), 0.0, seconds)]
    size = _window_size(kind, shape, axis, length)
    if math.prod((*shape[:axis], *shape[axis + 1 :])) != 1 or not size:
        return [Window(samples, 0.0, seconds)]  # the check of its shape says what the input takes
    step = max(1, round(size * (1 - overlap)))
    starts = range(0, max(length - size, 0) + step, step) if length > size else range(1)
    found = []
    for start in starts:
        part = samples[start : start + size]
        full = np.zeros(size, np.float32)
        full[: part.size] = part
        piece = full.reshape((*shape[:axis], size, *shape[axis + 1 :]))
        found.append(Window(piece, start / sound.rate, (start + part.size) / sound.rate))
    return found


def _time_axis(kind: MultiArray, shape: tuple[int, ...]) -> int:
    """The only flexible axis, else the longest one."""
    flexible = [axis for axis, size in enumerate(kind.sizes or ()) if size is None]
    return flexible[0] if len(flexible) == 1 else max(range(len(shape)), key=lambda axis: shape[axis], default=0)


def _window_size(kind: MultiArray, shape: tuple[int, ...], axis: int, length: int) -> int:
    if not shape:
        return 0
    if isinstance(kind.flexibility, ShapeRange) and len(kind.flexibility.ranges) == len(shape):
        allowed = kind.flexibility.ranges[axis]
        return allowed.lower if length < allowed.lower else allowed.upper or shape[axis]
    return shape[axis]


def _hertz(rate: int) -> str:
    return f"{rate / 1000:.6g} kHz" if rate >= 1000 else f"{rate} Hz"
