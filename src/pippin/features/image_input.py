"""Image input: an image to resize before prediction. Separate from `images` to keep `import pippin` light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import ConfigurationError

Resize = Literal["scale_fill", "scale_fit", "center_crop"]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image that is resized to the model's input size; without this, a wrong size is an error.

    `source` is a Pillow image, a file path, or an array (height, width[, 3 or 4]). `resize` follows Vision's
    crop-and-scale options: "scale_fill" ignores the aspect ratio, "scale_fit" pads with black, "center_crop" crops to
    the center.
    """

    source: Any
    resize: Resize = "scale_fill"

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            raise ConfigurationError(f"resize must be one of {', '.join(get_args(Resize))}, got {self.resize!r}")
