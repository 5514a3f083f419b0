"""Session: one model function specialized for this machine. Features go in, decoded outputs come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    PippinError,
    PredictionError,
    SpecificationError,
    StateError,
    UnexpectedFeatureError,
)
from ..features.decode import make_decode
from ..features.encode import Encoder, default_value, make_encoder
from ..features.image_input import ImageInput
from ..features.images import is_picture
from ..features.narrowed import narrowed
from ..format.description import FeatureDescription, FunctionDescription, Image, MultiArray
from ..lowering.lowered_model import Lowered, Port, refuse_outside
from ..specialization.artifacts import CompiledSegment, SegmentedModel
from ..specialization.nonfinite import StateArray
from ..support.boundary import described
from ..support.cancellation import Stop
from ..trace import recorder
from .failed_run import explained
from .state_writes import StateWrites

# An array's own methods take longer: 0.9 instead of 0.7 us.
_min, _max = np.minimum.reduce, np.maximum.reduce


@dataclass(frozen=True, slots=True)
class Input:
    encode: Encoder
    default: np.ndarray | tuple[np.ndarray, np.ndarray] | None
    description: str
    keys: str = ""
    """Tensor name for the keys of a dictionary input; if set, the encoder and the default give (values, keys)."""


class Session:
    """Encoders, the compiled function, decoders. Immutable after construction, so any thread may `run` it."""

    def __init__(
        self,
        function: FunctionDescription,
        lowered: Lowered,
        compiled: Compiled,
        name: str,
        segments: Sequence[CompiledSegment],
        operations: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`name` (the model's) and `segments` (of `compiled`) are shown in traces, `operations` (kinds by name) in
        errors."""
        self.function = function
        devices = tuple((segment.settings.device, segment.engine, segment.settings.precision) for segment in segments)
        self.subject: recorder.Subject = (next(recorder.numbers), name, function.name, devices)
        self.states: tuple[Port, ...] = lowered.states
        self._compiled = compiled
        self._lowered_inputs, self._operations = lowered.inputs, operations
        self._writes = StateWrites(lowered)
        self._tensors = tuple({port.tensor for port in lowered.outputs} | self._writes.tensors)
        self.content: Callable[[], str] = _no_content
        """The hash of the model's files, for saved states. Raises StateError if there is none."""
        self._checks = lowered.checks
        dtypes = {port.tensor: port.dtype for port in lowered.inputs}
        self._checked_before = tuple(
            (check, check.tensor, *check.limits(dtypes[check.tensor])) for check in lowered.index_checks if check.before
        )
        self._checked_after = tuple(check for check in lowered.index_checks if not check.before)
        self._has_checks = bool(self._checks or self._checked_after)
        self._decode = make_decode(function.outputs, lowered.outputs, lowered.labels)
        self._inputs = _inputs(function, lowered)
        self._entries = tuple(self._inputs.items())
        self._ports = {port.name: port for port in lowered.outputs}
        self._output_names = tuple(feature.name for feature in function.outputs)
        self._kinds = {f.name: f.type for f in function.outputs if isinstance(f.type, MultiArray)}
        shapes = [(port.type.shape, port.dtype) for port in (*lowered.inputs, *lowered.outputs)]
        self.bytes: int | None = None
        """Bytes of the inputs and outputs of one prediction; None if only known at prediction time."""
        if all(shape is not None and None not in shape for shape, _ in shapes):
            self.bytes = sum(math.prod(d or 0 for d in shape or ()) * dtype.itemsize for shape, dtype in shapes)

    def run(
        self,
        features: Mapping[str, Any],
        state: dict[str, StateArray] | None = None,
        stop: Stop | None = None,
        backings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Run one prediction. `state` holds the state arrays and is updated; `backings` are the caller's arrays for
        some outputs. Raises PredictionCancelled if `stop` was asked."""
        try:
            sink = recorder.sink
            if sink is not None:
                return self._run_traced(sink, features, state, stop, backings)
            if state is None and not backings and not self._has_checks:
                return self._decode(self._compiled.run(self._encode(features), stop))
            into = self._direct_backings(backings) if backings else None
            arrays = self._compiled.run(self._encode(features) | (state or {}), stop, into)
            return self._outputs(arrays, state, stop, backings)
        except PredictionError as error:
            told = explained(error, lambda: self._encode(features), self._lowered_inputs, self._operations)
            if told is error:
                raise
            raise told from error.__cause__
        except PippinError:
            raise
        except Exception as error:
            raise PredictionError(f"the prediction failed: {described(error)}") from error

    def warm_up(self, stop: Stop) -> None:
        """Run once with random features and new states. Raises PippinError."""
        from ..specialization.sample_inputs import example_features

        self._compiled.run(self.tensors(example_features(self.function)), stop)

    def tensors(self, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What the engine is given for these features, with new states. Raises FeatureError."""
        return self._encode(features) | {port.name: port.zeros() for port in self.states}

    def _outputs(
        self,
        arrays: Mapping[str, np.ndarray],
        state: dict[str, StateArray] | None,
        stop: Stop | None,
        backings: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        self._check(arrays)
        outputs = self._decode(arrays)
        for name, backing in (backings or {}).items():
            outputs[name] = _fill_backing(name, outputs[name], backing)
        if state is not None:  # last: what fails before this leaves the state as it was
            if stop is not None:
                stop.finish()
            self._writes.apply(state, arrays)
        return outputs

    def _direct_backings(self, backings: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The backings that the engine can write to directly, by ONNX name. Raises FeatureError."""
        into = {}
        for name, backing in backings.items():
            if name not in self._output_names:
                raise UnexpectedFeatureError(
                    f"the model has no output '{name}' (outputs: {', '.join(self._output_names)})"
                )
            kind = self._kinds.get(name)
            if kind is None or not isinstance(backing, np.ndarray) or not backing.flags.writeable:
                raise FeatureTypeError(
                    f"'{name}': an output backing must be a writable numpy array for a multiarray output"
                )
            port = self._ports.get(name)
            if port is None or port.dtype != backing.dtype or port.type.shape != backing.shape or not backing.shape:
                continue
            if backing.flags.c_contiguous and backing.flags.aligned and kind.dtype.numpy == port.dtype:
                into[port.tensor] = backing
        return into

    def _run_traced(
        self,
        sink: recorder.Sink,
        features: Mapping[str, Any],
        state: dict[str, StateArray] | None,
        stop: Stop | None,
        backings: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """`run` with a timestamp after each step, sent to the trace."""
        marks: tuple[float, ...] = ()
        started = perf_counter()
        try:
            into = self._direct_backings(backings) if backings else None
            tensors = self._encode(features) | (state or {})
            encoded = perf_counter()
            if isinstance(self._compiled, SegmentedModel):
                arrays, marks = self._compiled.run_timed(tensors, stop, into)
            else:
                arrays = self._compiled.run(tensors, stop, into)
            computed = perf_counter()
            outputs = self._outputs(arrays, state, stop, backings)
        except BaseException as error:
            sink((recorder.FAILURE, self.subject, started, perf_counter(), get_ident(), type(error).__name__))
            raise
        size = 0
        for array in tensors.values():
            size += array.nbytes
        for name in self._tensors:
            size += arrays[name].nbytes
        sink((recorder.PREDICTION, self.subject, started, perf_counter(), get_ident(), encoded, computed, marks, size))
        return outputs

    def _check(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise FeatureValueError for an input value that only the compiled program could detect as invalid, or
        PredictionError for a value that it computed, such as an index outside."""
        for check in self._checks:
            rejected = arrays[check.tensor]
            if rejected.size:
                kind = PredictionError if check.computed else FeatureValueError
                raise kind(f"{check.message} {rejected.reshape(-1)[0]!s}")
        refuse_outside(self._checked_after, arrays)

    def _encode(self, features: Mapping[str, Any]) -> dict[str, np.ndarray]:
        arrays: dict[str, Any] = {}
        unused = len(features)
        for name, entry in self._entries:
            if name in features:
                try:
                    value: Any = entry.encode(features[name])
                except PippinError:
                    raise
                except Exception as error:
                    raise FeatureValueError(f"'{name}' cannot be used: {described(error)}") from error
                unused -= 1
            elif entry.default is not None:
                value = entry.default
            else:
                self._refuse_unknown(features)  # a misspelt name is the likely cause
                raise MissingFeatureError(f"the input '{name}' is missing ({entry.description})")
            if entry.keys:
                arrays[name], arrays[entry.keys] = value
            else:
                arrays[name] = value
        if unused:
            self._refuse_unknown(features)
        for check, tensor, least, greatest in self._checked_before:
            array = arrays[tensor]
            if array.size and not (least <= _min(array, axis=None) and _max(array, axis=None) <= greatest):
                refuse_outside([check], arrays)
        return arrays

    def _refuse_unknown(self, features: Mapping[str, Any]) -> None:
        for name in features:
            if name not in self._inputs:
                raise UnexpectedFeatureError(f"the model has no input '{name}' (inputs: {', '.join(self._inputs)})")


def _no_content() -> str:
    raise StateError("the model has no files to know it by, so a state cannot be saved or loaded")


def _fill_backing(name: str, value: Any, backing: np.ndarray) -> np.ndarray:
    """Copy the value into the caller's array, unless the engine already wrote it there."""
    if np.may_share_memory(value, backing) and value.ctypes.data == backing.ctypes.data:
        return backing
    if value.shape != backing.shape or value.dtype != backing.dtype:
        raise FeatureShapeError(
            f"'{name}': the output backing must be {value.dtype} of shape {value.shape}, got {backing.dtype} of shape"
            f" {backing.shape}"
        )
    np.copyto(backing, value)
    return backing


def _inputs(function: FunctionDescription, lowered: Lowered) -> dict[str, Input]:
    ports = {port.name: port for port in lowered.inputs}
    described = {feature.name: feature for feature in function.inputs}
    if described.keys() != ports.keys():
        raise SpecificationError(
            f"the description declares the inputs {', '.join(described) or 'none'},"
            f" but the program takes {', '.join(ports) or 'none'}"
        )
    inputs = {}
    for name, feature in described.items():
        port, held = ports[name], narrowed(feature, ports[name])
        encode = make_encoder(held, port)
        inputs[name] = Input(
            encode if held is feature else _held(encode, feature),
            default_value(held, port),
            str(held.type),
            port.key_tensor if port.keys is not None else "",
        )
    return inputs


def _held(encode: Encoder, feature: FeatureDescription) -> Encoder:
    """The encoder of a feature whose description allows more than the program takes, with errors that say so. A picture
    is only resized if that was asked for, since its size may be one that the description allows."""
    image = isinstance(feature.type, Image)

    def encode_and_say(value: Any) -> Any:
        try:
            return encode(ImageInput(value, "error") if image and is_picture(value) else value)
        except FeatureShapeError as error:
            raise FeatureShapeError(f"{error}; the model describes {feature.type}, its program is fixed") from None

    return encode_and_say
