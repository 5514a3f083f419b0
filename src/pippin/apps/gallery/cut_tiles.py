"""Tiles: cuts the photos into the tiles of the wall. The result is deterministic."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .photos import PHOTOS, Box, Photo

if TYPE_CHECKING:
    from PIL.Image import Image

MODEL = Path(__file__).parent / "colorizer.mlpackage"
"""Package of the colorizer, trained by examples/colorizer/train.py."""
SIDE = 256
"""Side of the model input in pixels."""
COUNT = 480
_SEED = 11
_SMALLEST = 0.34
"""Side of the smallest tile, as a fraction of the short side of its photo."""


@dataclass(frozen=True, slots=True)
class Tile:
    number: int
    photo: Photo
    box: Box
    mirrored: bool
    held_out: bool
    """Whether all of the tile was held out from training in colour."""

    def open(self) -> Image:
        """Return the tile in RGB at the resolution of the photo."""
        from PIL import ImageOps

        piece = self.photo.open().crop(self.box)
        return ImageOps.mirror(piece) if self.mirrored else piece


def tiles(count: int = COUNT) -> tuple[Tile, ...]:
    """Return the tiles of the wall, of various sizes. Consecutive tiles show different photos.

    Raises ConfigurationError if a package that bundles photos is not installed.
    """
    chance = random.Random(_SEED)
    found: list[Tile] = []
    order: list[Photo] = []
    for number in range(count):
        if not order:
            order = chance.sample(PHOTOS, len(PHOTOS))
            if found and order[-1] is found[-1].photo:
                order.reverse()
        photo = order.pop()
        held = number % 3 == 2
        box = _held_out_box(photo, chance) if held else _box(photo, chance)
        found.append(Tile(number, photo, box, chance.random() < 0.5, held or photo.held_out))
    return tuple(found)


def _box(photo: Photo, chance: random.Random) -> Box:
    width, height = photo.open().size
    short = min(width, height)
    side = round(short * chance.uniform(_SMALLEST, 1))
    # 40 % of these tiles show most of their photo.
    if chance.random() < 0.4:
        side = round(short * chance.uniform(0.85, 1))
    left, top = chance.randint(0, width - side), chance.randint(0, height - side)
    return left, top, left + side, top + side


def _held_out_box(photo: Photo, chance: random.Random) -> Box:
    left, top, right, bottom = chance.choice([box for box, held in photo.cells() if held])
    side = round(min(right - left, bottom - top) * chance.uniform(0.8, 1))
    x, y = chance.randint(left, right - side), chance.randint(top, bottom - side)
    return x, y, x + side, y + side


@lru_cache(maxsize=2 * COUNT)
def gray_file(tile: Tile) -> bytes:
    """Return the tile as a grayscale JPEG file."""
    return jpeg(tile.open().convert("L"))


def gray_input(file: bytes) -> Image:
    """Decode a file and resize it to the model input."""
    from PIL import Image

    return Image.open(io.BytesIO(file)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def jpeg(picture: Image) -> bytes:
    made = io.BytesIO()
    picture.save(made, "JPEG", quality=90, subsampling=0)
    return made.getvalue()
