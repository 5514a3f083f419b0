"""Messages: changes of one place in a protobuf message: a number, a name, an array, a repeated or missing part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor as Field

INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    5,
    16,
    99,
    255,
    1 << 16,
    10**9,
    (1 << 31) - 1,
    1 << 31,
    -(1 << 31),
    10**12,
    (1 << 63) - 1,
    -(1 << 63),
)
FLOATS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    float("nan"),
    float("inf"),
    float("-inf"),
    1e30,
    -1e30,
    1e-30,
    3.4e38,
    2.0**31,
    1e300,
)
STRINGS = (
    "",
    "x",
    "y",
    "main",
    "a b",
    "[/b]",
    "../../up",
    "\x1b[31m",
    "'\"{0}%s",
    "é\u202e",
    "n" * 2000,
    "@model_path/weights/none.bin",
)
_LIMITS = {
    Field.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    Field.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    Field.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    Field.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
_FEW = 6  # elements of an array of numbers that are places of their own
_DEPTH = 40


@dataclass(frozen=True)
class Place:
    """A field of a message, or one element of a repeated field."""

    owner: Any
    field: Any
    index: Any = None

    @property
    def value(self) -> Any:
        found = getattr(self.owner, self.field.name)
        return found if self.index is None else found[self.index]

    def __str__(self) -> str:
        return f"{self.field.containing_type.name}.{self.field.name}{'' if self.index is None else f'[{self.index}]'}"


def places(message: Any, depth: int = 0) -> Iterator[Place]:
    """Every field that is set, in all submessages; of a long array of numbers only some elements."""
    for field, value in message.ListFields():
        if not field.is_repeated:
            yield Place(message, field)
            if field.cpp_type == Field.CPPTYPE_MESSAGE and depth < _DEPTH:
                yield from places(value, depth + 1)
            continue
        yield Place(message, field)
        of_messages = field.cpp_type == Field.CPPTYPE_MESSAGE
        if _is_map(field):
            for key in sorted(value):
                inner = value[key]
                if hasattr(inner, "ListFields"):
                    yield from places(inner, depth + 1)
            continue
        for index in range(len(value)) if of_messages else sorted({*range(min(len(value), _FEW)), len(value) - 1}):
            yield Place(message, field, index)
            if of_messages and depth < _DEPTH:
                yield from places(value[index], depth + 1)


def _is_map(field: Any) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def changed(message: Any, random: np.random.Generator) -> str:
    """Change one place; the kinds of places are equally likely. Returns what was changed."""
    groups: dict[str, list[Place]] = defaultdict(list)
    names: set[str] = set()
    for place in places(message):
        groups[f"{place.field.full_name} {place.index is None}"].append(place)
        if place.field.type == Field.TYPE_STRING and isinstance(place.value, str):
            names.add(place.value)
    if not groups:
        return "nothing to change"
    for _ in range(20):
        group = groups[sorted(groups)[int(random.integers(len(groups)))]]
        place = group[int(random.integers(len(group)))]
        try:
            what = _change(place, group, sorted(names), random)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        return f"{place}: {what}"
    return "nothing changed"


def _change(place: Place, group: list[Place], names: list[str], random: np.random.Generator) -> str:
    if place.field.is_repeated and place.index is None:
        return _repeated(place, random)
    if place.field.cpp_type == Field.CPPTYPE_MESSAGE:
        return _message(place, group, random)
    old = place.value
    new = number(old, place.field.cpp_type, random) if not isinstance(old, str | bytes) else None
    if isinstance(old, str):
        new = one(names, random) if names and random.random() < 0.5 else one([*STRINGS, old + "x", old[:-1]], random)
    elif isinstance(old, bytes):
        new = damaged(old, random)
    elif place.field.cpp_type == Field.CPPTYPE_ENUM:
        values = [value.number for value in place.field.enum_type.values]
        new = int(one([*values, 99], random))
    if place.index is None:
        setattr(place.owner, place.field.name, new)
    else:
        getattr(place.owner, place.field.name)[place.index] = new
    return f"{str(old)[:40]!r} -> {str(new)[:40]!r}"


def number(old: Any, kind: int, random: np.random.Generator) -> Any:
    """Another number of the kind of a field."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, float):
        return float(one([*FLOATS, -old, old * 2], random))
    low, high = _LIMITS.get(kind, (-(1 << 63), (1 << 63) - 1))
    near = [old + 1, old - 1, old * 2, -old]
    return one(
        [value for value in (near if random.random() < 0.5 else INTEGERS) if low <= value <= high] or [0], random
    )


def _repeated(place: Place, random: np.random.Generator) -> str:
    values = getattr(place.owner, place.field.name)
    if _is_map(place.field):
        key = one(sorted(values), random)
        del values[key]
        return f"without {key!r}"
    length = len(values)
    at, other = int(random.integers(length)), int(random.integers(length))
    what = one(("drop", "double", "exchange", "cut", "clear", "grow", "all one"), random)
    items = [values[i] for i in range(length)]
    if place.field.cpp_type == Field.CPPTYPE_MESSAGE:
        items = [_copy(item) for item in items]
    match what:
        case "drop":
            del items[at]
        case "double":
            items.insert(other, items[at])
        case "exchange":
            items[at], items[other] = items[other], items[at]
        case "cut":
            items = items[:at]
        case "clear":
            items = []
        case "grow":
            items += items[: 1 + other]
        case "all one":
            if place.field.cpp_type == Field.CPPTYPE_MESSAGE:
                items = items[::-1]
            else:
                items = [
                    number(items[at], place.field.cpp_type, random) if not isinstance(items[at], str) else items[at]
                ] * length
    del values[:]
    values.extend(items)
    return f"{what} ({length} -> {len(items)})"


def _message(place: Place, group: list[Place], random: np.random.Generator) -> str:
    target = place.value
    what = one(("clear", "copy", "other"), random)
    if what == "copy" and len(group) > 1:
        target.CopyFrom(_copy(one(group, random).value))
        return "copied from another"
    oneofs = [oneof for oneof in target.DESCRIPTOR.oneofs if target.WhichOneof(oneof.name)]
    if what == "other" and oneofs:
        member = one(one(oneofs, random).fields, random)
        if member.cpp_type == Field.CPPTYPE_MESSAGE:
            getattr(target, member.name).SetInParent()
        else:
            setattr(target, member.name, member.default_value)
        return f"another kind: {member.name}"
    if place.index is None and random.random() < 0.5:
        place.owner.ClearField(place.field.name)
        return "removed"
    target.Clear()
    return "emptied"


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def one(values: Any, random: np.random.Generator) -> Any:
    values = list(values)
    return values[int(random.integers(len(values)))]


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """A few bytes changed, a piece cut out, doubled, replaced by noise or by NaN, or the end lost."""
    if not data:
        return b"\0"
    changed = bytearray(data)
    at = int(random.integers(0, len(changed)))
    length = int(random.integers(1, 1 + min(64, len(changed) - at)))
    match random.integers(0, 8):
        case 0:
            for _ in range(int(random.integers(1, 8))):
                changed[int(random.integers(0, len(changed)))] = int(random.integers(0, 256))
        case 1:
            changed[at] ^= 1 << int(random.integers(0, 8))
        case 2:
            del changed[at : at + length]
        case 3:
            changed[at:at] = changed[at : at + length]
        case 4:
            changed[at : at + length] = random.bytes(length)
        case 5:
            del changed[at:]
        case 6:
            changed[at : at + length] = b"\xff" * length
        case 7:
            word = int(one((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x7F800000), random))
            start = at // 4 * 4
            changed[start : start + 4] = word.to_bytes(4, "little")
    return bytes(changed)
