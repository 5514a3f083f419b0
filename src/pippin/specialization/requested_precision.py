"""Requested precision: which precisions a configuration and a program allow, and why."""

from __future__ import annotations

from collections.abc import Sequence

from ..configuration import Configuration
from ..devices import ComputeDevice, devices_of
from ..errors import ConfigurationError
from ..lowering.lowered_model import Lowered
from ..passes.compressed_products import has_compressed_products
from ..types import DataType


def sixteen_bit(configuration: Configuration, lowered: Lowered) -> tuple[str, str]:
    """The precisions to try besides float32 ("auto": of 16 bits; one by name, or "" for none), and the reason."""
    if configuration.precision == "float32":
        return "", "float32, as configured"
    if configuration.precision == "dynamic_int8":
        if not has_compressed_products(lowered.model):
            return "", "float32: no product has 4- or 8-bit weights, which 'dynamic_int8' is for"
        return "dynamic_int8", "products with 4- and 8-bit weights round their other operand to 8 bits, as configured"
    if configuration.precision == "bfloat16":
        return "bfloat16", "bfloat16 if an engine supports it, as configured"
    if configuration.precision == "float16":
        if DataType.FLOAT16 not in lowered.computes:
            return "", "float32, as declared: no operation is declared float16"
        if not on_cpu(devices_of(configuration.compute_units)):
            return "", "float16 on the GPU or NPU, as configured; operations on the CPU are computed in float32"
        return "", "float16 itself, as configured: the result of each float16 operation is rounded to float16"
    if lowered.computes == {DataType.FLOAT16}:
        return "auto", "declared float16: 16-bit if the signal-to-noise ratio is at least 40 dB"
    if DataType.FLOAT16 in lowered.computes:
        return "", "float32: parts of the program compute in float32"
    return "", "float32, as declared"


def on_cpu(devices: Sequence[ComputeDevice]) -> bool:
    return all(device.kind == "cpu" for device in devices)


def check_float16(configuration: Configuration, lowered: Lowered) -> None:
    if configuration.precision == "float16" and configuration.engine == "mnn" and DataType.FLOAT16 in lowered.computes:
        raise ConfigurationError(
            "precision 'float16': MNN does not round to float16; choose engine 'onnxruntime' or 'openvino', or the "
            "precision 'float32'"
        )
