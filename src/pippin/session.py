"""Session: one function of a model, specialized for this machine, with its way in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from time import perf_counter
from typing import Any

import numpy as np

from .engines import Compiled
from .errors import FeatureValueError, MissingFeatureError, SpecificationError, UnexpectedFeatureError
from .features.decode import Decoder, make_decoders
from .features.encode import Encoder, default_value, make_encoder
from .format.description import FunctionDescription
from .lowering.lowered import Lowered, Port, written_name
from .specialization.parts import Part, Segmented
from .trace import recorder


@dataclass(frozen=True, slots=True)
class Input:
    encode: Encoder
    default: np.ndarray | tuple[np.ndarray, np.ndarray] | None
    description: str
    keys: str = ""
    """The tensor of a dictionary's keys; the encoder and the default then give (values, keys)."""


class Session:
    """Encoders, the compiled function, decoders. Nothing changes after construction: any thread may `run` it."""

    def __init__(
        self, function: FunctionDescription, lowered: Lowered, compiled: Compiled, name: str, parts: Sequence[Part]
    ) -> None:
        """`name` is the model's, and `parts` the segments of `compiled`: what a trace shows."""
        self.function = function
        devices = tuple((part.settings.device, part.engine, part.settings.precision) for part in parts)
        self.subject: recorder.Subject = (next(recorder.numbers), name, function.name, devices)
        self.states: tuple[Port, ...] = lowered.states
        self._compiled = compiled
        self._written = tuple((name, written_name(name)) for name in lowered.written)
        self._checks = tuple((check.tensor, check.message) for check in lowered.checks)
        self._tensors = tuple({port.tensor for port in lowered.outputs} | {output for _, output in self._written})
        self._decoders: Mapping[str, Decoder] = make_decoders(function.outputs, lowered.outputs, lowered.labels)
        self._inputs = _inputs(function, lowered)

    def run(self, features: Mapping[str, Any], state: dict[str, np.ndarray]) -> dict[str, Any]:
        """One prediction. `state` holds the arrays of the states and is updated."""
        sink = recorder.sink
        if sink is not None:
            return self._recorded(sink, features, state)
        arrays = self._compiled.run(self._encode(features) | state)
        self._check(arrays)
        for name, output in self._written:
            state[name] = arrays[output]
        return {name: decode(arrays) for name, decode in self._decoders.items()}

    def _recorded(
        self, sink: recorder.Sink, features: Mapping[str, Any], state: dict[str, np.ndarray]
    ) -> dict[str, Any]:
        """`run`, with the time of each step."""
        marks: tuple[float, ...] = ()
        started = perf_counter()
        try:
            given = self._encode(features) | state
            encoded = perf_counter()
            if isinstance(self._compiled, Segmented):
                arrays, marks = self._compiled.run_timed(given)
            else:
                arrays = self._compiled.run(given)
            computed = perf_counter()
            self._check(arrays)
            for name, output in self._written:
                state[name] = arrays[output]
            outputs = {name: decode(arrays) for name, decode in self._decoders.items()}
        except BaseException as error:
            sink((recorder.FAILURE, self.subject, started, perf_counter(), get_ident(), type(error).__name__))
            raise
        size = 0
        for array in given.values():
            size += array.nbytes
        for name in self._tensors:
            size += arrays[name].nbytes
        sink((recorder.PREDICTION, self.subject, started, perf_counter(), get_ident(), encoded, computed, marks, size))
        return outputs

    def _check(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raises FeatureValueError for a value that only the program could tell to be wrong."""
        for tensor, message in self._checks:
            if arrays[tensor].size:
                raise FeatureValueError(f"{message} {arrays[tensor].reshape(-1)[0]!s}")

    def _encode(self, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if not features.keys() <= self._inputs.keys():
            unknown = next(name for name in features if name not in self._inputs)
            raise UnexpectedFeatureError(f"there is no input '{unknown}' (the inputs are: {', '.join(self._inputs)})")
        arrays: dict[str, Any] = {}
        for name, entry in self._inputs.items():
            if name in features:
                value: Any = entry.encode(features[name])
            elif entry.default is not None:
                value = entry.default
            else:
                raise MissingFeatureError(f"the input '{name}' is missing; it is a {entry.description}")
            if entry.keys:
                arrays[name], arrays[entry.keys] = value
            else:
                arrays[name] = value
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
        name: Input(
            make_encoder(feature, ports[name]),
            default_value(feature, ports[name]),
            str(feature.type),
            ports[name].key_tensor if ports[name].keys is not None else "",
        )
        for name, feature in described.items()
    }
