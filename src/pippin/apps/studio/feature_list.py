"""Predictions tab: inputs, outputs and states with their types, shapes, flexibility and descriptions."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from ...format.description import (
    Dictionary,
    EnumeratedShapes,
    FeatureDescription,
    Image,
    MultiArray,
    ShapeRange,
    State,
)
from ...format.description import Sequence as SequenceFeature
from .open_models import Opened
from .text import TextLabel
from .widgets import card, hint

_MANY = 12  # enumerated shapes listed


def build(opened: Opened) -> None:
    function = opened.function
    if len(opened.asset.description.functions) > 1:
        hint(f"Function {function.name}; choose another one above.")
    _features("Inputs", function.inputs)
    _features("Outputs", function.outputs, function.predicted_feature_name, function.predicted_probabilities_name)
    if function.states:
        _features("States", function.states)


def _features(title: str, features: Sequence[FeatureDescription], label: str = "", probabilities: str = "") -> None:
    with card(title, str(len(features))), ui.element("div").classes("features"):
        for feature in features:
            with ui.element("div").classes("feature"):
                with ui.element("div").classes("feature-head"):
                    TextLabel(feature.name).classes("code feature-name")
                    for mark, shown in (
                        ("optional", feature.optional),
                        ("predicted label", feature.name == label != ""),
                        ("probabilities", feature.name == probabilities != ""),
                    ):
                        if shown:
                            TextLabel(mark).classes("chip")
                TextLabel(type_of(feature)).classes("feature-type")
                if allowed := flexibility_of(feature):
                    TextLabel(allowed).classes("dim")
                if feature.doc:
                    TextLabel(feature.doc).classes("prose")


def type_of(feature: FeatureDescription) -> str:
    """Human-readable type with the default shape."""
    kind = feature.type.array if isinstance(feature.type, State) else feature.type
    match kind:
        case Image():
            return f"Image, {kind.color.name.lower().replace('_', ' ')}, {kind.width} × {kind.height}"
        case MultiArray():
            shape = "any shape" if kind.shape is None else " × ".join(map(str, kind.shape)) or "scalar"
            return f"MultiArray, {kind.dtype.value.replace('fp', 'float')}, {shape}"
        case Dictionary():
            return f"Dictionary, {kind.key} to double"
        case SequenceFeature():
            return f"Sequence of {kind.element}, length {kind.length}"
    return str(kind)


def flexibility_of(feature: FeatureDescription) -> str:
    """Other allowed shapes or sizes, or the default value of an optional input; "" if there are none."""
    kind = feature.type.array if isinstance(feature.type, State) else feature.type
    match kind:
        case MultiArray(flexibility=EnumeratedShapes(shapes)):
            written = [" × ".join(map(str, shape)) for shape in shapes[:_MANY]]
            return f"One of {len(shapes)} shapes: {', '.join(written)}{', …' if len(shapes) > _MANY else ''}"
        case MultiArray(flexibility=ShapeRange(ranges)):
            return f"Flexible: {' × '.join(str(size).replace('..', '–') for size in ranges)}"
        case Image() if kind.sizes:
            return f"Flexible: {kind.allowed.replace('..', '–').replace(' x ', ' × ')}"
        case MultiArray() if kind.default is not None:
            return f"default {kind.default:g}"
    return ""
