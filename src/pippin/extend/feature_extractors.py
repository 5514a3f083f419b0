"""Feature extractors: what stands in for the models whose weights or code are in Apple's systems, not in the file.

features = pippin.load("my-image-features.mlpackage")         # an image to a vector of 2,048 numbers
pippin.replace_feature_extractor("visionFeaturePrint.scene", features)
pippin.load("cats-and-dogs.mlmodel").predict({"image": "cat.jpg"})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigurationError, PippinError, PredictionError, UnsupportedModelError

if TYPE_CHECKING:  # the package imports this file: it should cost little
    from ..types import Shape

KINDS: Mapping[str, str] = {
    "visionFeaturePrint.scene": "its weights are in Apple's Vision framework, not in the file",
    "visionFeaturePrint.objects": "its weights are in Apple's Vision framework, not in the file",
    "audioFeaturePrint.sound": "its weights are in Apple's Sound Analysis framework, not in the file",
    **dict.fromkeys(
        ("wordEmbedding", "gazetteer", "textClassifier", "wordTagger"),
        "how its parameters are read, and how text becomes words, is known to Apple's Natural Language framework alone",
    ),
}
"""The kinds that can be replaced, and why they must be."""

_replacements: dict[str, Callable[..., Any]] = {}


def replace_feature_extractor(kind: str, replacement: Any) -> None:
    """Compute a kind of Apple's own models by something else, in every model that is loaded from now on.

    `kind` is one of `pippin.extend.feature_extractors.KINDS`. `replacement` is a function or a `pippin.Model`; None takes
    one back. A function is called with the value of the model's input: a Pillow image (RGB), a string, or an array. It
    gives the value of the output: an array (float32) of the described shape, a string, or a list; for several outputs
    a dictionary by their names. Where its signature names them it gets, by keyword, `revision`, `language`, `labels` (a
    list) and `data` (uint8: the parameters in the file). A Model is given its only input, and gives its only output, or
    all by their names. Several threads may call at once.

    What a classifier behind a replacement says is worth something only where that gives what the classifier was trained
    on: replace the classifier as well where it does not.

    Raises ConfigurationError for a kind that there is not, or something that cannot be called.
    """
    if kind not in KINDS:
        raise ConfigurationError(f"no feature extractor '{kind}' (there are: {', '.join(KINDS)})")
    if replacement is None:
        _replacements.pop(kind, None)
    elif hasattr(replacement, "predict"):
        _replacements[kind] = _of_model(replacement)
    elif callable(replacement):
        _replacements[kind] = replacement
    else:
        raise ConfigurationError(f"'{kind}': a {type(replacement).__name__} is neither a function nor a model")


def _of_model(model: Any) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        inputs = model.description.function().inputs
        if len(inputs) != 1:
            raise ConfigurationError(f"the replacement has {len(inputs)} inputs; one is needed")
        outputs = model.predict({inputs[0].name: value})
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    return call


class FeatureModel:
    """One replaced model. Raises UnsupportedModelError, with the way out, where nothing is given for its kind."""

    def __init__(self, kind: str, parameters: Mapping[str, Any], weights: Sequence[np.ndarray]) -> None:
        if kind not in _replacements:
            raise UnsupportedModelError(
                f"{kind}: {KINDS[kind]}; give what is to be computed in its place with"
                f" pippin.replace_feature_extractor('{kind}', a function or another model)"
            )
        self._kind, self._parameters, self._code = kind, parameters, _replacements[kind]
        known = {name: parameters[name] for name in ("revision", "language", "labels") if name in parameters}
        known["data"] = weights[0] if weights else np.zeros(0, np.uint8)
        from inspect import signature

        wanted = signature(self._code).parameters
        self._extra = {name: value for name, value in known.items() if name in wanted}

    def output_shapes(self, shapes: Sequence[Shape], outputs: int) -> list[Shape]:
        return [tuple(shape) for shape in self._parameters["shapes"]]

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        names = self._parameters["outputs"]
        try:
            found = self._code(self._value(inputs[0]), **self._extra)
            values = found if isinstance(found, Mapping) else dict.fromkeys(names[:1], found)
            return [self._array(values[name], i) for i, name in enumerate(names)]
        except KeyError as error:
            raise PredictionError(f"the replacement of {self._kind} does not give {error}") from error
        except PippinError:
            raise
        except Exception as error:
            raise PredictionError(f"the replacement of {self._kind} failed: {type(error).__name__}: {error}") from error

    def _value(self, array: np.ndarray) -> Any:
        """The input as people give it."""
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
