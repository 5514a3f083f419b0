"""Feature extractors: a registry of replacements for models whose weights or code are in Apple's systems.

features = pippin.load("my-image-features.mlpackage")         # image to a vector of 2,048 numbers
pippin.replace_feature_extractor("visionFeaturePrint.scene", features)
pippin.load("cats-and-dogs.mlmodel").predict({"image": "cat.jpg"})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigurationError, PippinError, PredictionError, UnsupportedModelError

if TYPE_CHECKING:  # `import pippin` imports this file, so keep it cheap
    from ..types import Shape

KINDS: Mapping[str, str] = {
    "visionFeaturePrint.scene": "its weights are in Apple's Vision framework, not in the file",
    "visionFeaturePrint.objects": "its weights are in Apple's Vision framework, not in the file",
    "audioFeaturePrint.sound": "its weights are in Apple's Sound Analysis framework, not in the file",
    **dict.fromkeys(
        ("wordEmbedding", "gazetteer", "textClassifier", "wordTagger"),
        "only Apple's Natural Language framework knows how to read its parameters and split text into words",
    ),
}
"""The kinds that can be replaced, and why the file alone is not enough."""

_replacements: dict[str, Callable[..., Any]] = {}


def replace_feature_extractor(kind: str, replacement: Any) -> None:
    """Replace one kind of Apple's built-in models in every model loaded from now on.

    `kind` is one of `pippin.extend.feature_extractors.KINDS`. `replacement` is a function or a `pippin.Model`; None
    removes a replacement. A function is called with the input value: a Pillow image (RGB), a string, or an array. It
    returns the output value: a float32 array of the described shape, a string, or a list; for several outputs, a
    dictionary by name. If its signature names them, it receives the keyword arguments `revision`, `language`, `labels`
    (a list) and `data` (uint8: the parameters in the file). A Model must have one input, and returns its single output,
    or all outputs by name. Replacements are called concurrently from several threads.

    A classifier behind a replacement is only meaningful if the replacement computes the features it was trained on;
    otherwise replace the classifier as well.

    Raises ConfigurationError for an unknown kind or a replacement that cannot be called.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"unknown feature extractor '{kind}'; it must be one of {', '.join(KINDS)}")
    if replacement is None:
        _replacements.pop(kind, None)
    elif hasattr(replacement, "predict"):
        _replacements[kind] = _of_model(replacement)
    elif callable(replacement):
        _replacements[kind] = replacement
    else:
        raise ConfigurationError(
            f"'{kind}': the replacement must be a function or a model, got {type(replacement).__name__}"
        )


def _of_model(model: Any) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        inputs = model.description.function().inputs
        if len(inputs) != 1:
            raise ConfigurationError(f"the replacement model must have one input, got {len(inputs)}")
        outputs = model.predict({inputs[0].name: value})
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    return call


class FeatureModel:
    """One replaced model. Raises UnsupportedModelError, with the remedy, if its kind has none."""

    def __init__(self, kind: str, parameters: Mapping[str, Any], weights: Sequence[np.ndarray]) -> None:
        if kind not in _replacements:
            raise UnsupportedModelError(
                f"{kind}: {KINDS[kind]}; supply a replacement with"
                f" pippin.replace_feature_extractor('{kind}', function or model)"
            )
        self._kind, self._parameters, self._code = kind, parameters, _replacements[kind]
        known = {name: parameters[name] for name in ("revision", "language", "labels") if name in parameters}
        known["data"] = weights[0] if weights else np.zeros(0, np.uint8)
        from inspect import signature

        accepted = signature(self._code).parameters
        self._extra = {name: value for name, value in known.items() if name in accepted}

    def output_shapes(self, shapes: Sequence[Shape], outputs: int) -> list[Shape]:
        return [tuple(shape) for shape in self._parameters["shapes"]]

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        names = self._parameters["outputs"]
        try:
            result = self._code(self._value(inputs[0]), **self._extra)
            values = result if isinstance(result, Mapping) else dict.fromkeys(names[:1], result)
            return [self._array(values[name], i) for i, name in enumerate(names)]
        except KeyError as error:
            raise PredictionError(f"the replacement for {self._kind} did not return {error}") from error
        except PippinError:
            raise
        except Exception as error:
            raise PredictionError(
                f"the replacement for {self._kind} failed: {type(error).__name__}: {error}"
            ) from error

    def _value(self, array: np.ndarray) -> Any:
        """The input as the caller passed it."""
        kind = self._parameters["input"]
        if kind == "string":
            return array.reshape(-1)[0]
        if kind == "array":
            return array
        import PIL.Image

        pixels = array[0].transpose(1, 2, 0).astype(np.uint8)
        return PIL.Image.fromarray(np.ascontiguousarray(pixels[:, :, :: -1 if kind == "BGR" else 1]))

    def _array(self, value: Any, number: int) -> np.ndarray:
        shape = self._parameters["shapes"][number]
        strings = self._parameters["strings"][number]
        array = np.array([value] if isinstance(value, str) else value, object if strings else np.float32)
        fits = None not in shape and array.size == int(np.prod(shape))
        return array.reshape(shape) if fits else array
