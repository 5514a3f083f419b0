"""Complex numbers: a pair of tensors, of which a program computes sums and products. They are no inputs or outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import ProgramError, UnsupportedOperationError
from .builder import CoreAIBuilder
from .registry import lowers


@dataclass(frozen=True, slots=True)
class Complex:
    real: Any
    imaginary: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.complex64)


@lowers("create_complex")
def create_complex(g: CoreAIBuilder, real: Any, imaginary: Any) -> Complex:
    return Complex(real, imaginary)


@lowers("real_part")
def real_part(g: CoreAIBuilder, input: Any) -> Any:
    return _pair(input).real


@lowers("imaginary_part")
def imaginary_part(g: CoreAIBuilder, input: Any) -> Any:
    return _pair(input).imaginary


def computed(g: CoreAIBuilder, kind: str, x: Any, y: Any) -> Complex:
    """Sums, differences and products, by ONNX's names."""
    a, b = _pair(x), _pair(y)
    if kind in ("Add", "Sub"):
        return Complex(g.emit(kind, a.real, b.real), g.emit(kind, a.imaginary, b.imaginary))
    if kind != "Mul":
        raise UnsupportedOperationError("of complex numbers, only sums, differences and products are computed")
    real = g.Sub(g.Mul(a.real, b.real), g.Mul(a.imaginary, b.imaginary))
    return Complex(real, g.Add(g.Mul(a.real, b.imaginary), g.Mul(a.imaginary, b.real)))


def _pair(value: Any) -> Complex:
    if not isinstance(value, Complex):
        raise ProgramError("its operand must be complex")
    return value
