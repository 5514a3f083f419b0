"""Inputs: what the words of `--input` say: `image=image:rgb:scale=1/255`, `x=tensor:1,3,224..448,*:float16`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from ...errors import ConfigurationError
from ...lowering.limits import TENSOR

_COLORS = ("rgb", "bgr", "gray")
_DTYPES = ("float16", "float32", "int32")
_UNBOUNDED = -1


@dataclass(frozen=True, slots=True)
class Range:
    """An axis of 224..448 elements; `high` is None for one without a bound."""

    low: int
    high: int | None


Size = int | Range


@dataclass(frozen=True, slots=True)
class InputWords:
    """One input, as it was asked for. `shapes` has one shape, or several that are enumerated; none if the source says
    it."""

    name: str
    image: bool = False
    color: str = "rgb"
    shapes: tuple[tuple[Size, ...], ...] = ()
    dtype: str = ""
    scale: float = 1.0
    bias: tuple[float, ...] = field(default=())

    def size(self, known: tuple[int, ...] | None) -> tuple[int, ...]:
        """The shape to check with: the smallest of a range, the first of several."""
        if not self.shapes:
            if known is None:
                raise ConfigurationError(f"--input {self.name}=...: its shape is needed, such as tensor:1,3,224,224")
            return known
        return tuple(size.low if isinstance(size, Range) else size for size in self.shapes[0])

    def coremltools(self, known: tuple[int, ...] | None) -> Any:
        """The input type for `coremltools.convert`."""
        import coremltools as ct

        self.size(known)  # raises if there is none
        shape: Any = known
        if self.shapes:
            listed = [[_axis(ct, size) for size in shape] for shape in self.shapes]
            shape = ct.Shape(listed[0]) if len(listed) == 1 else ct.EnumeratedShapes(listed)
        if not self.image:
            dtype = {"float16": np.float16, "int32": np.int32}.get(self.dtype, np.float32)
            return ct.TensorType(self.name, shape, dtype)
        layout = {"rgb": ct.colorlayout.RGB, "bgr": ct.colorlayout.BGR, "gray": ct.colorlayout.GRAYSCALE}[self.color]
        bias = list(self.bias) or None
        if bias is not None and self.color == "gray":
            bias = bias[0]  # type: ignore[assignment]
        return ct.ImageType(self.name, shape, scale=self.scale, bias=bias, color_layout=layout)


def _axis(ct: Any, size: Size) -> Any:
    if isinstance(size, Range):
        return ct.RangeDim(size.low, _UNBOUNDED if size.high is None else size.high)
    return size


def parse_inputs(arguments: Iterable[str]) -> dict[str, InputWords]:
    """Raises ConfigurationError for what cannot be understood."""
    found: dict[str, InputWords] = {}
    for argument in arguments:
        name, equals, words = argument.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"--input {argument!r} must be NAME=tensor:SHAPE or NAME=image:rgb")
        if name in found:
            raise ConfigurationError(f"--input {name} is given twice")
        found[name] = _parsed(name, words)
    return found


def _parsed(name: str, text: str) -> InputWords:
    kind, *words = text.split(":")
    if kind not in ("tensor", "image"):
        raise ConfigurationError(f"--input {name}: expected tensor or image, got {kind!r}")
    given: dict[str, Any] = {"image": kind == "image"}
    for word in words:
        if word in _COLORS and kind == "image":
            given["color"] = word
        elif word in _DTYPES and kind == "tensor":
            given["dtype"] = word
        elif "=" in word and kind == "image":
            given |= _numbers(name, word)
        elif re.match(r"[\d*]", word):
            given["shapes"] = tuple(_shape(name, shape) for shape in word.split("|"))
        else:
            known = ", ".join(_COLORS if kind == "image" else _DTYPES)
            raise ConfigurationError(f"--input {name}: {word!r} is no shape, and none of {known}")
    return InputWords(name, **given)


def _shape(name: str, text: str) -> tuple[Size, ...]:
    sizes = tuple(_size(name, each.strip()) for each in text.split(","))
    if math.prod(size.low if isinstance(size, Range) else size for size in sizes) > TENSOR:
        raise ConfigurationError(f"--input {name}: {text} has more than {TENSOR:,} elements")
    return sizes


def _size(name: str, text: str) -> Size:
    if text == "*":
        return Range(1, None)
    match = re.fullmatch(r"(\d{1,18})(?:\.\.(\d{1,18}|\*))?", text, re.ASCII)
    if match is None or int(match[1]) < 1 or (match[2] not in (None, "*") and int(match[2]) < int(match[1])):
        raise ConfigurationError(f"--input {name}: a size is a number, 224..448 or *, got {text!r}")
    if match[2] is None:
        return int(match[1])
    return Range(int(match[1]), None if match[2] == "*" else int(match[2]))


def _numbers(name: str, text: str) -> dict[str, Any]:
    """scale=1/255,bias=-1,-1,-1"""
    found: dict[str, Any] = {}
    for match in re.finditer(r"(scale|bias)=([^=]+?)(?=,(?:scale|bias)=|$)", text):
        try:
            numbers = [float(Fraction(each)) for each in match[2].split(",")]
        except (ValueError, ZeroDivisionError):
            raise ConfigurationError(f"--input {name}: {match[0]!r} is no number such as 1/255 or -0.5") from None
        if match[1] == "scale" and len(numbers) != 1:
            raise ConfigurationError(f"--input {name}: scale is one number, got {match[2]!r}")
        found[match[1]] = numbers[0] if match[1] == "scale" else tuple(numbers)
    if not found:
        raise ConfigurationError(f"--input {name}: expected scale=... or bias=..., got {text!r}")
    return found
