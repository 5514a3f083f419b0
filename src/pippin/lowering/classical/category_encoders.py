"""Category encoders: lowers one-hot encoding of strings and integers, and mappings between the two.

Source: `OneHotEncoder.proto`, `CategoricalMapping.proto`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import SpecificationError, UnsupportedModelError
from ...format.asset import Asset
from ...format.description import Dictionary, FeatureDescription, FunctionDescription
from ..lowered_model import Lowered
from ..onnx_builder import Tensor
from .feature_graph import FLOAT, INT, STRING, Classical, Pairs

_SHOWN = 8


def lower_one_hot_encoder(asset: Asset, function: FunctionDescription) -> Lowered:
    """One-hot encode a category as an array, or as a dictionary with one entry.

    An unknown category gives zeros (or an empty dictionary), or an error, as the model asks.
    """
    g = Classical(asset, function)
    feature, value = g.only_input()
    kind = g.message.WhichOneof("CategoryType")
    if kind is None:
        raise SpecificationError(f"the {g.kind} has no categories")
    categories: list[Any] = list(getattr(g.message, kind).vector)
    if len(set(categories)) != len(categories):
        raise SpecificationError(f"the {g.kind} has a duplicate category")
    category = _category(g, feature, value, kind == "stringCategories")
    place = g.lookup(category, categories, range(len(categories)), -1)
    known = g.GreaterOrEqual(place, np.int64(0))
    if g.message.handleUnknown == g.message.HandleUnknown.Value("ErrorOnUnknown"):
        g.refuse(g.Not(known), category, f"'{feature.name}' must be one of the categories {_preview(categories)}, got")
    if isinstance(g.only_output.type, Dictionary):
        ones = g.Compress(np.ones(1, FLOAT), known, axis=0)
        g.give(g.only_output, Pairs(g.Compress(place, known, axis=0), ones))
    else:
        g.give(g.only_output, g.cast(g.Equal(np.arange(len(categories)), place), FLOAT))
    return g.finished()


def lower_categorical_mapping(asset: Asset, function: FunctionDescription) -> Lowered:
    """Map strings to integers or integers to strings. An unknown key gives the default or, without one, an error."""
    g = Classical(asset, function)
    feature, value = g.only_input()
    kind = g.message.WhichOneof("MappingType")
    if kind is None:
        raise SpecificationError(f"the {g.kind} has no mapping")
    strings = kind == "stringToInt64Map"
    mapping: dict[Any, Any] = dict(getattr(g.message, kind).map)
    category = _category(g, feature, value, strings)
    unknown = g.message.WhichOneof("ValueOnUnknown")
    if unknown not in (None, "int64Value" if strings else "strValue"):
        raise SpecificationError(
            f"the {g.kind} has the default {getattr(g.message, unknown)!r}, which does not match the type of its values"
        )
    default: Any = getattr(g.message, unknown) if unknown else 0 if strings else ""
    if unknown is None:
        known = g.lookup(category, list(mapping), [1] * len(mapping), 0)
        message = f"'{feature.name}' must be one of {_preview(list(mapping))}, since the {g.kind} has no default, got"
        g.refuse(g.Equal(known, np.int64(0)), category, message)
    g.give(g.only_output, g.lookup(category, list(mapping), list(mapping.values()), default))
    return g.finished()


def _category(g: Classical, feature: FeatureDescription, value: Tensor | Pairs, string: bool) -> Tensor:
    """The value (1) as a string or an integer."""
    if isinstance(value, Pairs) or (value.dtype == STRING) != string:
        wanted = "strings" if string else "integers"
        raise UnsupportedModelError(f"'{feature.name}' is declared as {feature.type}, but this {g.kind} takes {wanted}")
    if value.dtype.kind == "f":
        message = f"'{feature.name}' must be an integer, got"
        g.refuse(g.Not(g.Equal(value, g.Round(value))), value, message)
    return g.Reshape(g.cast(value, STRING if string else INT), [-1])


def _preview(values: list[Any]) -> str:
    shown = ", ".join(repr(value) for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown}, ... ({len(values)} in all)"
