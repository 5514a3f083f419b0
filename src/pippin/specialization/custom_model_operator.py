"""Custom model operator: runs a custom model as one node of the Python engine, arrays in and arrays out.

It lives here rather than with the engine because it decodes and encodes features.
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
    """An instance of a registered custom model class. Raises UnsupportedModelError if the class is not registered,
    CompilationError if its constructor fails."""

    def __init__(self, class_name: str, parameters: Mapping[str, Any], weights: Sequence[np.ndarray]) -> None:
        from ..format.description import read_description
        from ..format.schema import messages
        from ..lowering.classical.custom_model import custom_ports

        message = messages("Model").Model.FromString(base64.b64decode(parameters["specification"]))
        function = read_description(message).function()
        values = {
            name: getattr(value, value.WhichOneof("value")) if value.WhichOneof("value") else None
            for name, value in message.customModel.parameters.items()
        }
        inputs, self._outputs = custom_ports(function)
        self._tensors = [tensor for port in inputs for tensor in port.tensors]
        self._decode = make_decode(function.inputs, inputs, None)
        described = {feature.name: feature for feature in function.outputs}
        self._encoders = [(port, make_encoder(described[port.name], port)) for port in self._outputs]
        model_class = class_of(class_name)
        try:
            self._model = model_class(values, function)
        except PippinError:
            raise
        except Exception as error:  # user code
            raise CompilationError(
                f"the custom model '{class_name}' cannot be created: {type(error).__name__}: {error}"
            ) from error

    def output_shapes(self, shapes: Sequence[Shape], outputs: int) -> list[Shape]:
        return [port.type.shape or () for port in self._outputs for _ in port.tensors]

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Raises PredictionError if the class fails, or if its result does not match the model description."""
        arrays = dict(zip(self._tensors, inputs, strict=True))
        features = self._decode(arrays)
        try:
            returned = self._model.predict(features)
        except Exception as error:  # user code
            raise PredictionError(f"{type(error).__name__}: {error}") from error
        if not isinstance(returned, Mapping):
            raise PredictionError(
                f"the custom model returned {type(returned).__name__}; it must return one value for each output"
            )
        results: list[np.ndarray] = []
        for port, encode in self._encoders:
            if port.name not in returned:
                raise PredictionError(
                    f"the custom model returned no '{port.name}' (it returned: {', '.join(map(str, returned))})"
                )
            try:
                value: Any = encode(returned[port.name])
            except FeatureError as error:
                raise PredictionError(f"output {error}") from error
            results += value if port.keys is not None else [value]
        return results


OPERATORS[_NODE] = CustomModelCode
