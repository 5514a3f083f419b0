"""Custom models: a node that is a whole custom model, for the Python engine: features in, features out.

It stands here, and not beside the engine, since what it decodes and encodes are features.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..engines.python import OPERATORS
from ..errors import CompilationError, FeatureError, PippinError, PredictionError
from ..extend.custom_models import class_of
from ..features.decode import make_decode
from ..features.encode import make_encoder
from ..types import Shape

_NODE = "CustomModel"


class CustomModelCode:
    """One custom model of a loaded model. Raises UnsupportedModelError where its class is not registered, and
    CompilationError where it cannot be made."""

    def __init__(self, class_name: str, parameters: Mapping[str, Any], weights: Sequence[np.ndarray]) -> None:
        from ..format.description import read_description
        from ..format.schema import messages
        from ..lowering.classical.custom_model import custom_ports

        message = messages("Model").Model.FromString(base64.b64decode(parameters["specification"]))
        function = read_description(message).function()
        given = {
            name: getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else None
            for name, value in message.customModel.parameters.items()
        }
        inputs, self._outputs = custom_ports(function)
        self._tensors = [tensor for port in inputs for tensor in port.tensors]
        self._decode = make_decode(function.inputs, inputs, None)
        described = {feature.name: feature for feature in function.outputs}
        self._encoders = [(port, make_encoder(described[port.name], port)) for port in self._outputs]
        made = class_of(class_name)
        try:
            self._model = made(given, function)
        except PippinError:
            raise
        except Exception as error:  # whatever the class raises
            raise CompilationError(
                f"the custom model '{class_name}' cannot be made: {type(error).__name__}: {error}"
            ) from error

    def output_shapes(self, shapes: Sequence[Shape], outputs: int) -> list[Shape]:
        return [port.type.shape or () for port in self._outputs for _ in port.tensors]

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Raises PredictionError where the class fails, or gives what was not described."""
        arrays = dict(zip(self._tensors, inputs, strict=True))
        features = self._decode(arrays)
        try:
            found = self._model.predict(features)
        except Exception as error:  # whatever the class raises
            raise PredictionError(f"{type(error).__name__}: {error}") from error
        if not isinstance(found, Mapping):
            raise PredictionError(f"it gave a {type(found).__name__}; a value for each output is needed")
        results: list[np.ndarray] = []
        for port, encode in self._encoders:
            if port.name not in found:
                raise PredictionError(f"it gave no '{port.name}' (it gave: {', '.join(map(str, found))})")
            try:
                value: Any = encode(found[port.name])
            except FeatureError as error:
                raise PredictionError(f"its output {error}") from error
            results += value if port.keys is not None else [value]
        return results


OPERATORS[_NODE] = CustomModelCode
