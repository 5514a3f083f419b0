"""Imputer: something for what is missing.

Missing is what equals the value to be replaced. Without one it is NaN, an optional input that is not given, and, of
strings, the empty one. Source: `Imputer.proto`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import SpecificationError, UnsupportedModelError
from ...format.asset import Asset
from ...format.description import Dictionary, Double, FunctionDescription, Int64, MultiArray, String
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import ELEMENTS, FLOAT, INT, STRING, Classical, Pairs

# An optional integer that is not given needs some integer to stand for it.
_ABSENT = np.iinfo(np.int64).min


def lower_imputer(asset: Asset, function: FunctionDescription) -> Lowered:
    """A number, a string, an array or a dictionary with what is missing replaced: in an array by one number or by that
    of its place, in a dictionary by that of its key; an empty dictionary by the whole."""
    message = asset.specification.imputer
    replaced = message.WhichOneof("ReplaceValue")
    missing = getattr(message, replaced) if replaced else None
    defaults = {f.name: _absent(f.type) if missing is None else missing for f in function.inputs}
    if any(isinstance(f.type, Dictionary) for f in function.inputs):
        defaults = {}
    g = Classical(asset, function, defaults)
    feature, value = g.only_input()
    kind = message.WhichOneof("ImputedValue")
    if kind is None:
        raise SpecificationError(f"the {g.kind} has no value to put in")
    imputed = getattr(message, kind)
    if isinstance(value, Pairs):
        g.give(g.only_output, _pairs(g, value, kind, imputed, missing))
        return g.finished()
    if missing is None:
        missing = _absent(feature.type)
    dtype = STRING if value.dtype == STRING else INT if isinstance(feature.type, Int64) else FLOAT
    for given, what in ((missing, "replaces"), (_first(imputed), "puts in")):
        if isinstance(given, str) != (dtype == STRING):
            raise UnsupportedModelError(f"'{feature.name}' is a {feature.type}, but the {g.kind} {what} {given!r}")
    value = g.cast(value, dtype) if dtype != STRING else value
    g.give(g.only_output, g.Where(_is(g, value, missing), _instead(g, value, imputed, dtype), value))
    return g.finished()


def _absent(kind: Any) -> Any:
    match kind:
        case String():
            return ""
        case Int64():
            return _ABSENT
        case Double() | MultiArray():
            return np.nan
    return None


def _first(imputed: Any) -> Any:
    return next(iter(imputed.vector), 0.0) if hasattr(imputed, "vector") else imputed


def _is(g: Classical, value: Tensor, missing: Any) -> Tensor:
    if isinstance(missing, str):
        return g.Equal(value, g.strings([missing]))
    if missing != missing:
        return g.IsNaN(value)
    return g.Equal(value, np.array(missing, value.dtype))


def _instead(g: Classical, value: Tensor, imputed: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(imputed, str):
        return g.strings([imputed])
    if not hasattr(imputed, "vector"):
        return np.array(imputed, dtype)
    numbers, shape = np.array(imputed.vector, dtype), value.static_shape
    if len(numbers) == 1:
        return numbers.reshape(())
    if shape is None or np.prod(shape) != len(numbers):
        raise SpecificationError(f"the {g.kind} has {len(numbers)} numbers for an array of shape {value.shape}")
    return numbers.reshape(shape)


def _pairs(g: Classical, pairs: Pairs, kind: str, imputed: Any, missing: Any) -> Pairs:
    if kind not in ("imputedStringDictionary", "imputedInt64Dictionary"):
        raise UnsupportedModelError(f"the {g.kind} has {kind} for a dictionary")
    dtype = ELEMENTS["string" if kind == "imputedStringDictionary" else "int64"]
    if dtype != pairs.keys.dtype or isinstance(missing, str):
        raise SpecificationError(f"the {g.kind} has {kind} for a dictionary with keys of another type")
    known, values = list(imputed.map), np.array(list(imputed.map.values()), FLOAT)
    place = g.lookup(pairs.keys, known, range(len(known)), -1)
    replace = g.And(_is(g, pairs.values, np.nan if missing is None else missing), g.GreaterOrEqual(place, np.int64(0)))
    by_place = g.Gather(np.append(values, 0.0), g.Where(replace, place, np.int64(len(known))))
    empty = g.Expand(g.Equal(g.Shape(pairs.keys), np.int64(0)), np.array([len(known)], INT))
    all_keys = g.strings(known) if dtype == STRING else np.array(known, INT)
    return Pairs(
        g.Concat(pairs.keys, g.Compress(all_keys, empty, axis=0), axis=0),
        g.Concat(g.Where(replace, by_place, pairs.values), g.Compress(values, empty, axis=0), axis=0),
    )
