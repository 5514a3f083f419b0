"""Samples: generates pictures and sounds for trying a model and for the synthetic camera."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_BALLS = ((0.9, 0.0, 0.17, "#f2b84b"), (0.6, 2.1, 0.11, "#5fb0e8"), (1.3, 4.0, 0.08, "#e2675b"))
_PITCH = 140.0  # Hz, fundamental frequency of the voice
_PARTIALS = 12


def frame(moment: float, size: tuple[int, int] = (320, 240)) -> Image:
    """Frame of the synthetic camera at `moment` seconds: balls moving in front of a slowly rotating sky."""
    import PIL.Image
    import PIL.ImageDraw

    wide, high = size
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    sky = 0.5 + 0.5 * np.sin((x / wide * math.cos(moment / 3) + y / high * math.sin(moment / 3)) * 3 + moment / 2)
    ground = np.stack([38 + 30 * sky, 52 + 50 * sky, 70 + 66 * sky], -1)
    made = PIL.Image.fromarray(ground.astype(np.uint8))
    draw = PIL.ImageDraw.Draw(made)
    for speed, phase, radius, color in _BALLS:
        cx = wide * (0.5 + 0.36 * math.sin(speed * moment + phase))
        cy = high * (0.5 + 0.3 * math.sin(1.7 * speed * moment + 2 * phase))
        r = radius * high
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), color)
        draw.ellipse((cx - r * 0.55, cy - r * 0.6, cx - r * 0.1, cy - r * 0.15), "#fff7e6")
    return made


def hum(seconds: float = 2.0, rate: int = 16000) -> np.ndarray:
    """A vowel-like sound between two silences, samples from -1 to 1."""
    t = np.arange(int(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * _PITCH * k * t) / k for k in range(1, _PARTIALS))
    loud = np.clip(np.minimum(t - seconds * 0.25, seconds * 0.75 - t) * 20, 0, 1)
    made: np.ndarray = (0.35 * voice / np.abs(voice).max() * loud).astype(np.float32)
    return made
