"""Image input: an image that a caller lets Pippin resize. Apart from `images`, so that `import pippin` stays light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import ConfigurationError

Resize = Literal["scale_fill", "scale_fit", "center_crop"]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image that may be resized to what the model takes; without this, a wrong size is an error.

    `source` is a Pillow image, a file path, or an array (height, width[, 3 or 4]). `resize` has the meaning of
    Vision's crop-and-scale options: "scale_fill" ignores the aspect ratio, "scale_fit" pads with black,
    "center_crop" keeps the middle.
    """

    source: Any
    resize: Resize = "scale_fill"

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            raise ConfigurationError(f"resize is {self.resize!r}; it must be one of {', '.join(get_args(Resize))}")
