"""Resampling: lowers layers that resize images or crop and resize boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor

# Sampling mode of a network to MIL's name.
_MODES = {
    "STRICT_ALIGN_ENDPOINTS_MODE": "STRICT_ALIGN_CORNERS",
    "ALIGN_ENDPOINTS_MODE": "ALIGN_CORNERS",
    "UPSAMPLE_MODE": "DEFAULT",
    "ROI_ALIGN_MODE": "OFFSET_CORNERS",
}


@layer("upsample")
def upsample(n: Network, p: Any, x: Tensor) -> Any:
    factors = list(p.fractionalScalingFactor) or [float(f) for f in p.scalingFactor] or [1.0, 1.0]
    scales: dict[str, Any] = {
        "scale_factor_height": np.float32(factors[0]),
        "scale_factor_width": np.float32(factors[1]),
    }
    if p.InterpolationMode.Name(p.mode) == "NN":
        return n.as_images(x, lambda image: n.mil("upsample_nearest_neighbor", x=image, **scales))
    how = p.LinearUpsampleMode.Name(p.linearUpsampleMode)
    scales |= {"align_corners": how == "ALIGN_CORNERS_TRUE", "half_pixel_centers": how == "ALIGN_CORNERS_FALSE"}
    return n.as_images(x, lambda image: n.mil("upsample_bilinear", x=image, **scales))


@layer("resizeBilinear")
def resize_bilinear(n: Network, p: Any, x: Tensor) -> Any:
    height, width = (list(p.targetSize) or [1, 1])[:2]
    arguments = {"target_size_height": int(height), "target_size_width": int(width), "sampling_mode": _mode(p)}
    return n.as_images(x, lambda image: n.mil("resize_bilinear", x=image, **arguments))


@layer("cropResize")
def crop_resize(n: Network, p: Any, x: Tensor, roi: Any) -> Any:
    """Crop boxes [N, 1, 4 or 5, 1, 1] from [B, C, H, W]; legacy images have an extra leading axis."""
    height, width = (list(p.targetSize) or [1, 1])[:2]
    x = n.tensor(x)
    legacy = x.rank == 5
    image = n.Squeeze(x, [0]) if legacy else x
    return n.mil(
        "crop_resize",
        x=image,
        roi=n.tensor(roi),
        target_height=int(height),
        target_width=int(width),
        normalized_coordinates=bool(p.normalizedCoordinates),
        spatial_scale=np.float32(p.spatialScale or 1.0),
        box_coordinate_mode=p.boxIndicesMode.Coordinates.Name(p.boxIndicesMode.boxMode),
        sampling_mode=_mode(p),
    )


def _mode(p: Any) -> str:
    name = p.mode.Method.Name(p.mode.samplingMethod)
    if name not in _MODES:
        raise UnsupportedOperationError(f"unknown sampling mode '{name}'")
    return _MODES[name]
