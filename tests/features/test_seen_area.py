"""Which part of a picture a model sees: found again in what `encode_image` gives it."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from pippin.features.image_input import ImageInput
from pippin.features.images import encode_image
from pippin.features.seen_area import seen_area
from pippin.format.description import ColorSpace, Image

SIZES = [((400, 200), (100, 100)), ((200, 400), (100, 100)), ((300, 301), (64, 128)), ((90, 50), (90, 50)), ((50, 90), (200, 100))]  # fmt: skip


@pytest.mark.parametrize("resize", ["scale_fill", "scale_fit", "center_crop"])
@pytest.mark.parametrize(("picture", "model"), SIZES)
def test_a_place_in_the_model_is_found_in_the_picture(picture, model, resize):
    """Red grows to the right and green downwards, so a pixel of the input tells where it comes from."""
    down, across = np.mgrid[: picture[1], : picture[0]]
    ramp = np.stack([across / picture[0] * 255, down / picture[1] * 255, np.full_like(across, 200)], -1)
    kind = Image(*model, ColorSpace.RGB)
    source = ImageInput(PIL.Image.fromarray(ramp.round().astype(np.uint8)), resize)
    tensor = encode_image("x", source, kind, np.dtype(np.float32))[0]
    left, top, right, bottom = seen_area(picture, model, resize)
    for x, y in ((0.5, 0.5), (0.3, 0.4), (0.6, 0.7)):
        column, row = int(x * model[0]), int(y * model[1])
        if tensor[2, row, column] < 190:  # a border
            continue
        place = left + (column + 0.5) / model[0] * (right - left), top + (row + 0.5) / model[1] * (bottom - top)
        seen = tensor[:2, row, column] / 255 * picture
        np.testing.assert_allclose(seen, place, atol=0.012 * max(picture) + 1)
