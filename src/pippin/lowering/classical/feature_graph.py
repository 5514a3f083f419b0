"""Feature graph: builds the ONNX graph of a classical model, from its features as tensors to its outputs as features.

A number is a tensor of one element, a string a tensor of one ONNX string, and a sequence a vector of them. A dictionary
is two tensors, keys and values. Computation is in float64, as in Core ML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ...errors import SpecificationError, UnsupportedModelError
from ...format.asset import Asset
from ...format.description import (
    Dictionary,
    Double,
    FeatureDescription,
    FunctionDescription,
    Int64,
    MultiArray,
    String,
)
from ...format.description import Sequence as SequenceType
from ...types import DataType, TensorType
from ..lowered_model import Check, Labels, Lowered, Port, Source, check_labels, output_name
from ..onnx_builder import Graph, Tensor

FLOAT = np.dtype(np.float64)
INT = np.dtype(np.int64)
STRING = np.dtype(object)
ELEMENTS = {"string": STRING, "int64": INT}
_DECLARED = {FLOAT: DataType.FLOAT64, INT: DataType.INT64, STRING: DataType.STRING}


@dataclass(frozen=True, slots=True)
class Pairs:
    """A dictionary as keys (n) and values (n) in the same order."""

    keys: Tensor
    values: Tensor


def feature_port(feature: FeatureDescription, default: Any = None) -> Port:
    """The port of a classical model's feature.

    `default` replaces a missing optional feature; without it, a missing number or array is NaN. Raises
    UnsupportedModelError for an image.
    """
    optional = feature.optional
    match feature.type:
        case Double():
            return Port(feature.name, TensorType(DataType.FLOAT64, (1,)), FLOAT, default=_default(optional, default))
        case Int64() if optional and default is None:  # float64, since no integer means missing
            return Port(feature.name, TensorType(DataType.FLOAT64, (1,)), FLOAT, default=np.nan)
        case Int64():
            return Port(feature.name, TensorType(DataType.INT64, (1,)), INT, default=default if optional else None)
        case String():
            default = ("" if default is None else default) if optional else None
            return Port(feature.name, TensorType(DataType.STRING, (1,)), STRING, default=default)
        case Dictionary(key):
            return Port(feature.name, TensorType(DataType.FLOAT64, (None,)), FLOAT, keys=ELEMENTS[key])
        case SequenceType(element):
            dtype = ELEMENTS[element]
            return Port(feature.name, TensorType(_DECLARED[dtype], (None,)), dtype)
        case MultiArray(dtype) as kind:
            found = dtype if dtype in (DataType.FLOAT64, DataType.INT32) else DataType.FLOAT32
            default = _default(optional and kind.default is None and dtype.is_float, default)
            return Port(feature.name, TensorType(found, kind.sizes), found.numpy, default=default)
    raise UnsupportedModelError(f"'{feature.name}' is declared as {feature.type}, which a classical model cannot use")


def _default(optional: bool, default: Any) -> Any:
    return (np.nan if default is None else default) if optional else None


class Classical(Graph):
    """The graph of one model.

    `missing` maps optional inputs to their defaults, `always` any input. `further` lists inputs that the model takes
    but does not declare. `keys` is the element type of dictionary keys, if the model itself defines it.
    """

    def __init__(
        self,
        asset: Asset,
        function: FunctionDescription,
        missing: Mapping[str, Any] | None = None,
        always: Mapping[str, Any] | None = None,
        further: Sequence[FeatureDescription] = (),
        keys: np.dtype[Any] | None = None,
    ) -> None:
        super().__init__()
        self.asset, self.function = asset, function
        self.kind = asset.description.kind
        self.message: Any = getattr(asset.specification, self.kind)
        self.label = self.kind
        ports = [feature_port(f, (missing or {}).get(f.name)) for f in (*function.inputs, *further)]
        ports = [replace(p, default=(always or {}).get(p.name, p.default)) for p in ports]
        self._ports = [p if p.keys is None or keys is None else replace(p, keys=keys) for p in ports]
        self._results: list[tuple[Port, Tensor]] = []
        self._further: list[Tensor] = []
        self._checks: list[Check] = []
        self.threads = 1

    @cached_property
    def inputs(self) -> dict[str, Tensor | Pairs]:
        """All inputs by name."""
        return {port.name: _value(port) for port in self._ports}

    def described(self, name: str) -> FeatureDescription:
        """The declared input of this name. Raises SpecificationError if there is none."""
        for feature in self.function.inputs:
            if feature.name == name:
                return feature
        known = ", ".join(self.inputs) or "none"
        raise SpecificationError(f"the model takes '{name}', but the declared inputs are: {known}")

    def input(self, name: str) -> Tensor | Pairs:
        """The value of an input. Raises SpecificationError for a name that is not declared."""
        return self.inputs[self.described(name).name]

    def only_input(self) -> tuple[FeatureDescription, Tensor | Pairs]:
        """The single input of a transformer. Raises SpecificationError if it has none or several, or no output."""
        if len(self.function.inputs) != 1 or not self.function.outputs:
            raise SpecificationError(
                f"the {self.kind} must have one input and at least one output,"
                f" got {len(self.function.inputs)} and {len(self.function.outputs)}"
            )
        feature = self.function.inputs[0]
        return feature, self.inputs[feature.name]

    @property
    def only_output(self) -> FeatureDescription:
        if not self.function.outputs:
            raise SpecificationError(f"the {self.kind} describes no output")
        return self.function.outputs[0]

    def number(self, value: Tensor | Pairs, name: str) -> Tensor:
        """Cast numbers to float64. Raises UnsupportedModelError for strings and dictionaries."""
        if isinstance(value, Pairs) or value.dtype == STRING:
            kind = self.described(name).type if name in self.inputs else "a non-numeric value"
            raise UnsupportedModelError(f"'{name}' is declared as {kind}, but this {self.kind} takes numbers")
        return self.cast(value, FLOAT)

    def row(self, count: int | None = None) -> Tensor:
        """All numbers of all inputs, in order, as one row (1, n). Raises SpecificationError if n is not `count`."""
        names = list(self.inputs)
        if not names:
            raise SpecificationError(f"the {self.kind} has no inputs")
        rows = [self.number(self.inputs[name], name) for name in names]
        sizes = [None if t.static_shape is None else prod(t.static_shape) for t in rows]
        known = None if None in sizes else sum(size or 0 for size in sizes)
        if count is not None and known is not None and known != count:
            raise SpecificationError(f"the {self.kind} needs {count} numbers, but its inputs provide {known}")
        size = count if known is None else known
        flat = [t if t.rank == 1 else self.Reshape(t, [-1]) for t in rows] if len(rows) > 1 else rows
        return self.Reshape(flat[0] if len(flat) == 1 else self.Concat(*flat, axis=0), [1, size or -1])

    def strings(self, values: Iterable[str]) -> Tensor:
        """A constant vector of strings."""
        return self.tensor(np.array(list(values), object))

    def lookup(self, keys: Tensor, known: Sequence[Any], values: Sequence[Any], default: Any) -> Tensor:
        """The value for each key, or `default` for an unknown one. Keys and values are strings or integers."""
        named = {STRING: "keys_strings", INT: "keys_int64s"}[keys.dtype]
        strings = isinstance(default, str)
        attributes = {
            named: list(known),
            "values_strings" if strings else "values_int64s": list(values),
            "default_string" if strings else "default_int64": default,
        }
        if not known:  # LabelEncoder accepts no empty list of keys
            shape = self.shape_of(keys)
            return self.Expand(self.strings([default]) if strings else np.array([default], INT), shape)
        dtype = STRING if strings else INT
        return self.other("ai.onnx.ml", "LabelEncoder", [keys], [(dtype, keys.shape)], **attributes)[0]

    def refuse(self, wrong: Any, values: Tensor, message: str) -> None:
        """Fail a prediction if any of `wrong` (n) is true; the first such of `values` (n) follows the message."""
        name = f"{self.kind}/check{len(self._checks)}"
        found = self.Compress(self.Reshape(values, [-1]), self.Reshape(wrong, [-1]), axis=0)
        self._further.append(self.named(self.Identity(found), name))
        self._checks.append(Check(name, message))

    def give(self, feature: FeatureDescription, value: Tensor | Pairs) -> None:
        """Set an output, converted to its declared type.

        Raises UnsupportedModelError if the value does not fit the declared type.
        """
        port = feature_port(feature)
        tensor = output_name(port.name, self._ports)
        if isinstance(value, Pairs) != (port.keys is not None):
            raise UnsupportedModelError(
                f"the output '{feature.name}' is declared as {feature.type}, but this {self.kind} returns"
                f" {'a dictionary' if isinstance(value, Pairs) else 'no dictionary'}"
            )
        if isinstance(value, Pairs):
            if value.keys.dtype != port.keys:
                raise UnsupportedModelError(
                    f"the keys of the output '{feature.name}' do not match its declared type {feature.type}"
                )
            made = Port(port.name, port.type, FLOAT, tensor, keys=port.keys)
            self._add(made, self.cast(value.values, FLOAT))
            self._further.append(self.named(self.Identity(value.keys), made.key_tensor))
            return
        if (value.dtype == STRING) != (port.dtype == STRING):
            raise UnsupportedModelError(
                f"the output '{feature.name}' is declared as {feature.type}, but its value is {value.dtype}"
            )
        value = self._as_declared(feature, value)
        self._add(Port(port.name, TensorType(_declared(value.dtype), value.shape), value.dtype, tensor), value)

    def classify(self, scores: Tensor, classes: Sequence[Any], probabilities: bool = True, padding: int = 0) -> Labels:
        """The label of the highest score (1, n). The scores are also the probabilities, if those are an output.

        The last `padding` scores belong to no class. Raises SpecificationError unless there is a label for each of
        the others, and for a probabilities output if `probabilities` is false.
        """
        size = None if scores.shape is None else scores.shape[-1]
        if not classes or scores.shape is None or size not in (None, len(classes) + padding):
            count = "?" if size is None else size - padding
            raise SpecificationError(f"the {self.kind} has {len(classes)} class labels for {count} scores")
        check_labels(classes, self.kind, few=True)
        label = self.function.predicted_feature_name or self.only_output.name
        described = {feature.name for feature in self.function.outputs}
        name = self.function.predicted_probabilities_name
        if not name:  # files from 2017 do not name the probabilities output
            name = next((f.name for f in self.function.outputs if isinstance(f.type, Dictionary)), "")
        wanted = name if name in described else None
        if wanted and not probabilities:
            raise SpecificationError(
                f"the output '{wanted}' needs probabilities, but the {self.kind} has no parameters for them"
            )
        port = Port(f"{label}/probabilities", TensorType(_declared(scores.dtype), scores.shape), scores.dtype)
        self._add(port, scores)
        return Labels(port.name, tuple(classes), label, wanted)

    def finished(self, labels: Labels | None = None) -> Lowered:
        named = [self.named(self.Identity(value), port.tensor) for port, value in self._results]
        inputs = [tensor for port in self._ports for tensor in _tensors(port)]
        outputs = tuple(port for port, _ in self._results)
        missing = {f.name for f in self.function.outputs} - {p.name for p in outputs}
        missing -= {labels.label_output, labels.probabilities_output} if labels else set()
        if missing:
            raise SpecificationError(
                f"the output '{min(missing)}' is declared, but the {self.kind} does not produce it"
            )
        return Lowered(
            name=self.function.name,
            model=self.model(self.function.name, inputs, [*named, *self._further]),
            inputs=tuple(self._ports),
            outputs=outputs,
            states=(),
            written=(),
            labels=labels,
            sources=(Source(self.kind, self.kind),),
            threads=self.threads,
            checks=tuple(self._checks),
        )

    def _add(self, port: Port, value: Tensor) -> None:
        self._results.append((port, value))

    def _as_declared(self, feature: FeatureDescription, value: Tensor) -> Tensor:
        match feature.type:
            case Double() if value.static_shape is not None and prod(value.static_shape) == 1:
                return self.cast(value, FLOAT)
            case Double() | String():
                return self.Reshape(value if value.dtype == STRING else self.cast(value, FLOAT), [1])
            case Int64():
                if value.dtype.kind == "f":
                    self.refuse(
                        self.Not(self.Equal(value, self.Round(value))),
                        value,
                        f"the output '{feature.name}' must be an integer, got",
                    )
                return self.Reshape(self.cast(value, INT), [1])
            case SequenceType():
                return self.Reshape(value, [-1])
            case MultiArray() as kind:
                sizes, count = kind.sizes, value.static_shape
                if sizes is None or None in sizes:
                    return value
                known = [size or 0 for size in sizes]
                if count is not None and prod(count) != prod(known):
                    raise SpecificationError(
                        f"the output '{feature.name}' is declared with the shape {' x '.join(map(str, known))},"
                        f" but its size is {prod(count)}"
                    )
                return self.Reshape(value, known)
        raise UnsupportedModelError(
            f"the output '{feature.name}' is declared as {feature.type}, which a classical model cannot produce"
        )


def _declared(dtype: np.dtype[Any]) -> DataType:
    return _DECLARED.get(dtype) or (DataType.FLOAT32 if dtype.kind == "f" else DataType.INT32)


def _tensors(port: Port) -> list[Tensor]:
    found = [Tensor(port.tensor, port.dtype, port.type.shape)]
    return found if port.keys is None else [*found, Tensor(port.key_tensor, port.keys, port.type.shape)]


def _value(port: Port) -> Tensor | Pairs:
    values, *keys = _tensors(port)
    return Pairs(keys[0], values) if keys else values


LowerClassical = Callable[[Asset, FunctionDescription], Lowered]
