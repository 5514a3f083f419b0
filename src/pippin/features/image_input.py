"""Image input: an image and how to resize it. Separate from `images` to keep `import pippin` light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..errors import ConfigurationError

Resize = Literal["scale_fill", "scale_fit", "center_crop", "error"]


@dataclass(frozen=True, slots=True)
class ImageInput:
    """An image, and what to do if the model does not accept its size.

    `source` is a Pillow image, a file path, the bytes of a file, or an array (height, width[, 3 or 4]). `resize`
    follows Vision's crop-and-scale options: "scale_fill" ignores the aspect ratio, "scale_fit" pads with black,
    "center_crop" crops to the center; "error" raises FeatureShapeError. Without this class, files and Pillow images are
    resized with "scale_fill", and an array of a wrong size is an error.
    """

    source: Any
    resize: Resize = "scale_fill"

    def __post_init__(self) -> None:
        check_resize(self.resize)


def check_resize(resize: object) -> None:
    """Raise ConfigurationError for an unknown way to resize."""
    if resize not in get_args(Resize):
        raise ConfigurationError(f"resize must be one of {', '.join(get_args(Resize))}, got {resize!r}")
