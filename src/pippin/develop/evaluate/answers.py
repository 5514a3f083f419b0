"""Answers: what a model says of one example, in the form that metrics compare and a file can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, UnsupportedModelError
from ...format.description import FeatureDescription, FunctionDescription, MultiArray
from ...runtime.model import Model
from ..data import Example, Task
from ..data.dataset import Box

_KEPT = 5  # of the most probable labels

Answer = Callable[[Mapping[str, Any], Example], Any]


def described_by(model: Model) -> FunctionDescription:
    return model.description.function(model.function_name)


def features_of(function: FunctionDescription, example: Example) -> dict[str, Any]:
    """The inputs of a prediction. A dictionary gives them by name, or the numbers of the only array in its order."""
    required = [feature for feature in function.inputs if not feature.optional] or list(function.inputs)
    value = example.value
    if not isinstance(value, Mapping):
        if len(required) != 1:
            names = ", ".join(feature.name for feature in required)
            raise DataError(f"{example.name}: it has one value, and the model takes {names}")
        return {required[0].name: value}
    known = {feature.name for feature in function.inputs}
    if all(feature.name in value for feature in required):
        return {name: each for name, each in value.items() if name in known}
    if len(required) == 1 and isinstance(required[0].type, MultiArray):
        return {required[0].name: _row(required[0], example.name, value)}
    missing = ", ".join(feature.name for feature in required if feature.name not in value)
    raise DataError(f"{example.name}: no column for the input {missing} (columns: {', '.join(map(str, value))})")


def _row(feature: FeatureDescription, name: str, value: Mapping[str, Any]) -> np.ndarray:
    assert isinstance(feature.type, MultiArray)
    try:
        numbers = np.array(list(value.values()), feature.type.dtype.numpy)
    except (TypeError, ValueError):
        raise DataError(f"{name}: not all columns are numbers, which '{feature.name}' takes") from None
    shape = feature.type.shape
    return numbers.reshape(shape) if shape and np.prod(shape) == numbers.size else numbers


def answer_for(task: Task, model: Model, output: str | None) -> Answer:
    """A function of outputs and example. Raises UnsupportedModelError if the model has no output for the task."""
    makers = {
        "classification": _label,
        "detection": _boxes,
        "segmentation": _confusions,
        "regression": _numbers,
        "transcription": _text,
        "image": _image,
        "other": _everything,
    }
    return makers[task](model, output)


def _label(model: Model, output: str | None) -> Answer:
    """The label and the probabilities: of a classifier, or the largest of an output's numbers by its index."""
    function = described_by(model)
    described = {feature.name: feature for feature in function.outputs}
    label = output or function.predicted_feature_name or next(iter(described))
    if label not in described:
        raise UnsupportedModelError(f"the model has no output '{label}' (outputs: {', '.join(described)})")
    names = model.labels

    def answer(outputs: Mapping[str, Any], example: Example) -> Any:
        found = outputs[label]
        probabilities = next((v for v in outputs.values() if isinstance(v, dict)), None)
        if isinstance(found, np.ndarray) and found.size > 1:
            scores = found.reshape(-1).astype(np.float64)
            order = np.argsort(-scores, kind="stable")[:_KEPT]
            word = [names[i] if names and i < len(names) else str(i) for i in order.tolist()]
            return {"label": str(word[0]), "top": [str(each) for each in word], "truth": None}
        if isinstance(found, np.ndarray):
            found = found.reshape(-1)[0].item()
        if probabilities is None:
            return {"label": str(found), "top": [str(found)], "truth": None}
        top = sorted(probabilities, key=lambda each: -probabilities[each])[:_KEPT]
        by_name = {str(each): float(p) for each, p in probabilities.items()}
        truth = by_name.get(str(example.truth))
        return {"label": str(found), "top": [str(each) for each in top], "truth": truth, "p": by_name.get(str(found))}

    return answer


def _boxes(model: Model, output: str | None) -> Answer:
    """The boxes of Core ML's own suppression: `confidence` and `coordinates` (centre, width and height as shares)."""
    names = {feature.name for feature in described_by(model).outputs}
    if not {"confidence", "coordinates"} <= names:
        raise UnsupportedModelError(
            f"boxes are read from the outputs confidence and coordinates, and the model has {', '.join(sorted(names))}"
        )
    labels = model.labels

    def answer(outputs: Mapping[str, Any], example: Example) -> Any:
        width, height = _size_of(example.value)
        confidence, coordinates = np.asarray(outputs["confidence"]), np.asarray(outputs["coordinates"], np.float64)
        found = []
        for scores, (x, y, w, h) in zip(confidence.reshape(len(coordinates), -1), coordinates, strict=True):
            best = int(scores.argmax())
            name = str(labels[best]) if labels and best < len(labels) else str(best)
            box = Box(name, (x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            found.append([*box, float(scores[best])])
        return found

    return answer


def _size_of(value: Any) -> tuple[int, int]:
    from PIL import Image

    if isinstance(value, str | Path):
        with Image.open(value) as image:
            return image.size
    if isinstance(value, np.ndarray):
        return value.shape[1], value.shape[0]
    width, height = value.size
    return width, height


def _confusions(model: Model, output: str | None) -> Answer:
    """For each pair of true and found class the number of pixels, at the size of the mask."""
    name = output or _only_array(model)

    def answer(outputs: Mapping[str, Any], example: Example) -> Any:
        truth = _mask(example.truth)
        found = _class_map(np.asarray(outputs[name]))
        rows = np.arange(truth.shape[0]) * found.shape[0] // truth.shape[0]
        columns = np.arange(truth.shape[1]) * found.shape[1] // truth.shape[1]
        pairs, counts = np.unique(
            np.stack([truth, found[rows][:, columns]], -1).reshape(-1, 2), axis=0, return_counts=True
        )
        return [[int(t), int(f), int(n)] for (t, f), n in zip(pairs, counts, strict=True)]

    return answer


def _class_map(array: np.ndarray) -> np.ndarray:
    """(height, width) of classes: the largest over the channels, or numbers above one half, or classes as they are."""
    if array.ndim > 3:
        array = array.reshape(array.shape[-3:])
    if array.ndim == 3 and array.shape[0] > 1:
        return np.asarray(array.argmax(0))
    array = array.reshape(array.shape[-2:])
    return (array > 0.5).astype(np.int64) if array.dtype.kind == "f" else array.astype(np.int64)


def _mask(truth: Any) -> np.ndarray:
    if not isinstance(truth, str | Path):
        return np.asarray(truth).astype(np.int64)
    from PIL import Image

    try:
        with Image.open(truth) as image:
            array = np.asarray(image if image.mode in ("L", "P", "1", "I") else image.convert("L")).astype(np.int64)
    except OSError as error:
        raise DataError(f"{truth} is no picture: {error}") from None
    return (array > 0).astype(np.int64) if set(np.unique(array).tolist()) <= {0, 1, 255} else array


def _numbers(model: Model, output: str | None) -> Answer:
    name = output or described_by(model).predicted_feature_name or _only_array(model, described_by(model).outputs)
    return lambda outputs, example: np.asarray(outputs[name], np.float64).reshape(-1).tolist()


def _text(model: Model, output: str | None) -> Answer:
    name = output or next(iter(described_by(model).outputs)).name
    return lambda outputs, example: str(outputs[name])


def _image(model: Model, output: str | None) -> Answer:
    """Peak signal-to-noise ratio in dB and structural similarity against the true image."""
    name = output or next(iter(described_by(model).outputs)).name

    def answer(outputs: Mapping[str, Any], example: Example) -> Any:
        from skimage import metrics

        truth, found = _picture(example.truth), _picture(outputs[name])
        if truth.shape != found.shape:
            raise DataError(f"{example.name}: the true image is {truth.shape}, and the model makes {found.shape}")
        axis = -1 if truth.ndim == 3 else None
        with np.errstate(divide="ignore"):
            noise = metrics.peak_signal_noise_ratio(truth, found, data_range=255)
        return [
            min(float(noise), 100.0),
            float(metrics.structural_similarity(truth, found, data_range=255, channel_axis=axis)),
        ]

    return answer


def _picture(value: Any) -> np.ndarray:
    from PIL import Image

    if isinstance(value, str | Path):
        with Image.open(value) as image:
            return np.asarray(image.convert("L" if image.mode == "L" else "RGB"))
    array = np.asarray(value)
    array = array.reshape(array.shape[-3:]) if array.ndim > 3 else array
    return np.moveaxis(array, 0, -1).squeeze() if array.ndim == 3 and array.shape[0] in (1, 3) else array


def _everything(model: Model, output: str | None) -> Answer:
    return lambda outputs, example: outputs[output] if output else outputs


def _only_array(model: Model, listed: Any = None) -> str:
    outputs = listed if listed is not None else described_by(model).outputs
    arrays = [feature.name for feature in outputs if isinstance(feature.type, MultiArray)] or [f.name for f in outputs]
    return str(arrays[0])
