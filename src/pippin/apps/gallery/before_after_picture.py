"""Before/after picture: part of the wall as one image, gray above a slanted line and coloured below it."""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigurationError
from ...runtime.model import load
from ...support.atomic_write import atomic_write
from .cut_tiles import MODEL, gray_file, gray_input, tiles

COLUMNS, ROWS = 8, 5
_GAP = 12
_EDGE = 160
_BACKGROUND = (17, 18, 23)


def save_picture(path: Path) -> None:
    """Write the picture; the suffix chooses PNG or JPEG. Raises ConfigurationError if it cannot be written."""
    from PIL import Image, ImageDraw

    size = [count * (_EDGE + _GAP) + _GAP for count in (COLUMNS, ROWS)]
    gray, coloured = (Image.new("RGB", (size[0], size[1]), _BACKGROUND) for _ in range(2))
    with load(MODEL) as model:
        inputs = [gray_input(gray_file(tile)) for tile in tiles(COLUMNS * ROWS)]
        for number, photo in enumerate(inputs):
            place = [_GAP + at * (_EDGE + _GAP) for at in (number % COLUMNS, number // COLUMNS)]
            for wall, picture in ((gray, photo), (coloured, model.predict({"photo": photo})["colorized"])):
                wall.paste(picture.convert("RGB").resize((_EDGE, _EDGE)), (place[0], place[1]))

    below = Image.new("L", (size[0], size[1]), 0)
    ImageDraw.Draw(below).polygon(
        [(0, size[1] * 0.36), (size[0], size[1] * 0.02), (size[0], size[1]), (0, size[1])], 255
    )
    gray.paste(coloured, mask=below)
    try:
        with atomic_write(path) as temporary:
            gray.save(temporary)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be written: {error}") from None
