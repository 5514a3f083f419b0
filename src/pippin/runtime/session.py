"""Session: one function of a model, specialized for this machine, with its way in and out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from time import perf_counter
from typing import Any

import numpy as np

from ..engines import Compiled
from ..errors import (
    FeatureShapeError,
    FeatureTypeError,
    FeatureValueError,
    MissingFeatureError,
    SpecificationError,
    UnexpectedFeatureError,
)
from ..features.decode import make_decode
from ..features.encode import Encoder, default_value, make_encoder
from ..format.description import FunctionDescription, MultiArray
from ..lowering.lowered_model import Lowered, Port, written_name
from ..specialization.artifacts import CompiledSegment, SegmentedModel
from ..support.cancellation import Stop
from ..trace import recorder


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
        self,
        function: FunctionDescription,
        lowered: Lowered,
        compiled: Compiled,
        name: str,
        segments: Sequence[CompiledSegment],
    ) -> None:
        """`name` is the model's, and `segments` the segments of `compiled`: what a trace shows."""
        self.function = function
        devices = tuple((segment.settings.device, segment.engine, segment.settings.precision) for segment in segments)
        self.subject: recorder.Subject = (next(recorder.numbers), name, function.name, devices)
        self.states: tuple[Port, ...] = lowered.states
        self._compiled = compiled
        self._written = tuple((name, written_name(name)) for name in lowered.written)
        self._tensors = tuple({port.tensor for port in lowered.outputs} | {output for _, output in self._written})
        self._checks = tuple((check.tensor, check.message) for check in lowered.checks)
        self._decode = make_decode(function.outputs, lowered.outputs, lowered.labels)
        self._inputs = _inputs(function, lowered)
        self._entries = tuple(self._inputs.items())
        self._ports = {port.name: port for port in lowered.outputs}
        self._described = tuple(feature.name for feature in function.outputs)
        self._kinds = {f.name: f.type for f in function.outputs if isinstance(f.type, MultiArray)}
        shapes = [(port.type.shape, port.dtype) for port in (*lowered.inputs, *lowered.outputs)]
        self.bytes: int | None = None
        """Of the inputs and outputs of a prediction; None where they are only known when it comes."""
        if all(shape is not None and None not in shape for shape, _ in shapes):
            self.bytes = sum(math.prod(d or 0 for d in shape or ()) * dtype.itemsize for shape, dtype in shapes)

    def run(
        self,
        features: Mapping[str, Any],
        state: dict[str, np.ndarray] | None = None,
        stop: Stop | None = None,
        backings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One prediction. `state` holds the arrays of the states and is updated, `backings` are the caller's arrays for
        some outputs. Asked to `stop`, it raises PredictionCancelled."""
        sink = recorder.sink
        if sink is not None:
            return self._recorded(sink, features, state, stop, backings)
        if state is None and not backings and not self._checks:
            return self._decode(self._compiled.run(self._encode(features), stop))
        into = self._into(backings) if backings else None
        arrays = self._compiled.run(self._encode(features) | (state or {}), stop, into)
        return self._outputs(arrays, state, backings)

    def _outputs(
        self, arrays: Mapping[str, np.ndarray], state: dict[str, np.ndarray] | None, backings: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        self._check(arrays)
        if state is not None:
            for name, output in self._written:
                state[name] = arrays[output]
        outputs = self._decode(arrays)
        for name, backing in (backings or {}).items():
            outputs[name] = _backed(name, outputs[name], backing)
        return outputs

    def _into(self, backings: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The backings that an engine may write into itself, by their ONNX names. Raises the errors of FeatureError."""
        into = {}
        for name, backing in backings.items():
            if name not in self._described:
                raise UnexpectedFeatureError(f"there is no output '{name}' (outputs are: {', '.join(self._described)})")
            kind = self._kinds.get(name)
            if kind is None or not isinstance(backing, np.ndarray) or not backing.flags.writeable:
                raise FeatureTypeError(
                    f"'{name}': a backing is a writeable numpy array, for an output that is a multiarray"
                )
            port = self._ports.get(name)
            if port is None or port.dtype != backing.dtype or port.type.shape != backing.shape or not backing.shape:
                continue
            if backing.flags.c_contiguous and backing.flags.aligned and kind.dtype.numpy == port.dtype:
                into[port.tensor] = backing
        return into

    def _recorded(
        self,
        sink: recorder.Sink,
        features: Mapping[str, Any],
        state: dict[str, np.ndarray] | None,
        stop: Stop | None,
        backings: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """`run`, with the time of each step."""
        marks: tuple[float, ...] = ()
        started = perf_counter()
        try:
            into = self._into(backings) if backings else None
            given = self._encode(features) | (state or {})
            encoded = perf_counter()
            if isinstance(self._compiled, SegmentedModel):
                arrays, marks = self._compiled.run_timed(given, stop, into)
            else:
                arrays = self._compiled.run(given, stop, into)
            computed = perf_counter()
            outputs = self._outputs(arrays, state, backings)
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
        arrays: dict[str, Any] = {}
        left = len(features)
        for name, entry in self._entries:
            if name in features:
                value: Any = entry.encode(features[name])
                left -= 1
            elif entry.default is not None:
                value = entry.default
            else:
                self._refuse_unknown(features)  # a name that is misspelt
                raise MissingFeatureError(f"the input '{name}' is missing; it is a {entry.description}")
            if entry.keys:
                arrays[name], arrays[entry.keys] = value
            else:
                arrays[name] = value
        if left:
            self._refuse_unknown(features)
        return arrays

    def _refuse_unknown(self, features: Mapping[str, Any]) -> None:
        for name in features:
            if name not in self._inputs:
                raise UnexpectedFeatureError(f"there is no input '{name}' (the inputs are: {', '.join(self._inputs)})")


def _backed(name: str, value: Any, backing: np.ndarray) -> np.ndarray:
    """The caller's array, with the value in it."""
    if np.may_share_memory(value, backing) and value.ctypes.data == backing.ctypes.data:
        return backing
    if value.shape != backing.shape or value.dtype != backing.dtype:
        raise FeatureShapeError(
            f"'{name}': the backing is {backing.dtype} of the shape {backing.shape}; the output is {value.dtype} of the"
            f" shape {value.shape}"
        )
    np.copyto(backing, value)
    return backing


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
