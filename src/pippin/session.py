"""Session: one function of a model, specialized for this machine, with its way in and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .configuration import Configuration
from .engines import Compiled, compile_model
from .errors import MissingFeatureError, PippinError, SpecificationError, UnexpectedFeatureError
from .features.decode import Decoder, make_decoders
from .features.encode import Encoder, default_value, make_encoder
from .format.asset import Asset
from .format.description import FunctionDescription
from .lowering import Lowered, Port, lower_model, written_name


def specialize(asset: Asset, configuration: Configuration) -> Session:
    """Read, lower and compile one function of a model.

    Raises the errors of FormatError, UnsupportedError, ConfigurationError and CompilationError.
    """
    description = asset.description.function(configuration.function_name)
    lowered = lower_function(asset, configuration)
    engine, compiled = compile_model(lowered, configuration.engine, configuration.threads)
    return Session(description, lowered, compiled, engine.name)


def lower_function(asset: Asset, configuration: Configuration) -> Lowered:
    """The ONNX model of the configured function, before any engine sees it."""
    description = asset.description.function(configuration.function_name)
    try:
        precision = np.float16 if configuration.precision == "float16" else np.float32
        return lower_model(asset, description, precision)
    except PippinError as error:
        error.add_note(f"in {asset.name}")
        raise


@dataclass(frozen=True, slots=True)
class Input:
    encode: Encoder
    default: np.ndarray | None
    description: str


class Session:
    """Encoders, the compiled function, decoders. Nothing changes after construction: any thread may `run` it."""

    def __init__(self, function: FunctionDescription, lowered: Lowered, compiled: Compiled, engine: str) -> None:
        self.function = function
        self.engine = engine
        self.states: tuple[Port, ...] = lowered.states
        self._compiled = compiled
        self._written = tuple((name, written_name(name)) for name in lowered.written)
        self._decoders: Mapping[str, Decoder] = make_decoders(function.outputs, lowered.outputs, lowered.labels)
        self._inputs = _inputs(function, lowered)

    def run(self, features: Mapping[str, Any], state: dict[str, np.ndarray]) -> dict[str, Any]:
        """One prediction. `state` holds the arrays of the states and is updated."""
        arrays = self._compiled.run(self._encode(features) | state)
        for name, output in self._written:
            state[name] = arrays[output]
        return {name: decode(arrays) for name, decode in self._decoders.items()}

    def _encode(self, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if not features.keys() <= self._inputs.keys():
            unknown = next(name for name in features if name not in self._inputs)
            raise UnexpectedFeatureError(f"there is no input '{unknown}' (the inputs are: {', '.join(self._inputs)})")
        arrays = {}
        for name, entry in self._inputs.items():
            if name in features:
                arrays[name] = entry.encode(features[name])
            elif entry.default is not None:
                arrays[name] = entry.default
            else:
                raise MissingFeatureError(f"the input '{name}' is missing; it is a {entry.description}")
        return arrays


def _inputs(function: FunctionDescription, lowered: Lowered) -> dict[str, Input]:
    ports = {port.name: port for port in lowered.inputs}
    described = {feature.name: feature for feature in function.inputs}
    if described.keys() != ports.keys():
        raise SpecificationError(
            f"the description names the inputs {', '.join(described) or 'none'},"
            f" but the program takes {', '.join(ports) or 'none'}"
        )
    return {
        name: Input(make_encoder(feature, ports[name]), default_value(feature, ports[name]), str(feature.type))
        for name, feature in described.items()
    }
