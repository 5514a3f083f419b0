"""Weights: decodes `WeightParams` messages into float32 arrays.

Source: `WeightParams`, `QuantizationParams` in `NeuralNetwork.proto`. Formats: float32; float16; integers of 1 to 8
bits, packed from the highest bit on, with a lookup table or with a scale and a bias (one for all output channels, or
one for each); int8 weights of layers with dynamic quantization.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ProgramError


def weights(params: Any, shape: Sequence[int], name: str = "weights") -> np.ndarray:
    """The constant of a `WeightParams` message as float32 in this shape; the first axis is the output channel.

    Raises ProgramError if the number of elements does not match the shape.
    """
    sizes = tuple(int(d) for d in shape)
    array = stored(params, math.prod(sizes), sizes[0] if sizes else 1)
    if array.size != math.prod(sizes):
        raise ProgramError(f"{name} has {array.size} elements, but the shape {sizes} needs {math.prod(sizes)}")
    return array.reshape(sizes)


def stored(params: Any, count: int | None = None, channels: int = 1) -> np.ndarray:
    """The elements of a `WeightParams` message as a flat array; bit-packed ones are cut to `count`."""
    if params.float16Value:
        return np.frombuffer(params.float16Value, np.float16).astype(np.float32)
    if params.int8RawValue:
        return _scaled(np.frombuffer(params.int8RawValue, np.int8), params.quantization, channels)
    if params.rawValue:
        bits = int(params.quantization.numberOfBits)
        if not 1 <= bits <= 8:
            raise ProgramError(f"quantized weights must have 1 to 8 bits, got {bits}")
        codes = _unpacked(params.rawValue, bits)
        return _scaled(codes if count is None else codes[:count], params.quantization, channels)
    return np.array(params.floatValue, np.float32)


def _unpacked(data: bytes, bits: int) -> np.ndarray:
    if bits == 8:
        return np.frombuffer(data, np.uint8)
    stream = np.unpackbits(np.frombuffer(data, np.uint8))
    groups = stream[: len(stream) // bits * bits].reshape(-1, bits)
    return (groups @ (1 << np.arange(bits - 1, -1, -1))).astype(np.uint8)


def _scaled(codes: np.ndarray, quantization: Any, channels: int) -> np.ndarray:
    if quantization.WhichOneof("QuantizationType") == "lookupTableQuantization":
        table = np.array(quantization.lookupTableQuantization.floatValue, np.float32)
        if codes.size and int(codes.max()) >= table.size:
            raise ProgramError(f"the lookup table has {table.size} entries, but a weight uses index {int(codes.max())}")
        return table[codes]
    linear = quantization.linearQuantization
    scale = np.array(linear.scale or [1.0], np.float32)
    bias = np.array(linear.bias or [0.0], np.float32)
    if scale.size == 1 and bias.size == 1:
        return codes.astype(np.float32) * scale + bias
    if codes.size % channels or any(v.size not in (1, channels) for v in (scale, bias)):
        raise ProgramError(
            f"weights have {scale.size} scales and {bias.size} biases for {channels} output channels;"
            " expected one for all channels or one for each"
        )
    rows = codes.reshape(channels, -1).astype(np.float32)
    return (rows * scale.reshape(-1, 1) + bias.reshape(-1, 1)).reshape(-1)
