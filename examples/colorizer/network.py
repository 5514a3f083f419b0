"""Network: small U-Net that predicts two chroma planes at half resolution; luma enters, RGB leaves."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

SIDE = 256
WIDTHS = (24, 48, 96, 160, 224)


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def separable(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, size, 1, size // 2, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        convolution(inputs, outputs, 1),
    )


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = separable(width, width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Chroma(nn.Module):
    """Maps luma (n, 1, h, w) in 0..1 to Cb and Cr (n, 2, h, w) in -0.5..0.5; h and w must be multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        steps = list(pairwise(WIDTHS))
        self.stem = convolution(1, WIDTHS[0], 5, 2)
        self.down = nn.ModuleList(nn.Sequential(convolution(a, b, 3, 2), Residual(b), Residual(b)) for a, b in steps)
        self.up = nn.ModuleList(separable(a + b, a) for a, b in reversed(steps))
        self.head = nn.Conv2d(WIDTHS[0], 2, 3, padding=1)

    def forward(self, luma: torch.Tensor) -> torch.Tensor:
        x = self.stem(luma - 0.5)
        skips = [x]
        for down in self.down:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skips.pop()], 1))
        chroma = 0.5 * torch.tanh(self.head(x))
        return F.interpolate(chroma, scale_factor=2.0, mode="bilinear", align_corners=False)


class Colorizer(nn.Module):
    """Maps luma (1, 1, h, w) to RGB (1, 3, h, w), both in 0..255.

    Luma and chroma follow JPEG (ITU-R BT.601, full range): Pillow's "L" and "YCbCr". Unlike CIELAB's, the conversion to
    RGB is linear, so float16 preserves the luma.
    """

    def __init__(self, chroma: Chroma) -> None:
        super().__init__()
        self.chroma = chroma

    def forward(self, luma: torch.Tensor) -> torch.Tensor:
        luma = luma / 255  # not the scale of an image input, which would be computed in float32
        cb, cr = self.chroma(luma).split(1, 1)
        planes = [luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb]
        return 255 * torch.clamp(torch.cat(planes, 1), 0, 1)
