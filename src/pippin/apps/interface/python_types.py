"""Types: what a feature is in Python, going in and coming out."""

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
"""A classifier with more has `str` or `int`, not a type of its labels: nobody completes among a thousand."""


def taken(kind: FeatureType) -> str:
    """The annotation of an input."""
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
    """The annotation of an output."""
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
    """A Literal of the labels, or what they all are."""
    kinds = {type(label).__name__ for label in labels}
    if len(labels) > MOST_LABELS or not labels:
        return " | ".join(sorted(kinds)) or "str"
    return f"Literal[{', '.join(map(literal, dict.fromkeys(labels)))}]"


def literal(label: str | int) -> str:
    """Its source; what JSON escapes, Python does."""
    return json.dumps(label, ensure_ascii=False)


def told(feature: FeatureDescription) -> str:
    """The docstring of a field: the model's own words, then what it is."""
    own = feature.doc.strip()
    ends = "" if own.endswith((".", "!", "?")) or not own else "."
    optional = ", optional" if feature.optional else ""
    return f"{own}{ends} {feature.type}{optional}.".strip()


def _key(kind: str) -> str:
    return "str" if kind == "string" else "int"
