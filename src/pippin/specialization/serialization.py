"""Serialization: converts the dataclasses of a model's description and plan to JSON and back.

Only the classes listed here can be created from a file.
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
        lowered_model.IndexCheck, lowered_model.StateWrite,
        compute_plan.Candidate, compute_plan.PlannedOperation, compute_plan.PlannedSegment, compute_plan.ComputePlan,
    ]  # fmt: skip
    return {cls.__name__: cls for cls in listed}


def to_json(value: Any) -> str:
    return json.dumps(_to_plain(value), separators=(",", ":"))


def from_json(text: str | bytes) -> Any:
    """Inverse of `to_json`. Raises ValueError for any other text."""
    try:
        return json.loads(text, object_hook=_from_plain)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"unexpected JSON: {error}") from None


def _to_plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return {_CLASS: type(value).__name__, "name": value.name}
    if is_dataclass(value) and not isinstance(value, type):
        return {_CLASS: type(value).__name__} | {f.name: _to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {_CLASS: type(value).__name__} | {name: _to_plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, np.dtype):
        return {_CLASS: "dtype", "name": value.str}
    if isinstance(value, tuple | list):
        return [_to_plain(item) for item in value]
    if isinstance(value, dict):
        return {"items": [[_to_plain(k), _to_plain(v)] for k, v in value.items()], _CLASS: "dict"}
    return value


def _from_plain(values: dict[str, Any]) -> Any:
    name = values.pop(_CLASS, None)
    if name is None:
        return values
    if name == "dtype":
        return np.dtype(values["name"])
    if name == "dict":
        return {_frozen(k): _frozen(v) for k, v in values["items"]}
    cls = _classes()[name]
    if issubclass(cls, enum.Enum):
        return cls[values["name"]]
    return cls(**{key: _frozen(value) for key, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
