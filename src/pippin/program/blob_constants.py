"""Blob constants: constants stored in a weight file, read on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ..errors import WeightError
from ..format.weight_blob import BlobFile
from ..types import TensorType, ValueType
from .ir import Literal

Weights: TypeAlias = Callable[[str], BlobFile]
"""Opens a weight file by the name that a program uses for it."""


def is_fixed(kind: ValueType) -> bool:
    """Whether a record can store the type: a tensor of fixed shape."""
    return isinstance(kind, TensorType) and kind.shape is not None and None not in kind.shape


def read_record(weights: Weights | None, literal: Literal) -> np.ndarray:
    """The array of a literal stored in a weight file. Raises WeightError if it is missing or does not match."""
    kind, file = literal.type, literal.file
    assert isinstance(kind, TensorType) and file is not None
    if weights is None:
        raise WeightError(f"weight file '{file}' is missing: the program was read without its weights")
    return weights(file).read(literal.offset, kind.dtype, tuple(size for size in kind.shape or () if size is not None))
