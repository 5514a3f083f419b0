"""Pooling: lowers mean, max and L2 pooling over a window or the whole image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor
from .convolution import image_padding, volume_padding

_POOLS = {"MAX": "max_pool", "AVERAGE": "avg_pool", "L2": "l2_pool"}
_GLOBAL = {"MAX": "ReduceMax", "AVERAGE": "ReduceMean", "L2": "ReduceL2"}


@layer("pooling")
def pooling(n: Network, p: Any, x: Tensor) -> Any:
    kind = p.PoolingType.Name(p.type)
    if p.globalPooling:
        return n.emit(_GLOBAL[kind], x, np.array([-2, -1], np.int64), keepdims=1)
    arguments: dict[str, Any] = {
        "kernel_sizes": np.array(p.kernelSize or [3, 3]),
        "strides": np.array(p.stride or [1, 1]),
    }
    padded = p.WhichOneof("PoolingPaddingType")
    if padded == "includeLastPixel":
        # As in Caffe: the last window may start inside the image and end outside.
        top, left = (list(p.includeLastPixel.paddingAmounts) or [0, 0])[:2]
        arguments |= {"pad_type": "custom", "pad": np.array([top, top, left, left]), "ceil_mode": True}
    else:
        arguments |= image_padding(p, padded)
    if kind == "AVERAGE":
        arguments["exclude_padding_from_average"] = bool(p.avgPoolExcludePadding)
    return n.as_images(x, lambda image: n.mil(_POOLS[kind], x=image, **arguments))


@layer("pooling3d")
def pooling_3d(n: Network, p: Any, x: Tensor) -> Any:
    kind = p.PoolingType3D.Name(p.type)
    arguments = {
        "kernel_sizes": np.array([p.kernelDepth, p.kernelHeight, p.kernelWidth]),
        "strides": np.array([p.strideDepth or 1, p.strideHeight or 1, p.strideWidth or 1]),
        **volume_padding(p, p.Pooling3DPaddingType.Name(p.paddingType)),
    }
    if kind == "AVERAGE":
        arguments["exclude_padding_from_average"] = bool(p.countExcludePadding)
    return n.mil(_POOLS[kind], x=x, **arguments)


@layer("globalPooling3d")
def global_pooling_3d(n: Network, p: Any, x: Tensor) -> Any:
    kind = p.GlobalPoolingType3D.Name(p.type)
    return n.emit(_GLOBAL[kind], x, np.array([-3, -2, -1], np.int64), keepdims=1)
