"""Espresso files: reads the three files of a compiled neural network: layers, shapes and weights.

model.espresso.net      JSON: the layers in order, each with type, name, bottom, top (names joined by commas)
model.espresso.shape    JSON: {"layer_shapes": {blob: {k, h, w, n}}}; k is the number of channels
model.espresso.weights  uint64 count, count x (uint64 id, uint64 bytes), then the blobs back to back, float32
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PackageError, SpecificationError, WeightError
from ..support.regular_files import read_regular
from .git_lfs_pointer import POINTER, is_pointer

NETWORK, SHAPES, WEIGHTS = "model.espresso.net", "model.espresso.shape", "model.espresso.weights"
_FORMAT_VERSION = 200


@dataclass(frozen=True, slots=True)
class Network:
    path: Path
    layers: tuple[Mapping[str, Any], ...]
    shapes: Mapping[str, Mapping[str, Any]]
    weights: Weights
    has_preprocessing: bool


class Weights:
    """Blobs by identifier. Blobs with even identifiers are padding."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = _bytes(path, WeightError)
        (count,) = self._numbers(0, 1)
        if count > len(self.data) // 16:
            raise WeightError(f"{path}, offset 0: {count} blobs do not fit into a file of {len(self.data)} bytes")
        table = self._numbers(8, 2 * count)
        at = 8 + 16 * count
        self.blobs: dict[int, tuple[int, int]] = {}
        for identifier, size in zip(table[::2], table[1::2], strict=True):
            if size > len(self.data) - at:
                raise WeightError(
                    f"{path}, offset {at}: expected {size} bytes for blob {identifier}, found {len(self.data) - at}:"
                    " the file is truncated"
                )
            self.blobs[identifier] = (at, size)
            at += size

    def read(self, identifier: Any, shape: tuple[int, ...], layer: str) -> np.ndarray:
        """The first elements of a blob as float32; the rest is alignment padding. Raises WeightError if the blob is
        missing or too small."""
        if identifier not in self.blobs:
            raise WeightError(f"{self.path}: blob {identifier!r} of layer '{layer}' is missing")
        at, size = self.blobs[identifier]
        count = math.prod(shape)
        if size < 4 * count:
            raise WeightError(
                f"{self.path}, offset {at}: blob {identifier} of layer '{layer}' has {size} bytes, but float32"
                f" of shape {shape} needs {4 * count}"
            )
        return np.frombuffer(self.data, "<f4", count, at).reshape(shape)

    def _numbers(self, at: int, count: int) -> tuple[int, ...]:
        if at + 8 * count > len(self.data):
            raise WeightError(
                f"{self.path}, offset {at}: expected {8 * count} bytes for the blob table, found"
                f" {max(len(self.data) - at, 0)}: the file is truncated"
            )
        return struct.unpack_from(f"<{count}Q", self.data, at)


def open_network(folder: Path) -> Network:
    """Read the files. Raises PackageError if one is missing, SpecificationError or WeightError if one is damaged."""
    net = _json(folder / NETWORK)
    version = net.get("format_version")
    if version != _FORMAT_VERSION:
        raise SpecificationError(f"{folder / NETWORK}: expected format version {_FORMAT_VERSION}, found {version!r}")
    layers = net.get("layers")
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
        raise SpecificationError(f"{folder / NETWORK}: 'layers' must be a non-empty list of objects")
    shapes = _json(folder / SHAPES).get("layer_shapes")
    if not isinstance(shapes, dict) or not all(isinstance(shape, dict) for shape in shapes.values()):
        raise SpecificationError(f"{folder / SHAPES}: 'layer_shapes' must be an object of objects")
    weights = Weights(folder / _storage(net, folder))
    return Network(folder / NETWORK, tuple(layers), shapes, weights, bool(net.get("transform_params")))


def _storage(net: dict[str, Any], folder: Path) -> str:
    name = net.get("storage", WEIGHTS)
    if not isinstance(name, str) or Path(name).name != name:
        raise SpecificationError(f"{folder / NETWORK}: 'storage' must be a plain file name, got {name!r}")
    return name


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(path, SpecificationError))
    except (ValueError, RecursionError) as error:
        raise SpecificationError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise SpecificationError(f"{path} must contain a JSON object, got {type(found).__name__}")
    return found


def _bytes(path: Path, error_class: type[PackageError] | type[SpecificationError] | type[WeightError]) -> bytes:
    try:
        data = read_regular(path)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror}") from None
    if is_pointer(data):
        raise error_class(f"{path} {POINTER}")
    return data
