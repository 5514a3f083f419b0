"""Prediction options: settings of one prediction. Names follow Core ML's `MLPredictionOptions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..features.image_input import Resize, check_resize

if TYPE_CHECKING:
    from ..format.description import FunctionDescription


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """Options of one prediction."""

    output_backings: Mapping[str, Any] = field(default_factory=dict)
    """The caller's arrays for multiarray outputs, in the output's shape and dtype; the result contains these arrays.
    The engine writes into them directly if they are in its compute dtype and C order; otherwise its output is copied
    into them. Their contents are undefined until the prediction completes or fails."""

    resize: Resize | None = None
    """What to do with an image of a size that the model does not accept: a way of `pippin.ImageInput`, for files,
    Pillow images and arrays, or "error". None: files and Pillow images are stretched ("scale_fill"), an array is an
    error. An ImageInput among the features keeps its own way."""

    def __post_init__(self) -> None:
        if self.resize is not None:
            check_resize(self.resize)

    def with_resize(self, features: Mapping[str, Any], function: FunctionDescription) -> Mapping[str, Any]:
        """The features, with `resize` for each image that does not have its own."""
        from ..features.images import with_resize

        return features if self.resize is None else with_resize(features, function, self.resize)
