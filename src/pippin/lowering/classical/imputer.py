"""Imputer: lowers the model that replaces missing values.

A value is missing if it equals the model's replace value. If the model has none, NaN, the empty string and an absent
optional input are missing. Source: `Imputer.proto`.
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

# Placeholder for an absent optional integer; integers have no NaN.
_ABSENT = np.iinfo(np.int64).min


def lower_imputer(asset: Asset, function: FunctionDescription) -> Lowered:
    """Replace missing values in a number, string, array or dictionary.

    An array has one imputed value for all elements, or one for each; a dictionary has one for each key. An empty
    dictionary becomes the entire imputed one.
    """
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
        raise SpecificationError(f"the {g.kind} has no imputed value")
    imputed = getattr(message, kind)
    if isinstance(value, Pairs):
        g.give(g.only_output, _pairs(g, value, kind, imputed, missing))
        return g.finished()
    if missing is None:
        missing = _absent(feature.type)
    dtype = STRING if value.dtype == STRING else INT if isinstance(feature.type, Int64) else FLOAT
    for given, what in ((missing, "replaces"), (_first(imputed), "inserts")):
        if isinstance(given, str) != (dtype == STRING):
            raise UnsupportedModelError(
                f"'{feature.name}' is declared as {feature.type}, but the {g.kind} {what} {given!r}"
            )
    value = g.cast(value, dtype) if dtype != STRING else value
    g.give(g.only_output, g.Where(_equals(g, value, missing), _replacement(g, value, imputed, dtype), value))
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


def _equals(g: Classical, value: Tensor, missing: Any) -> Tensor:
    if isinstance(missing, str):
        return g.Equal(value, g.strings([missing]))
    if missing != missing:
        return g.IsNaN(value)
    return g.Equal(value, np.array(missing, value.dtype))


def _replacement(g: Classical, value: Tensor, imputed: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(imputed, str):
        return g.strings([imputed])
    if not hasattr(imputed, "vector"):
        return np.array(imputed, dtype)
    numbers, shape = np.array(imputed.vector, dtype), value.static_shape
    if len(numbers) == 1:
        return numbers.reshape(())
    if shape is None or np.prod(shape) != len(numbers):
        raise SpecificationError(f"the {g.kind} has {len(numbers)} imputed values for an array of shape {value.shape}")
    return numbers.reshape(shape)


def _pairs(g: Classical, pairs: Pairs, kind: str, imputed: Any, missing: Any) -> Pairs:
    if kind not in ("imputedStringDictionary", "imputedInt64Dictionary"):
        raise UnsupportedModelError(f"the {g.kind} cannot apply {kind} to a dictionary")
    dtype = ELEMENTS["string" if kind == "imputedStringDictionary" else "int64"]
    if dtype != pairs.keys.dtype or isinstance(missing, str):
        raise SpecificationError(f"{kind} of the {g.kind} does not match the key or value type of the dictionary")
    known, values = list(imputed.map), np.array(list(imputed.map.values()), FLOAT)
    place = g.lookup(pairs.keys, known, range(len(known)), -1)
    replace = g.And(
        _equals(g, pairs.values, np.nan if missing is None else missing), g.GreaterOrEqual(place, np.int64(0))
    )
    by_place = g.Gather(np.append(values, 0.0), g.Where(replace, place, np.int64(len(known))))
    empty = g.Expand(g.Equal(g.Shape(pairs.keys), np.int64(0)), np.array([len(known)], INT))
    all_keys = g.strings(known) if dtype == STRING else np.array(known, INT)
    return Pairs(
        g.Concat(pairs.keys, g.Compress(all_keys, empty, axis=0), axis=0),
        g.Concat(g.Where(replace, by_place, pairs.values), g.Compress(values, empty, axis=0), axis=0),
    )
