"""Photos: freely licensed pictures bundled with other packages, and which parts were held out from training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from PIL.Image import Image

SHORT_SIDE = 512
"""Maximum short side in pixels. Larger photos are scaled down, so that objects appear at a similar scale."""
ROWS = 3
"""Cells along the short side of a photo. Every third cell, along diagonals, is held out."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True, slots=True)
class Photo:
    name: str
    package: str
    file: str
    title: str
    licence: str
    credit: str
    held_out: bool = False
    """Whether the whole photo was held out from training in colour."""

    def open(self) -> Image:
        """Return the photo in RGB. Raises ConfigurationError if the package that bundles it is not installed."""
        return _opened(self)

    def cells(self) -> Iterator[tuple[Box, bool]]:
        """Yield the cells of the photo, and whether each was held out from training in colour."""
        width, height = self.open().size
        rows, columns = (round(ROWS * side / min(width, height)) for side in (height, width))
        for row in range(rows):
            for column in range(columns):
                box = (
                    width * column // columns,
                    height * row // rows,
                    width * (column + 1) // columns,
                    height * (row + 1) // rows,
                )
                yield box, self.held_out or (row + column) % 3 == 1


_CC0 = "CC0 1.0"
_CC_BY = "CC BY 2.0"
_PUBLIC = "public domain"

PHOTOS = (
    Photo("astronaut", "skimage", "data/astronaut.png", "Eileen Collins", _PUBLIC, "NASA"),
    Photo("cat", "skimage", "data/chelsea.png", "Chelsea the cat", _CC0, "Stéfan van der Walt"),
    Photo("coffee", "skimage", "data/coffee.png", "A cup of coffee", _CC0, "Rachel Michetti, Pikolo Espresso Bar"),
    Photo("rocket", "skimage", "data/rocket.jpg", "DSCOVR on its Falcon 9", _PUBLIC, "SpaceX"),
    Photo("galaxies", "skimage", "data/hubble_deep_field.jpg", "Hubble eXtreme Deep Field", _PUBLIC, "NASA, ESA"),
    Photo("retina", "skimage", "data/retina.jpg", "A retina", _CC0, "Mikael Häggström"),
    Photo("tissue", "skimage", "data/ihc.png", "Stained tissue", "no known restrictions", "CMMI"),
    Photo("temple", "sklearn", "datasets/images/china.jpg", "Summer Palace, Beijing", _CC_BY, "Daniel Buechele"),
    Photo("flower", "sklearn", "datasets/images/flower.jpg", "A dahlia", _CC_BY, "vultilion on Flickr"),
    Photo(
        "admiral",
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "Grace Hopper",
        _PUBLIC,
        "United States Navy",
        held_out=True,
    ),
)


@cache
def _opened(photo: Photo) -> Image:
    from PIL import Image

    picture = Image.open(_path(photo)).convert("RGB")
    scale = SHORT_SIDE / min(picture.size)
    if scale < 1:
        picture = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS
        )
    return picture


def _path(photo: Photo) -> Path:
    # Locates the package without importing it.
    spec = find_spec(photo.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / photo.file
        if path.is_file():
            return path
    raise ConfigurationError(
        f"the photo '{photo.title}' comes with the package {photo.package}, which is not installed; "
        "run pip install 'pippin[demo]'"
    )
