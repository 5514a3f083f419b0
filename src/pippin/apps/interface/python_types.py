"""Types: maps feature types to Python annotations for inputs and outputs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ...format.description import (
    Dictionary,
    Double,
    FeatureDescription,
    FeatureType,
    Image,
    Int64,
    MultiArray,
    State,
    String,
)
from ...format.description import Sequence as SequenceType

MOST_LABELS = 200
"""Maximum number of labels in a Literal. Beyond it the type is `str` or `int`: completion no longer helps."""


def taken(kind: FeatureType) -> str:
    """Return the annotation of an input."""
    match kind:
        case MultiArray():
            return "npt.ArrayLike"
        case Image():
            return "ImageLike"
        case Int64():
            return "int"
        case Double():
            return "float"
        case String():
            return "str"
        case Dictionary(key=key):
            return f"Mapping[{_key(key)}, float]"
        case SequenceType(element=element):
            return f"Sequence[{_key(element)}]"
    return "Any"


def given(kind: FeatureType) -> str:
    """Return the annotation of an output."""
    match kind:
        case MultiArray(dtype=dtype):
            return f"npt.NDArray[np.{dtype.numpy.name}]"
        case State(array=array):
            return given(array)
        case Image():
            return "PIL.Image.Image"
        case Dictionary(key=key):
            return f"dict[{_key(key)}, float]"
        case SequenceType(element=element):
            return f"list[{_key(element)}]"
    return taken(kind)


def label_type(labels: Sequence[str | int]) -> str:
    """Return a Literal of the labels, or their common type if there are too many."""
    kinds = {type(label).__name__ for label in labels}
    if len(labels) > MOST_LABELS or not labels:
        return " | ".join(sorted(kinds)) or "str"
    return f"Literal[{', '.join(map(literal, dict.fromkeys(labels)))}]"


def literal(label: str | int) -> str:
    """Return the source of a label. JSON string escapes are valid in Python.

    What does not show, such as a mark that reverses the text after it, is an escape too.
    """
    return "".join(c if c.isprintable() else _escape(ord(c)) for c in json.dumps(label, ensure_ascii=False))


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def told(feature: FeatureDescription) -> str:
    """Return the docstring of a field: the model's own description, then the type."""
    own = feature.doc.strip()
    ends = "" if own.endswith((".", "!", "?")) or not own else "."
    default = "" if feature.default is None else f", default {feature.default:g}"
    optional = f", optional{default}" if feature.optional else ""
    return f"{own}{ends} {feature.type}{optional}.".strip()


def _key(kind: str) -> str:
    return "str" if kind == "string" else "int"
