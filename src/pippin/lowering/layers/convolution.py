"""Convolution: lowers plain and transposed convolutions over images and volumes, and converts their padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import limits
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor
from .weights import weights

_VOLUME = ("Depth", "Height", "Width")
_SIDES = ("Front", "Back", "Top", "Bottom", "Left", "Right")


@layer("convolution")
def convolution(n: Network, p: Any, x: Tensor, dynamic: Any = None, dynamic_bias: Any = None) -> Any:
    """Convolution over [.., C, H, W]; the weights may be an input.

    Weights are [output channels, kernel channels, height, width], or, if transposed, [kernel channels, output
    channels / groups, height, width].
    """
    kernel = [int(k) for k in p.kernelSize] or [3, 3]
    groups = int(p.nGroups) or 1
    outputs, inputs = int(p.outputChannels), int(p.kernelChannels)
    if dynamic is not None:
        weight = dynamic
    elif p.isDeconvolution:
        weight = weights(p.weights, (inputs, outputs // groups, *kernel))
    else:
        weight = weights(p.weights, (outputs, inputs, *kernel))
    bias = weights(p.bias, (outputs,), "bias") if p.hasBias else dynamic_bias
    arguments = {
        "weight": weight,
        "bias": bias,
        "strides": np.array(p.stride or [1, 1]),
        "dilations": np.array(p.dilationFactor or [1, 1]),
        "groups": groups,
        **image_padding(p, p.WhichOneof("ConvolutionPaddingType")),
    }
    if not p.isDeconvolution:
        return n.as_images(x, lambda image: n.mil("conv", x=image, **arguments))
    if p.outputShape:
        arguments["output_shape"] = limits.integers(p.outputShape)
    return n.as_images(x, lambda image: n.mil("conv_transpose", x=image, **arguments))


def image_padding(p: Any, kind: str | None) -> dict[str, Any]:
    """MIL's `pad_type` and `pad` for an image layer's padding."""
    if kind == "same":
        lower = p.same.SamePaddingMode.Name(p.same.asymmetryMode) == "TOP_LEFT_HEAVY"
        return {"pad_type": "same_lower" if lower else "same"}
    edges = p.valid.paddingAmounts.borderAmounts
    if not edges:
        return {"pad_type": "valid"}
    sizes = [v for e in edges for v in (e.startEdgeSize, e.endEdgeSize)]
    return {"pad_type": "custom", "pad": np.array(sizes, np.int64)}


@layer("convolution3d")
def convolution_3d(n: Network, p: Any, x: Tensor) -> Any:
    kernel, strides, dilations = ([int(getattr(p, f"{n_}{a}")) or 1 for a in _VOLUME] for n_ in _PER_AXIS)
    groups = int(p.nGroups) or 1
    outputs, inputs = int(p.outputChannels), int(p.inputChannels)
    arguments = {
        "bias": weights(p.bias, (outputs,), "bias") if p.hasBias else None,
        "strides": np.array(strides),
        "dilations": np.array(dilations),
        "groups": groups,
        **volume_padding(p, p.PaddingType.Name(p.paddingType)),
    }
    if not p.isDeconvolution:
        arguments["weight"] = weights(p.weights, (outputs, inputs // groups, *kernel))
        return n.mil("conv", x=x, **arguments)
    arguments["weight"] = weights(p.weights, (inputs, outputs // groups, *kernel))
    if p.outputShape:
        arguments["output_shape"] = limits.integers(p.outputShape)
    return n.mil("conv_transpose", x=x, **arguments)


_PER_AXIS = ("kernel", "stride", "dilation")


def volume_padding(p: Any, kind: str) -> dict[str, Any]:
    """MIL's `pad_type` and `pad` for a volume layer's padding."""
    if kind != "CUSTOM":
        return {"pad_type": kind.lower()}
    sizes = [int(getattr(p, f"customPadding{side}")) for side in _SIDES]
    return {"pad_type": "custom", "pad": np.array(sizes, np.int64)}
