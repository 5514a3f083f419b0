"""Pipelines: joins lowered models into one. Each takes its inputs by name from the pipeline or an earlier model.

The joined model gives what its models give one after the other: see `passed_features.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..errors import SpecificationError, UnsupportedModelError
from ..format.description import (
    Dictionary,
    FeatureDescription,
    FeatureType,
    FunctionDescription,
    Image,
    MultiArray,
)
from ..types import DataType, Shape, TensorType
from . import limits
from .classical.feature_graph import feature_port
from .lowered_model import Check, IndexCheck, Labels, Lowered, Port, Source, output_name
from .onnx_builder import DOMAINS, IR_VERSION, Tensor, element_type, opset_imports, value_info
from .onnx_nodes import bodies
from .passed_features import as_given, channels_of, recolored
from .weight_arrays import WeightArrays


def join(function: FunctionDescription, parts: Sequence[tuple[FunctionDescription, Lowered]]) -> Lowered:
    """Join the parts of a pipeline, described by `function`, into one model.

    Raises SpecificationError if an input of a part has no source, or a source of another kind, and
    UnsupportedModelError for stateful parts.
    """
    pipeline = _Pipeline(function)
    for number, (described, lowered) in enumerate(parts):
        if lowered.states:
            raise UnsupportedModelError(f"model {number} of the pipeline has states, which pipelines do not support")
        pipeline.add(described, lowered, f"model{number}/")
    return pipeline.finished()


def check_sources(function: FunctionDescription, parts: Iterable[FunctionDescription]) -> None:
    """Raise SpecificationError if a part takes what neither the pipeline's inputs nor an earlier part provide: known
    before anything is lowered, and worth more than whatever is wrong with a part."""
    known = {feature.name for feature in function.inputs}
    for part in parts:
        missing = next((f.name for f in part.inputs if not f.optional and f.name not in known), None)
        if missing is not None:
            raise _no_source(missing)
        known.update((part.predicted_feature_name, *(feature.name for feature in part.outputs)))


def _no_source(name: str) -> SpecificationError:
    return SpecificationError(f"a model of the pipeline takes '{name}', which no input or earlier model provides")


def closed(lowered: Lowered, described: Iterable[str]) -> Lowered:
    """The model with each undescribed input that has a default replaced by that default."""
    names = set(described)
    hidden = {port.tensor: port for port in lowered.inputs if port.name not in names and port.default is not None}
    if not hidden:
        return lowered
    graph = lowered.model.graph
    shown = [info for info in graph.input if info.name not in hidden]
    del graph.input[:]
    graph.input.extend(shown)
    graph.initializer.extend(_constant(name, port) for name, port in hidden.items())
    checks = tuple(check for check in lowered.index_checks if not (check.before and check.tensor in hidden))
    for check in set(lowered.index_checks) - set(checks):
        port = hidden[check.tensor]
        wrong = check.error({check.tensor: np.full(1, port.default, port.dtype)})
        if wrong is not None:
            raise SpecificationError(f"{wrong}, and it is the default of '{port.name}'")
    inputs = tuple(port for port in lowered.inputs if port.tensor not in hidden)
    return replace(lowered, inputs=inputs, index_checks=checks)


def _constant(name: str, port: Port) -> onnx.TensorProto:
    shape = tuple(size or 1 for size in port.type.shape or (1,))
    return numpy_helper.from_array(limits.full(shape, port.default, port.dtype), name)


@dataclass(frozen=True, slots=True)
class _Value:
    """A feature in the joined graph: its values and, for a dictionary, its keys."""

    port: Port
    tensors: tuple[Tensor, ...]
    type: FeatureType | None = None
    """As its model describes it."""
    given: bool = True
    """Whether the tensors are what its model gives a caller; else they are what it computes."""


class _Pipeline:
    def __init__(self, function: FunctionDescription) -> None:
        self.function = function
        self.graph = onnx.GraphProto(name=function.name)
        self.inputs: dict[str, _Value] = {}
        self.values: dict[str, _Value] = {}
        """Outputs of the models so far, by name; a later model may redefine a name."""
        self.labels: Labels | None = None
        self.computes: frozenset[DataType] = frozenset()
        self.sources: list[Source] = []
        self.weights: tuple[WeightArrays, ...] = ()
        self.checks: list[tuple[Check, onnx.ValueInfoProto]] = []
        self.index_checks: list[IndexCheck] = []
        self.index_outputs: dict[str, onnx.ValueInfoProto] = {}
        self.parts = 0
        self.threads: int | None = 1
        self._emitted, self._converting = 0, ""
        self._domains: dict[str, int] = {}
        self._given = {feature.name: feature for feature in function.inputs}

    def add(self, described: FunctionDescription, part: Lowered, prefix: str) -> None:
        self.parts += 1
        self.threads = None if None in (self.threads, part.threads) else max(self.threads or 1, part.threads or 1)
        self.computes |= part.computes
        self.sources += [replace(source, name=prefix + source.name) for source in part.sources]
        model = part.model
        _prefix(model.graph, prefix)
        for imported in model.opset_import:
            if imported.domain in DOMAINS:
                known = self._domains.get(imported.domain, imported.version)
                self._domains[imported.domain] = min(known, imported.version)
        optional = {feature.name for feature in described.inputs if feature.optional}
        for wanted in _values(part.inputs, model.graph.input, prefix, described.inputs):
            self._connect(self._value(wanted, optional, prefix), wanted)
        self.graph.node.extend(model.graph.node)
        self.graph.initializer.extend(model.graph.initializer)
        self.weights += part.weights
        self.graph.value_info.extend(model.graph.value_info)
        infos = {info.name: info for info in model.graph.output}
        self.checks += [
            (replace(check, tensor=prefix + check.tensor), infos[prefix + check.tensor]) for check in part.checks
        ]
        for index in part.index_checks:
            names = [name and prefix + name for name in (index.tensor, index.sizes_from, index.carried)]
            self.index_checks.append(replace(index, tensor=names[0], sizes_from=names[1], carried=names[2]))
            self.index_outputs.update((name, infos[name]) for name in names if name)
        for value in _values(part.outputs, model.graph.output, prefix, described.outputs):
            self.values[value.port.name] = replace(value, given=False)
        if part.labels is not None:
            self._add_labels(part.labels)

    def finished(self) -> Lowered:
        results = []
        for feature in self.function.outputs:
            name = feature.name
            if self.labels and name in (self.labels.label_output, self.labels.probabilities_output):
                continue
            if name not in self.values:
                raise SpecificationError(
                    f"the pipeline describes the output '{name}', which none of its models produces"
                )
            results.append(self._described(name, feature.type))
        if self.labels:
            results.append(self.values[self.labels.probabilities])
        inputs = [value.port for value in self.inputs.values()]
        ports = []
        for value in results:
            port = replace(value.port, tensor=output_name(value.port.name, inputs))
            for tensor, name in zip(value.tensors, port.tensors, strict=True):
                self._node("Identity", [tensor.name], name)
                self.graph.output.append(value_info(replace(tensor, name=name)))
            ports.append(port)
        self.graph.output.extend(info for _, info in self.checks)
        self.graph.output.extend(self.index_outputs.values())
        self.graph.input.extend(value_info(tensor) for value in self.inputs.values() for tensor in value.tensors)
        model = onnx.ModelProto(
            ir_version=IR_VERSION,
            producer_name="pippin",
            opset_import=opset_imports(self._domains),
        )
        model.graph.CopyFrom(self.graph)
        return Lowered(
            name=self.function.name,
            model=model,
            inputs=tuple(inputs),
            outputs=tuple(ports),
            states=(),
            written=(),
            labels=self.labels,
            computes=self.computes,
            sources=tuple(self.sources),
            threads=self.threads,
            checks=tuple(check for check, _ in self.checks),
            index_checks=tuple(self.index_checks),
            weights=tuple(self.weights),
        )

    def _value(self, wanted: _Value, optional: set[str], prefix: str) -> _Value:
        """The source of a part's input: an earlier model, else the pipeline's input, else its default."""
        name = wanted.port.name
        if self.labels and name in (self.labels.label_output, self.labels.probabilities_output):
            self._make_label(self.labels)
        if name in self.values:
            return self._passed(name)
        if name not in self._given:
            if wanted.port.default is not None:
                constant = f"{prefix}{wanted.port.tensor}/default"
                self.graph.initializer.append(_constant(constant, wanted.port))
                return _Value(wanted.port, (replace(wanted.tensors[0], name=constant),))
            if name not in optional:
                raise _no_source(name)
        if name not in self.inputs:
            self.inputs[name] = self._outside(wanted, self._given.get(name))
        return self.inputs[name]

    def _passed(self, name: str) -> _Value:
        """An earlier model's value as that model gives it to a caller; converted once."""
        value = self.values[name]
        if not value.given:
            self._converting = value.tensors[0].name
            tensors = (as_given(self._emit, value.tensors[0], value.type), *value.tensors[1:])
            value = self.values[name] = replace(value, tensors=tensors, given=True)
        return value

    def _described(self, name: str, kind: FeatureType) -> _Value:
        """An output of the pipeline. The decoder converts it, unless the pipeline describes it in another way."""
        value = self.values[name]
        if value.type is None or value.type == kind:
            return value
        value = self._passed(name)
        tensor = self._colored(value, kind)
        port = value.port
        if tensor is not value.tensors[0]:  # another color space has another number of channels
            port = replace(port, type=TensorType(port.type.dtype, tensor.shape))
        return replace(value, port=port, tensors=(tensor, *value.tensors[1:]))

    def _colored(self, value: _Value, kind: FeatureType | None) -> Tensor:
        """The tensor of a value, in the color space of its reader if both are images."""
        if isinstance(value.type, Image) and isinstance(kind, Image):
            self._converting = value.tensors[0].name
            return recolored(self._emit, value.tensors[0], value.type.color, kind.color)
        return value.tensors[0]

    def _outside(self, wanted: _Value, feature: FeatureDescription | None) -> _Value:
        """An input of the pipeline: arrays, images and dictionaries as the part takes them, other types as the pipeline
        describes them."""
        port = wanted.port
        whole = isinstance(feature.type, MultiArray | Image | Dictionary) if feature is not None else True
        if feature is not None and not whole and port.default is None:
            port = feature_port(feature)
        tensors = [replace(wanted.tensors[0], name=port.tensor, dtype=port.dtype)]
        if port is not wanted.port:
            tensors = [replace(tensors[0], shape=port.type.shape)]
        if port.keys is not None:
            tensors.append(Tensor(port.key_tensor, port.keys, port.type.shape))
        if feature is None or not isinstance(feature.type, Image) or not isinstance(wanted.type, Image):
            return _Value(port, tuple(tensors))
        # The encoder makes an image of the color space that the pipeline describes.
        shape = tensors[0].shape
        if shape is not None:
            shape = (*shape[:-3], channels_of(feature.type.color), *shape[-2:])
        port = replace(port, type=TensorType(port.type.dtype, shape))
        return _Value(port, (replace(tensors[0], shape=shape),), feature.type)

    def _connect(self, value: _Value, wanted: _Value) -> None:
        """Convert a value to the names, element types and rank that a part takes."""
        if (value.port.keys, value.port.dtype.kind == "O") != (wanted.port.keys, wanted.port.dtype.kind == "O"):
            raise SpecificationError(
                f"a model of the pipeline takes '{wanted.port.name}' as {_feature_kind(wanted.port)},"
                f" got {_feature_kind(value.port)}"
            )
        tensors = (self._colored(value, wanted.type), *value.tensors[1:])
        for given, taken in zip(tensors, wanted.tensors, strict=True):
            self._connect_tensor(given, taken)

    def _connect_tensor(self, value: Tensor, wanted: Tensor) -> None:
        ranks = [None if t.shape is None else len(t.shape) for t in (value, wanted)]
        source = value.name
        if None not in ranks and ranks[0] != ranks[1]:
            shape, source = f"{wanted.name}/shape", f"{wanted.name}/reshaped"
            sizes = [-1 if d is None else d for d in wanted.shape or ()]
            if sizes.count(-1) > 1:
                raise SpecificationError(f"'{wanted.name}' must have rank {ranks[1]}, got {ranks[0]}")
            self.graph.initializer.append(helper.make_tensor(shape, onnx.TensorProto.INT64, [len(sizes)], sizes))
            self._node("Reshape", [value.name, shape], source)
        if value.dtype == wanted.dtype:
            self._node("Identity", [source], wanted.name)
        else:
            self._node("Cast", [source], wanted.name, to=element_type(wanted.dtype))

    def _add_labels(self, labels: Labels) -> None:
        """Use the labels of the last classifier for the pipeline."""
        for name in (labels.label_output, labels.probabilities_output):
            self.values.pop(name or "", None)  # an earlier value of this name
        # Another classifier may use the same name for its probabilities.
        value = self.values.pop(labels.probabilities)
        named = replace(labels, probabilities=f"{labels.probabilities}/{self.parts}")
        self.values[named.probabilities] = replace(value, port=replace(value.port, name=named.probabilities))
        described = {feature.name for feature in self.function.outputs}
        if named.label_output not in described and self.function.predicted_feature_name in described:
            named = replace(named, label_output=self.function.predicted_feature_name)
            self.values.pop(named.label_output, None)  # that of an earlier classifier
        self.labels = named

    def _make_label(self, labels: Labels) -> None:
        """Add a label and its probabilities to the graph, for a model that takes them."""
        if labels.label_output in self.values:
            return
        scores = self.values[labels.probabilities].tensors[0]
        base, count = scores.name, len(labels.classes)
        dtype = np.dtype(object if isinstance(labels.classes[0], str) else np.int64)
        classes = numpy_helper.from_array(np.array(labels.classes, dtype), f"{base}/classes")
        flat = numpy_helper.from_array(np.array([-1], np.int64), f"{base}/flat")
        first = numpy_helper.from_array(np.arange(count), f"{base}/first")
        self.graph.initializer.extend([classes, flat, first])
        self._node("Reshape", [base, flat.name], f"{base}/all")
        self._node("Gather", [f"{base}/all", first.name], f"{base}/row")  # values after these belong to no class
        self._node("ArgMax", [f"{base}/row"], f"{base}/place", axis=0, keepdims=1)
        self._node("Gather", [classes.name, f"{base}/place"], f"{base}/label")
        label = Port(labels.label_output, _type(dtype, (1,)), dtype)
        self.values[label.name] = _Value(label, (Tensor(f"{base}/label", dtype, (1,)),))
        if labels.probabilities_output:
            kind = _type(scores.dtype, (count,))
            port = Port(labels.probabilities_output, kind, scores.dtype, keys=dtype)
            tensors = Tensor(f"{base}/row", scores.dtype, (count,)), Tensor(classes.name, dtype, (count,))
            self.values[port.name] = _Value(port, tensors)

    def _emit(
        self, kind: str, dtype: Any, shape: Shape | None, x: Tensor, *others: Tensor | np.ndarray | np.generic,
        **attributes: Any,
    ) -> Tensor:  # fmt: skip
        """Add a node, named after the value that is converted. Returns its result."""
        self._emitted += 1
        result = Tensor(f"{self._converting}/{kind}_{self._emitted}", np.dtype(dtype), shape)
        names = [x.name]
        for other in others:
            names.append(other.name if isinstance(other, Tensor) else f"{result.name}/{len(names)}")
            if not isinstance(other, Tensor):
                self.graph.initializer.append(numpy_helper.from_array(np.asarray(other), names[-1]))
        self._node(kind, names, result.name, **attributes)
        return result

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.graph.node.add().CopyFrom(helper.make_node(kind, inputs, [output], name=output, **attributes))


def _prefix(graph: onnx.GraphProto, prefix: str) -> None:
    """Prefix every name, including in subgraphs, which refer to outer names."""
    for info in (*graph.input, *graph.output, *graph.value_info):
        info.name = prefix + info.name
    for tensor in graph.initializer:
        tensor.name = prefix + tensor.name
    for node in graph.node:
        node.name = prefix + node.name
        for names in (node.input, node.output):
            names[:] = [name and prefix + name for name in names]
        for body in bodies(node):
            _prefix(body, prefix)


def _values(ports: Sequence[Port], infos: Any, prefix: str, described: Sequence[FeatureDescription]) -> list[_Value]:
    """Each port with its tensors in the joined graph, in the shapes that the part's graph declares."""
    shapes = {info.name: _shape(info) for info in infos}
    kinds = {feature.name: feature.type for feature in described}
    found = []
    for port in ports:
        tensors = [Tensor(prefix + port.tensor, port.dtype, shapes[prefix + port.tensor])]
        if port.keys is not None:
            tensors.append(Tensor(prefix + port.key_tensor, port.keys, shapes[prefix + port.key_tensor]))
        found.append(_Value(port, tuple(tensors), kinds.get(port.name)))
    return found


def _type(dtype: np.dtype[Any], shape: Shape) -> TensorType:
    kinds = {"O": DataType.STRING, "i": DataType.INT64}
    return TensorType(kinds.get(dtype.kind) or (DataType.FLOAT64 if dtype.itemsize == 8 else DataType.FLOAT32), shape)


def _shape(info: Any) -> Shape | None:
    tensor = info.type.tensor_type
    dims = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in tensor.shape.dim)
    return dims if tensor.HasField("shape") else None


def _feature_kind(port: Port) -> str:
    if port.keys is not None:
        return f"a dictionary with {'string' if port.keys.kind == 'O' else 'integer'} keys"
    return "a string" if port.dtype.kind == "O" else "numbers"
