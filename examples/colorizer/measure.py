"""Measure: compares a colorizer's error with that of plain gray and of the best single tint.

The crops are the cells that training never saw in colour, and one whole photo. The tint is the best one for these same
crops, which could not be known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

import pippin
from pippin.apps.gallery.photos import PHOTOS

SIDE = 256
Guess = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Score:
    """Errors over all pixels of some crops: mean distance in the a-b plane of CIELAB, and PSNR of RGB in dB."""

    ab: float
    psnr: float


def held_out(unseen_photos: bool = False) -> list[Image.Image]:
    """Held-out cells in colour, 256 x 256: of photos seen in part, or of photos never seen."""
    return [
        photo.open().resize((SIDE, SIDE), Image.Resampling.BICUBIC, box)
        for photo in PHOTOS
        if photo.held_out == unseen_photos
        for box, held in photo.cells()
        if held
    ]


def score(crops: Sequence[Image.Image], guess: Guess) -> Score:
    distances, squares = [], []
    for crop in crops:
        found = np.asarray(guess(crop.convert("L")))
        true = np.asarray(crop)
        distances.append(np.linalg.norm((rgb2lab(found) - rgb2lab(true))[..., 1:], axis=-1).mean())
        squares.append(((found.astype(float) - true) ** 2).mean())
    return Score(float(np.mean(distances)), float(10 * np.log10(255**2 / np.mean(squares))))


def by_model(model: pippin.Model) -> Guess:
    return lambda gray: model.predict({"photo": gray})["colorized"]


def as_gray(gray: Image.Image) -> Image.Image:
    return gray.convert("RGB")


def tinted(crops: Sequence[Image.Image]) -> Guess:
    """Single chroma for all pixels: the mean of the crops, or their median if closer in the a-b plane."""
    chroma = np.concatenate([np.asarray(crop.convert("YCbCr"))[..., 1:].reshape(-1, 2) for crop in crops])
    guesses = [_tint(np.mean(chroma, 0)), _tint(np.median(chroma, 0))]
    return min(guesses, key=lambda guess: score(crops, guess).ab)


def _tint(chroma: np.ndarray) -> Guess:
    cb, cr = (round(float(c)) for c in chroma)

    def guess(gray: Image.Image) -> Image.Image:
        planes = [gray, Image.new("L", gray.size, cb), Image.new("L", gray.size, cr)]
        return Image.merge("YCbCr", planes).convert("RGB")

    return guess


def table(path: Path) -> str:
    """Scores of a model package as a Markdown table."""
    lines = ["| held out | guess | a-b error | PSNR |", "|---|---|---|---|"]
    with pippin.load(path) as model:
        for unseen, title in ((False, "cells of nine photos"), (True, "cells of the tenth photo")):
            crops = held_out(unseen)
            guesses = {"gray": as_gray, "best single tint": tinted(crops), "colorizer": by_model(model)}
            for name, guess in guesses.items():
                found = score(crops, guess)
                lines.append(f"| {len(crops)} {title} | {name} | {found.ab:.1f} | {found.psnr:.1f} dB |")
    return "\n".join(lines)
