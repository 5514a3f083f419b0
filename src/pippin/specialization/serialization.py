"""Plain: the frozen dataclasses of a model's description and plan as JSON, and back.

Nothing but the listed classes can come out of a file, whatever stands in it.
"""

from __future__ import annotations

import enum
import json
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

_CLASS = "~"


@cache
def _classes() -> dict[str, Any]:
    from .. import types
    from ..format import description
    from ..lowering import lowered_model
    from . import compute_plan

    listed = [
        description.ColorSpace, description.SizeRange, description.EnumeratedShapes, description.ShapeRange,
        description.MultiArray, description.Image, description.Int64, description.Double, description.String,
        description.Dictionary, description.Sequence, description.State, description.FeatureDescription,
        description.FunctionDescription, description.Metadata, description.ModelDescription,
        lowered_model.Port, lowered_model.Labels, lowered_model.Check, types.TensorType, types.DataType,
        compute_plan.Candidate, compute_plan.PlannedOperation, compute_plan.PlannedSegment, compute_plan.ComputePlan,
    ]  # fmt: skip
    return {made.__name__: made for made in listed}


def to_json(value: Any) -> str:
    return json.dumps(_plain(value), separators=(",", ":"))


def from_json(text: str | bytes) -> Any:
    """Raises ValueError where the text is not what `to_json` writes."""
    try:
        return json.loads(text, object_hook=_made)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"unknown contents: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return {_CLASS: type(value).__name__, "name": value.name}
    if is_dataclass(value) and not isinstance(value, type):
        return {_CLASS: type(value).__name__} | {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {_CLASS: type(value).__name__} | {name: _plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, np.dtype):
        return {_CLASS: "dtype", "name": value.str}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {"items": [[_plain(k), _plain(v)] for k, v in value.items()], _CLASS: "dict"}
    return value


def _made(found: dict[str, Any]) -> Any:
    name = found.pop(_CLASS, None)
    if name is None:
        return found
    if name == "dtype":
        return np.dtype(found["name"])
    if name == "dict":
        return {_frozen(k): _frozen(v) for k, v in found["items"]}
    made = _classes()[name]
    if issubclass(made, enum.Enum):
        return made[found["name"]]
    return made(**{key: _frozen(value) for key, value in found.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
