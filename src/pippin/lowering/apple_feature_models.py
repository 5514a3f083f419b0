"""Feature models: lowers Apple's own models to ONNX if their computation is public, else to a replacement call.

Sound preprocessing is the VGGish front end. Source: S. Hershey et al., "CNN architectures for large-scale audio
classification", 2017, and the parameters published with AudioSet. File formats:
`SoundAnalysisPreprocessing.proto`, `VisionFeaturePrint.proto`, `AudioFeaturePrint.proto`, `WordEmbedding.proto`,
`Gazetteer.proto`, `TextClassifier.proto`, `WordTagger.proto`.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import SpecificationError, UnsupportedModelError
from ..extend.feature_extractors import FeatureModel
from ..format.asset import Asset
from ..format.description import ColorSpace, FeatureDescription, FunctionDescription, Image, MultiArray, String
from ..format.description import Sequence as SequenceType
from ..types import DataType, Shape, TensorType
from .lowered_model import Lowered, Port, Source
from .onnx_builder import Graph, Tensor

_RATE, _WINDOW, _HOP, _SPECTRUM = 16_000, 400, 160, 512  # 25 ms every 10 ms
_BANDS, _LOWEST, _HIGHEST, _OFFSET = 64, 125.0, 7500.0, 0.01

REPLACEABLE = ("visionFeaturePrint", "audioFeaturePrint", "wordEmbedding", "gazetteer", "textClassifier", "wordTagger")
"""Kinds of model that run only through a replacement."""


def lower_sound_preprocessing(asset: Asset, function: FunctionDescription) -> Lowered:
    """log(mel spectrum + 0.01) of 16 kHz sound in [-1, 1], as [1, frames, 64]: 25 ms frames, 10 ms apart."""
    message = asset.specification.soundAnalysisPreprocessing
    kind = message.WhichOneof("SoundAnalysisPreprocessingType")
    if kind != "vggish":
        raise UnsupportedModelError(f"{asset.name}: sound preprocessing '{kind}' is not supported")
    if len(function.inputs) != 1 or len(function.outputs) != 1:
        raise SpecificationError(
            f"{asset.name}: sound preprocessing must have 1 input and 1 output,"
            f" got {len(function.inputs)} and {len(function.outputs)}"
        )
    (audio,), (output,) = function.inputs, function.outputs
    shape = audio.type.shape if isinstance(audio.type, MultiArray) else None
    if shape is None or prod(shape) < _WINDOW:
        raise SpecificationError(
            f"the input '{audio.name}' must hold at least {_WINDOW} sound samples, got {audio.type}"
        )
    g, x = Graph(), Tensor(audio.name, np.dtype(np.float32), shape)
    # A frame's Fourier transform is a convolution with windowed waves; it is zero-padded to 512 samples.
    waves = g.Conv(g.Reshape(x, [1, 1, -1]), _waves(), strides=[_HOP])
    real, imaginary = g.Split(g.Transpose(waves, perm=[0, 2, 1]), axis=2, num_outputs=2, outputs=2)
    magnitude = g.Sqrt(g.Add(g.Mul(real, real), g.Mul(imaginary, imaginary)))
    result = g.Log(g.Add(g.MatMul(magnitude, _mel_bands()), _OFFSET))
    described = output.type.shape if isinstance(output.type, MultiArray) else None
    if described is not None:
        if result.static_shape is None or np.prod(described) != np.prod(result.static_shape):
            raise SpecificationError(
                f"the output '{output.name}' has shape {result.shape}, but the description declares {described}"
            )
        result = g.Reshape(result, list(described))
    named = g.named(result, output.name)
    ports = [Port(t.name, TensorType(DataType.FLOAT32, t.shape), t.dtype) for t in (x, named)]
    source = Source(output.name, "soundAnalysisPreprocessing")
    model = g.model(function.name, [x], [named])
    return Lowered(function.name, model, (ports[0],), (ports[1],), (), (), None, sources=(source,))


def _waves() -> np.ndarray:
    """[514, 1, 400]: cosines, then sines, of frequency bins 0 to 256 of 512, under a periodic Hann window."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    phases = 2 * np.pi * np.outer(np.arange(_SPECTRUM // 2 + 1), np.arange(_WINDOW)) / _SPECTRUM
    return (np.concatenate([np.cos(phases), np.sin(phases)]) * window)[:, None].astype(np.float32)


def _mel_bands() -> np.ndarray:
    """[257, 64]: triangular filters, corners evenly spaced in mel = 1127 ln(1 + f / 700); frequency 0 is excluded."""
    frequencies = np.linspace(0, _RATE / 2, _SPECTRUM // 2 + 1)
    mel, edges = _mel(frequencies)[:, None], np.linspace(_mel(_LOWEST), _mel(_HIGHEST), _BANDS + 2)
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    bands = np.maximum(0, np.minimum(rising, falling))
    bands[0] = 0
    return np.asarray(bands, np.float32)


def _mel(frequency: Any) -> Any:
    return 1127 * np.log1p(np.asarray(frequency) / 700)


def lower_feature_model(asset: Asset, function: FunctionDescription) -> Lowered:
    """One node that calls the replacement. Raises UnsupportedModelError, with the fix, if none is registered."""
    kind, known, data = _described(asset)
    if len(function.inputs) != 1:
        raise SpecificationError(f"{asset.name}: a {kind} must have 1 input, got {len(function.inputs)}")
    (input_feature,) = function.inputs
    types = [_type(feature) for feature in function.outputs]
    parameters = {
        **known,
        "input": _input_kind(input_feature),
        "outputs": [feature.name for feature in function.outputs],
        "shapes": [shape for _, shape in types],
        "strings": [dtype.kind == "O" for dtype, _ in types],
    }
    try:
        FeatureModel(kind, parameters, data)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{asset.name} needs a replacement for {error}") from None
    g, (dtype, shape) = Graph(), _type(input_feature)
    g.label = kind
    x = Tensor(input_feature.name, dtype, shape)
    results = g.python("FeatureModel", kind, parameters, [x], data, types)
    named = [g.named(result, feature.name) for result, feature in zip(results, function.outputs, strict=True)]
    outputs = tuple(_port(feature, t) for feature, t in zip(function.outputs, named, strict=True))
    model = g.model(function.name, [x], named)
    return Lowered(
        function.name, model, (_port(input_feature, x),), outputs, (), (), None, sources=(Source(kind, kind),)
    )


def _described(asset: Asset) -> tuple[str, dict[str, Any], list[np.ndarray]]:
    """The kind under which its replacement is registered, and the parameters and data in the file."""
    name = asset.description.kind
    message = getattr(asset.specification, name)
    if name in ("visionFeaturePrint", "audioFeaturePrint"):
        part = message.WhichOneof(f"{name[0].upper()}{name[1:]}Type")
        if part is None:
            raise UnsupportedModelError(f"{asset.name}: the type of the {name} is missing")
        return f"{name}.{part}", {"revision": int(getattr(message, part).version)}, []
    known: dict[str, Any] = {"revision": int(message.revision), "language": str(message.language)}
    for labels in ("stringClassLabels", "stringTags"):
        if labels in message.DESCRIPTOR.fields_by_name:
            known["labels"] = list(getattr(message, labels).vector)
    return name, known, [np.frombuffer(message.modelParameterData, np.uint8)]


def _input_kind(feature: FeatureDescription) -> str:
    match feature.type:
        case Image(color=color):
            return color.name
        case String():
            return "string"
    return "array"


def _type(feature: FeatureDescription) -> tuple[np.dtype[Any], Shape]:
    match feature.type:
        case Image(width, height, color, sizes):
            channels = 3 if color in (ColorSpace.RGB, ColorSpace.BGR) else 1
            return np.dtype(np.float32), (1, channels, None, None) if sizes else (1, channels, height, width)
        case MultiArray(shape=shape, flexibility=flexibility):
            return np.dtype(np.float32), shape if shape is not None and flexibility is None else (None,)
        case String():
            return np.dtype(object), (1,)
        case SequenceType(element=element):
            return np.dtype(object if element == "string" else np.float32), (None,)
    raise UnsupportedModelError(f"'{feature.name}' is {feature.type}, which a replacement cannot take or return")


def _port(feature: FeatureDescription, tensor: Tensor) -> Port:
    declared = DataType.STRING if tensor.dtype == object else DataType.FLOAT32
    return Port(feature.name, TensorType(declared, tensor.shape), tensor.dtype)
