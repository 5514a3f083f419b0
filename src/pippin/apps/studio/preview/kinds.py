"""Kinds: classifies a model by task, from its preview metadata or else from its feature types.

Metadata keys, types and parameters follow "Xcode Model Preview Types" in the coremltools guide; the types for tables,
text and sound are those written by Create ML.
"""

from __future__ import annotations

import json
import re
from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ....features.sound import declared_rate
from ....format.description import (
    Dictionary,
    Double,
    FeatureDescription,
    FunctionDescription,
    Image,
    Int64,
    ModelDescription,
    MultiArray,
    Sequence,
    String,
)

_TYPE, _PARAMETERS = "com.apple.coreml.model.preview.type", "com.apple.coreml.model.preview.params"
# Metadata keys in which exporters other than Apple's store class names.
_LABELS = ("classes", "names", "labels")
_SOUND = re.compile(r"audio|wave|sound|pcm|samples|speech", re.IGNORECASE)
_SHORTEST_SOUND = 128
_DEPTH = re.compile(r"depth|disparity", re.IGNORECASE)

TITLES = {
    "imageClassifier": "Image classifier",
    "imageToImage": "Image to image",
    "imageSegmenter": "Image segmentation",
    "objectDetector": "Object detection",
    "depthEstimation": "Depth estimation",
    "poseEstimation": "Pose estimation",
    "tabular": "Table",
    "text": "Text",
    "sound": "Sound",
    "arrays": "Arrays",
}
_DECLARED = {
    "tabularClassifier": "tabular",
    "tabularRegressor": "tabular",
    "textClassifier": "text",
    "wordTagger": "text",
    "soundClassifier": "sound",
    "bertQA": "arrays",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """Task of a model function."""

    name: str
    labels: tuple[str, ...] = ()
    """Class names by index."""
    colors: tuple[str, ...] = ()
    """Class colours as "#RRGGBB" by index."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sample_rate: int | None = None
    """Sample rate of its sounds in Hz, if the model states one."""

    @property
    def title(self) -> str:
        return TITLES[self.name]


def kind_of(description: ModelDescription, function: FunctionDescription) -> Kind:
    """Kind declared by the metadata if the features fit it, else a guess from the features."""
    user = description.metadata.user_defined
    found = _parsed(user.get(_PARAMETERS, ""))
    parameters = found if isinstance(found, dict) else {}
    declared = user.get(_TYPE, "")
    name = _DECLARED.get(declared, declared)
    if name not in TITLES or (name[:5] == "image" and not pictures(function)):
        name = _guessed(function)
    labels = _labels(parameters, user) or tuple(map(str, description.class_labels or ()))
    colors = tuple(str(color) for color in parameters.get("colors", ()))
    texts = (description.metadata.short_description, *(feature.doc for feature in function.inputs))
    return Kind(name, labels, colors, parameters, declared_rate(user, texts))


def pictures(function: FunctionDescription) -> list[FeatureDescription]:
    """Inputs that accept a picture."""
    return [feature for feature in function.inputs if control_of(feature) in ("image", "pixels")]


def control_of(feature: FeatureDescription) -> str:
    """Control for an input: "image", "pixels" (an array shaped like an image), "sound", "array", "number", "text",
    "dictionary" or "sequence"."""
    match feature.type:
        case Image():
            return "image"
        case MultiArray() as array if channels_of(array.shape or ()) and array.dtype.is_float:
            return "pixels"
        case MultiArray() as array if array.dtype.is_float and _is_sound(feature, array.shape or ()):
            return "sound"
        case Int64() | Double():
            return "number"
        case String():
            return "text"
        case Dictionary():
            return "dictionary"
        case Sequence():
            return "sequence"
    return "array"


def channels_of(shape: tuple[int, ...]) -> int:
    """Channels of a shape that looks like an image, [1,] 1 or 3 x height x width; else 0."""
    if len(shape) in (3, 4) and shape[-3] in (1, 3) and min(shape[-2:]) >= 8 and (len(shape) == 3 or shape[0] == 1):
        return shape[-3]
    return 0


def carried(function: FunctionDescription) -> dict[str, str]:
    """{output: input} pairs that carry state between predictions as features, such as new_hidden -> hidden."""
    stems = {_stem(feature.name): feature for feature in function.inputs if isinstance(feature.type, MultiArray)}
    found = {}
    for output in function.outputs:
        match = stems.get(_stem(output.name))
        if match is None or not isinstance(output.type, MultiArray) or not isinstance(match.type, MultiArray):
            continue
        if output.type.shape in (None, match.type.shape) and output.name != match.name:
            found[output.name] = match.name
    return found


def _stem(name: str) -> str:
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)
    return "_".join(
        word.lower() for word in words if word.lower() not in ("in", "out", "new", "next", "input", "output")
    )


def _guessed(function: FunctionDescription) -> str:
    outputs = {feature.name: feature.type for feature in function.outputs}
    inputs = [control_of(feature) for feature in function.inputs if not feature.optional]
    scored = bool(function.predicted_feature_name) or any(isinstance(t, Dictionary) for t in outputs.values())
    if pictures(function):
        if {"confidence", "coordinates"} <= outputs.keys():
            return "objectDetector"
        if scored:
            return "imageClassifier"
        if any(isinstance(t, Image) or channels_of(_shape(t)) == 3 for t in outputs.values()):
            return "imageToImage"
        if any(_DEPTH.search(name) for name in outputs):
            return "depthEstimation"
        if any(_is_mask(t) for t in outputs.values()):
            return "imageSegmenter"
        return "arrays"
    if "sound" in inputs:
        return "sound"
    if inputs and set(inputs) <= {"text", "dictionary"}:
        return "text" if len(inputs) == 1 else "tabular"
    if inputs and set(inputs) <= {"number", "text"}:
        return "tabular"
    return "arrays"


def _is_mask(kind: Any) -> bool:
    """Whether the shape holds one number per pixel, or one per class and pixel."""
    shape = tuple(size for size in _shape(kind) if size != 1)
    return len(shape) in (2, 3) and min(shape[-2:]) >= 16


def _shape(kind: Any) -> tuple[int, ...]:
    return (kind.shape or ()) if isinstance(kind, MultiArray) else ()


def _is_sound(feature: FeatureDescription, shape: tuple[int, ...]) -> bool:
    long = [size for size in shape if size != 1]
    named = _SOUND.search(feature.name) or _SOUND.search(feature.doc)
    return bool(named) and len(long) == 1 and long[0] >= _SHORTEST_SOUND


def _labels(parameters: Mapping[str, Any], user: Mapping[str, str]) -> tuple[str, ...]:
    candidates = [parameters.get("labels"), *(_parsed(user[key]) for key in _LABELS if key in user)]
    for found in candidates:
        if isinstance(found, Mapping) and found:
            return tuple(str(label) for _, label in sorted(found.items(), key=lambda row: int(row[0])))
        if isinstance(found, list | tuple) and found:
            return tuple(map(str, found))
    return ()


def _parsed(text: str) -> Any:
    """Parse JSON, Python literals or comma-separated names; {} for an empty text."""
    for parse in (json.loads, literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return text.split(",") if text else {}
