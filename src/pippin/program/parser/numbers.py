"""Numbers: a run of numerals at once, as numpy reads it: C99 hexadecimal floats, integers, truth values.

A long row is decoded by columns: the first digits of all numerals, then the second, and so on; what is not written as
most are (decimal floats, infinities, not-a-numbers) is decoded one by one. C99: ISO/IEC 9899, 6.4.4.2.
"""

from __future__ import annotations

import re

import numpy as np

from ...types import DataType

_SHORT = 32
"""Fewer numerals than this are decoded one by one."""

_HEXADECIMAL = re.compile(r"-?0x[0-9a-f]+(?:\.[0-9a-f]*)?p[+-]?[0-9]{1,5}", re.IGNORECASE)
_DECIMAL = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_SPECIAL = {"nan": np.nan, "-nan": -np.nan, "inf": np.inf, "-inf": -np.inf}
_BITS = re.compile(r"nan:0x([0-9a-f]{1,16})")
_TRUTH = {"true": True, "false": False}

_DIGITS = np.full(256, 255, np.uint8)
_DIGITS[np.frombuffer(b"0123456789", np.uint8)] = range(10)
_DIGITS[np.frombuffer(b"abcdef", np.uint8)] = range(10, 16)
_DIGITS[np.frombuffer(b"ABCDEF", np.uint8)] = range(10, 16)
_MOST_FRACTION = 12  # with the digit before the point: 52 bits, exact in float64
_MOST_DECIMALS = 18  # what int64 always holds
_COMMA, _MINUS, _PLUS, _POINT, _P = (ord(c) for c in ",-+.p")


class BadNumber(Exception):
    """The numeral at `index` is not one, or does not fit; `reason` says how."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(index, reason)
        self.index = index
        self.reason = reason


def decode(text: str, count: int, dtype: DataType) -> np.ndarray:
    """`count` numerals, separated by commas and without any space, as a flat array. Raises BadNumber."""
    if count == 0:
        return np.zeros(0, dtype.numpy)
    if count < _SHORT or dtype is DataType.BOOL:
        return _one_by_one(text.split(","), dtype)
    data = np.frombuffer(text.encode("latin-1", "replace"), np.uint8)
    commas = np.flatnonzero(data == _COMMA)
    starts = np.concatenate([[0], commas + 1])
    ends = np.append(commas, len(data))
    decoder = _hexadecimal if dtype.is_float else _decimal
    values, regular = decoder(data, starts, ends)
    if not regular.all():
        odd = np.flatnonzero(~regular)
        parts = [text[starts[i] : ends[i]] for i in odd]
        try:
            others = _one_by_one(parts, dtype)
        except BadNumber as error:
            raise BadNumber(int(odd[error.index]), error.reason) from None
        found = _narrowed(np.where(regular, values, 0), dtype)
        found[odd] = others
        return found
    return _narrowed(values, dtype)


def _one_by_one(parts: list[str], dtype: DataType) -> np.ndarray:
    if dtype is DataType.BOOL:
        return np.array([_truth(i, part) for i, part in enumerate(parts)], np.bool_)
    if dtype.is_float:
        found = _narrowed(np.array([_float(i, part, dtype) for i, part in enumerate(parts)], np.float64), dtype)
        for i, part in enumerate(parts):
            if bits := _BITS.fullmatch(part):  # a not-a-number with bits of its own
                found.view(f"u{found.itemsize}")[i] = int(bits[1], 16)
        return found
    values = [_integer(i, part) for i, part in enumerate(parts)]
    lower, upper = integer_range(dtype)
    for i, value in enumerate(values):
        if not lower <= value <= upper:
            raise BadNumber(i, f"{value} does not fit {dtype.value}, which holds {lower} to {upper}")
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
    return f"found {repr(part[:40]) if part else 'nothing'}, but {expected} was expected"


def _narrowed(values: np.ndarray, dtype: DataType) -> np.ndarray:
    """float64 or int64 as the element type. Raises BadNumber for the first that does not fit."""
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
        raise BadNumber(index, f"{values[index]} does not fit {dtype.value}, which holds {lower} to {upper}")
    return values.astype(dtype.numpy)


def _decimal(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The integers, and which of them are plain: an optional sign and up to 18 digits."""
    negative = data[np.minimum(starts, len(data) - 1)] == _MINUS
    values, regular = _digits(data, starts + negative, ends, 10, _MOST_DECIMALS)
    return np.where(negative, -values, values), regular


def _hexadecimal(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The floats, and which of them are plain: -0xh.hhhp+d, with so few digits that they are exact."""
    regular = np.ones(len(starts), bool)
    last = len(data) - 1
    negative = data[np.minimum(starts, last)] == _MINUS
    at = starts + negative
    lead = _DIGITS[data[np.minimum(at + 2, last)]]
    regular &= (data[np.minimum(at, last)] == ord("0")) & (data[np.minimum(at + 1, last)] == ord("x")) & (lead < 16)
    marks = np.flatnonzero(data == _P)
    exponents = marks[np.minimum(np.searchsorted(marks, starts), len(marks) - 1)] if len(marks) else ends
    regular &= (exponents >= at + 3) & (exponents < ends)
    exponents = np.where(regular, exponents, at + 3)
    points = data[np.minimum(at + 3, last)] == _POINT
    regular &= points | (exponents == at + 3)
    fraction, plain = _digits(data, at + 4, np.where(points, exponents, at + 4), 16, _MOST_FRACTION)
    regular &= plain | ~points
    length = np.where(points & regular, exponents - at - 4, 0)
    mantissa = (np.where(regular, lead, 0).astype(np.int64) << 4 * length) + np.where(points, fraction, 0)
    sign = data[np.minimum(exponents + 1, last)]
    signed = (sign == _MINUS) | (sign == _PLUS)
    power, plain = _digits(data, exponents + 1 + signed, ends, 10, 4)
    regular &= plain
    power = np.where(regular, np.where(sign == _MINUS, -power, power) - 4 * length, 0)
    with np.errstate(over="ignore"):
        values = np.ldexp(mantissa.astype(np.float64), power)
    regular &= np.isfinite(values)  # what is too large is refused by name
    return np.where(negative, -values, values), regular


def _digits(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, base: int, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that stand between the offsets, and which of them are 1 to `most` digits of the base."""
    lengths = ends - starts
    regular = (lengths > 0) & (lengths <= most)
    values = np.zeros(len(starts), np.int64)
    longest = int(lengths[regular].max(initial=0))
    everywhere = bool(regular.all())
    for column in range(longest):
        if everywhere and int(lengths.min()) > column:
            digit = _DIGITS[data[starts + column]]
            regular &= digit < base
            values = values * base + digit
        else:
            here = np.flatnonzero(regular & (lengths > column))
            digit = _DIGITS[data[starts[here] + column]]
            regular[here] = digit < base
            values[here] = values[here] * base + digit
    return values, regular
