"""Sound: reads a sound file as samples with their rate, and changes the rate to the one that a model declares."""

from __future__ import annotations

import importlib
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from ..errors import FeatureValueError

# Modules of the standard library; Python 3.13 has only `wave`. The rest is read by the package soundfile, if installed.
_MODULES = {".wav": "wave", ".aif": "aifc", ".aiff": "aifc", ".au": "sunau", ".snd": "sunau"}
_OTHERS = (".flac", ".ogg", ".oga", ".opus", ".mp3", ".caf", ".m4a", ".aac", ".w64", ".rf64")
_LOWEST, _HIGHEST = 100, 768_000  # Hz
_ZERO_CROSSINGS = 32  # of the filter, on each side
_BETA = 9.0  # of its Kaiser window: about 90 dB
_EDGE = 0.94  # of the lower Nyquist frequency, where the filter begins to fall
_PHASES = 4096  # steps between two samples at most; the usual pairs of rates need fewer, and are exact
_BLOCK = 1 << 14  # samples computed at a time
_KEY = re.compile(r"sampl\w*[ _.-]?rate", re.IGNORECASE)
_RATE = re.compile(r"(\d+(?:[.,]\d+)?)\s*(k?)Hz", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples from -1 to 1, float32, channels averaged; `rate` in Hz."""

    samples: np.ndarray
    rate: int
    channels: int = 1
    """Of the file, before they were averaged."""


def is_sound(file_name: str) -> bool:
    """Whether the suffix is that of a sound, readable here or not."""
    return Path(file_name).suffix.lower() in (*_MODULES, *_OTHERS)


def read_sound(file: BinaryIO, file_name: str, name: str) -> Sound:
    """Read an open sound file. Raises FeatureValueError, with the name of the feature, if nothing here reads it."""
    suffix = Path(file_name).suffix.lower()
    module = _module(_MODULES.get(suffix))
    refused = f"nothing installed reads {suffix} files"
    if module is not None:
        try:
            return _checked(*_pcm(module, file))
        except (module.Error, EOFError, ValueError) as error:
            refused = str(error) or "the file ends too early"
    try:
        package: Any = importlib.import_module("soundfile")
    except (ImportError, OSError):  # OSError: the package without its library
        hint = "convert it to a .wav of 16-bit samples, or run pip install soundfile"
        raise FeatureValueError(f"'{name}': {file_name} cannot be read: {refused}; {hint}") from None
    try:
        file.seek(0)
        samples, rate = package.read(file, dtype="float32", always_2d=True)
        return _checked(samples, rate)
    except (RuntimeError, ValueError, TypeError) as error:
        raise FeatureValueError(f"'{name}': {file_name} cannot be read: {error}") from None


def declared_rate(metadata: Mapping[str, str], texts: Iterable[str]) -> int | None:
    """The sample rate in Hz that a model states: in a metadata value such as `sample_rate`, or as the only rate in its
    texts, such as "16 kHz"; None if it states none or several."""
    stated = {_number(value) for key, value in metadata.items() if _KEY.search(key)}
    found = stated - {None} or {
        round(float(number.replace(",", ".")) * (1000 if kilo else 1))
        for text in texts
        for number, kilo in _RATE.findall(text)
    }
    rates = {rate for rate in found if rate is not None and _LOWEST <= rate <= _HIGHEST}
    return rates.pop() if len(rates) == 1 else None


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """One channel at another rate, by a windowed sinc: what lies above the lower Nyquist frequency is removed."""
    if rate == wanted or not samples.size:
        return samples
    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    cutoff = _EDGE * min(1.0, up / down)
    half = math.ceil(_ZERO_CROSSINGS / cutoff)
    phases = min(up, _PHASES)
    weights = _filter(phases, half, cutoff)
    padded = np.pad(np.asarray(samples, np.float32), (half, half + 1))
    found = np.empty(-(-samples.size * up // down), np.float32)
    offsets = np.arange(2 * half) + 1
    for start in range(0, found.size, _BLOCK):
        place = np.arange(start, min(start + _BLOCK, found.size), dtype=np.int64) * down
        taps = padded[(place // up)[:, None] + offsets]
        found[start : start + _BLOCK] = np.einsum("ij,ij->i", taps, weights[place % up * phases // up])
    return found


def _filter(phases: int, half: int, cutoff: float) -> np.ndarray:
    """Weights [phase, tap]: tap t of phase p is `t - half + 1 - p / phases` samples away."""
    away = np.arange(2 * half) - half + 1 - np.arange(phases)[:, None] / phases
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (away / half) ** 2, 0, 1))) / np.i0(_BETA)
    weights = np.sinc(cutoff * away) * window
    scaled: np.ndarray = (weights / weights.sum(1, keepdims=True)).astype(np.float32)  # silence and offsets stay exact
    return scaled


def _module(name: str | None) -> ModuleType | None:
    if name is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of aifc and sunau
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def _pcm(module: ModuleType, file: BinaryIO) -> tuple[np.ndarray, int]:
    """Uncompressed samples [frame, channel] of 8, 16, 24 and 32 bits, and the rate."""
    with module.open(file, "rb") as opened:
        width, channels, kind = opened.getsampwidth(), opened.getnchannels(), opened.getcomptype()
        rate, data = int(opened.getframerate()), opened.readframes(opened.getnframes())
    if kind not in ("NONE", b"NONE") or width not in (1, 2, 3, 4) or channels < 1:
        raise ValueError(f"{8 * width}-bit samples in {channels} channels, compression {kind}")
    order = "<" if module.__name__ == "wave" else ">"
    data = data[: len(data) // (width * channels) * width * channels]
    numbers: np.ndarray
    if width == 3:  # as the upper bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, slice(1, 4) if order == "<" else slice(0, 3)] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        numbers, width = wide.reshape(-1).view(f"{order}i4").astype(np.float64), 4
    elif width == 1 and order == "<":
        numbers = np.frombuffer(data, np.uint8) - 128.0  # the 8-bit samples of a .wav are unsigned
    else:
        numbers = np.frombuffer(data, f"{order}i{width}").astype(np.float64)
    return numbers.reshape(-1, channels) / float(1 << (8 * width - 1)), rate


def _checked(samples: np.ndarray, rate: int) -> Sound:
    if not _LOWEST <= rate <= _HIGHEST:
        raise ValueError(f"a rate of {rate} Hz; it must be from {_LOWEST} to {_HIGHEST}")
    return Sound(samples.mean(1).astype(np.float32), rate, samples.shape[1])


def _number(text: str) -> int | None:
    found = _RATE.search(text)
    if found is not None:
        return round(float(found[1].replace(",", ".")) * (1000 if found[2] else 1))
    try:
        return round(float(text))
    except (ValueError, OverflowError):
        return None
