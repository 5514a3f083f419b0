"""Numbers: decodes a run of numerals in bulk: C99 hexadecimal floats, integers, booleans.

Long rows are decoded in pieces. A piece in the common form is decoded as a whole, after checking for input that only
the decoders of Python and numpy accept. A piece with other forms (decimal floats, infinities, NaNs) or errors is
decoded numeral by numeral. C99: ISO/IEC 9899, 6.4.4.2.
"""

from __future__ import annotations

import re

import numpy as np

from ...types import DataType

_SHORT = 32
"""Rows with fewer numerals are decoded one by one."""

_HEXADECIMAL = re.compile(r"-?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?[0-9]+", re.IGNORECASE)
_DECIMAL = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_SPECIAL = {"nan": np.nan, "-nan": -np.nan, "inf": np.inf, "-inf": -np.inf}
_BITS = re.compile(r"nan:0x([0-9a-f]{1,16})")
_TRUTH = {"true": True, "false": False}

_FLOAT_CHARACTERS = b"0123456789abcdefxp.+-,"
_INTEGER_CHARACTERS = b"0123456789-,"
_PIECE = 1 << 20
"""Characters decoded as one piece."""


class BadNumber(Exception):
    """The numeral at `index` is malformed or out of range; `reason` is the message."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(index, reason)
        self.index = index
        self.reason = reason


def decode(text: str, count: int, dtype: DataType) -> np.ndarray:
    """Decode `count` numerals, separated by commas without whitespace, to a flat array. Raises BadNumber."""
    if count == 0:
        return np.zeros(0, dtype.numpy)
    if count < _SHORT:
        return _one_by_one(text.split(","), dtype)
    pieces: list[np.ndarray] = []
    at = done = 0
    while at <= len(text):
        end = text.find(",", at + _PIECE)
        end = len(text) if end < 0 else end
        try:
            pieces.append(_piece(text[at:end], dtype))
        except BadNumber as error:
            raise BadNumber(done + error.index, error.reason) from None
        at, done = end + 1, done + len(pieces[-1])
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _piece(text: str, dtype: DataType) -> np.ndarray:
    found = None
    if dtype.is_float:
        found = _floats(text)
    elif dtype is not DataType.BOOL:
        found = _integers(text)
    return _one_by_one(text.split(","), dtype) if found is None else _narrowed(found, dtype)


def _floats(text: str) -> np.ndarray | None:
    """Hexadecimal floats as float64; None if `float.fromhex` rejects one or might accept what C99 does not."""
    if text.encode("latin-1", "replace").translate(None, _FLOAT_CHARACTERS) or text.startswith("+") or ",+" in text:
        return None
    parts = text.split(",")
    if not text.count("x") == text.count("p") == len(parts):
        return None
    try:
        return np.fromiter(map(float.fromhex, parts), np.float64, len(parts))
    except (ValueError, OverflowError):
        return None


def _integers(text: str) -> np.ndarray | None:
    """Integers as int64; None if numpy rejects one or might accept an invalid one: it reads "-" as 0, drops what
    follows the last comma, and clamps larger values to int64."""
    if text.encode("latin-1", "replace").translate(None, _INTEGER_CHARACTERS) or "-," in text or text[-1:] in "-,":
        return None
    try:
        found = np.fromstring(text, np.int64, sep=",")
    except ValueError:
        return None
    limits = np.iinfo(np.int64)
    if len(found) != text.count(",") + 1 or found.min() == limits.min or found.max() == limits.max:
        return None
    return found


def _one_by_one(parts: list[str], dtype: DataType) -> np.ndarray:
    if dtype is DataType.BOOL:
        return np.array([_truth(i, part) for i, part in enumerate(parts)], np.bool_)
    if dtype.is_float:
        found = _narrowed(np.array([_float(i, part, dtype) for i, part in enumerate(parts)], np.float64), dtype)
        for i, part in enumerate(parts):
            if bits := _BITS.fullmatch(part):  # a NaN with explicit bits
                found.view(f"u{found.itemsize}")[i] = int(bits[1], 16)
        return found
    values = [_integer(i, part) for i, part in enumerate(parts)]
    lower, upper = integer_range(dtype)
    for i, value in enumerate(values):
        if not lower <= value <= upper:
            raise BadNumber(i, f"{value} does not fit {dtype.value} ({lower} to {upper})")
    return np.array(values, dtype.numpy)


def integer_range(dtype: DataType) -> tuple[int, int]:
    if dtype.value.startswith("uint"):
        return 0, (1 << dtype.bits) - 1
    return -(1 << dtype.bits - 1), (1 << dtype.bits - 1) - 1


def _truth(index: int, part: str) -> bool:
    if part not in _TRUTH:
        raise BadNumber(index, _not(part, "true or false"))
    return _TRUTH[part]


def _integer(index: int, part: str) -> int:
    if not _INTEGER.fullmatch(part):
        raise BadNumber(index, _not(part, "an integer"))
    return int(part)


def _float(index: int, part: str, dtype: DataType) -> float:
    if _HEXADECIMAL.fullmatch(part):
        try:
            return float.fromhex(part)
        except (OverflowError, ValueError):
            raise BadNumber(index, f"'{part[:40]}' does not fit {dtype.value}") from None
    if _DECIMAL.fullmatch(part):
        return float(part)
    if part in _SPECIAL:
        return _SPECIAL[part]
    bits = _BITS.fullmatch(part)
    if bits and int(bits[1], 16) < 1 << dtype.bits:
        return np.nan
    raise BadNumber(index, _not(part, "a number"))


def _not(part: str, expected: str) -> str:
    return f"expected {expected}, found {repr(part[:40]) if part else 'nothing'}"


def _narrowed(values: np.ndarray, dtype: DataType) -> np.ndarray:
    """Convert float64 or int64 to the element type. Raises BadNumber for the first value that does not fit."""
    if dtype.is_float:
        with np.errstate(over="ignore", invalid="ignore"):
            found = values.astype(dtype.numpy)
        fits = np.isfinite(found.astype(np.float64)) | ~np.isfinite(values)
        if not fits.all():
            index = int(np.argmin(fits))
            raise BadNumber(index, f"{values[index]:g} does not fit {dtype.value}")
        return found
    lower, upper = integer_range(dtype)
    fits = (values >= lower) & (values <= min(upper, (1 << 63) - 1))
    if not fits.all():
        index = int(np.argmin(fits))
        raise BadNumber(index, f"{values[index]} does not fit {dtype.value} ({lower} to {upper})")
    return values.astype(dtype.numpy)
