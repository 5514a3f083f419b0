"""Pipeline: several lowered models as one, each taking by name what the pipeline or a model before it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx
from onnx import compose, helper

from ..errors import SpecificationError, UnsupportedModelError
from ..format.description import FunctionDescription
from ..types import DataType, Shape
from .graph import IR_VERSION, OPSET, Tensor, element_type, value_info
from .lowered import Labels, Lowered, Port, Source, output_name


def join(function: FunctionDescription, parts: Sequence[tuple[FunctionDescription, Lowered]]) -> Lowered:
    """One model of the parts of a pipeline, whose description is `function`.

    Raises SpecificationError where a part takes what nothing gives, UnsupportedModelError for stateful parts and
    for a class label that a later part takes.
    """
    pipeline = _Pipeline(function)
    for number, (described, lowered) in enumerate(parts):
        if lowered.states:
            raise UnsupportedModelError(f"model {number} of the pipeline has states")
        pipeline.add(described, lowered, f"model{number}/")
    return pipeline.finished()


class _Pipeline:
    def __init__(self, function: FunctionDescription) -> None:
        self.function = function
        self.graph = onnx.GraphProto(name=function.name)
        self.inputs: dict[str, tuple[Port, Tensor]] = {}
        self.values: dict[str, tuple[Port, Tensor]] = {}
        """The port of the model that gives a feature, and its tensor in the joined graph."""
        self.labels: Labels | None = None
        self.computes: frozenset[DataType] = frozenset()
        self.sources: list[Source] = []
        self.parts = 0
        self.opsets = {"": OPSET}
        self._given = {feature.name for feature in function.inputs}

    def add(self, described: FunctionDescription, part: Lowered, prefix: str) -> None:
        self.parts += 1
        self.computes |= part.computes
        self.sources += [replace(source, name=prefix + source.name) for source in part.sources]
        model = compose.add_prefix(part.model, prefix, inplace=True)
        for port, shape in _with_shapes(part.inputs, model.graph.input):
            tensor = Tensor(prefix + port.tensor, port.dtype, shape)
            self._connect(self._value(port, tensor, described), tensor)
        self.graph.node.extend(model.graph.node)
        self.graph.initializer.extend(model.graph.initializer)
        self.graph.value_info.extend(model.graph.value_info)
        self.opsets |= {opset.domain: opset.version for opset in model.opset_import}
        for port, shape in _with_shapes(part.outputs, model.graph.output):
            self.values[port.name] = (port, Tensor(prefix + port.tensor, port.dtype, shape))
        if part.labels is not None:
            self._add_labels(part.labels)

    def finished(self) -> Lowered:
        outputs = []
        for name in [feature.name for feature in self.function.outputs]:
            if self.labels and name in (self.labels.label_output, self.labels.probabilities_output):
                continue
            if name not in self.values:
                raise SpecificationError(f"the pipeline describes the output '{name}', which none of its models gives")
            outputs.append(self.values[name])
        if self.labels:
            outputs.append(self.values[self.labels.probabilities])
        ports = []
        for port, tensor in outputs:
            name = output_name(port.name, (taken for taken, _ in self.inputs.values()))
            self.graph.node.add().CopyFrom(helper.make_node("Identity", [tensor.name], [name]))
            self.graph.output.append(value_info(replace(tensor, name=name)))
            ports.append(replace(port, tensor=name))
        self.graph.input.extend(value_info(tensor) for _, tensor in self.inputs.values())
        model = onnx.ModelProto(
            ir_version=IR_VERSION,
            producer_name="pippin",
            opset_import=[helper.make_opsetid(domain, version) for domain, version in self.opsets.items()],
        )
        model.graph.CopyFrom(self.graph)
        return Lowered(
            name=self.function.name,
            model=model,
            inputs=tuple(port for port, _ in self.inputs.values()),
            outputs=tuple(ports),
            states=(),
            written=(),
            labels=self.labels,
            computes=self.computes,
            sources=tuple(replace(s, cost=s.cost / self.parts) for s in self.sources),
        )

    def _value(self, port: Port, wanted: Tensor, described: FunctionDescription) -> Tensor:
        """What a part takes under a name: from a model before it, else from outside."""
        if port.name in self.values:
            return self.values[port.name][1]
        if self.labels and port.name in (self.labels.label_output, self.labels.probabilities_output):
            raise UnsupportedModelError(f"a model of the pipeline takes '{port.name}', a classifier's label")
        if port.name not in self._given and not any(f.name == port.name and f.optional for f in described.inputs):
            raise SpecificationError(f"a model of the pipeline takes '{port.name}', which nothing gives")
        if port.name not in self.inputs:
            self.inputs[port.name] = (port, replace(wanted, name=port.name))
        return self.inputs[port.name][1]

    def _connect(self, value: Tensor, wanted: Tensor) -> None:
        """Give the value the name, element type and rank under which a part takes it."""
        ranks = [None if t.shape is None else len(t.shape) for t in (value, wanted)]
        source = value.name
        if None not in ranks and ranks[0] != ranks[1]:
            shape, source = f"{wanted.name}/shape", f"{wanted.name}/reshaped"
            sizes = [-1 if d is None else d for d in wanted.shape or ()]
            if sizes.count(-1) > 1:
                raise SpecificationError(f"'{wanted.name}' is given with rank {ranks[0]}, but taken with {ranks[1]}")
            self.graph.initializer.append(helper.make_tensor(shape, onnx.TensorProto.INT64, [len(sizes)], sizes))
            self.graph.node.append(helper.make_node("Reshape", [value.name, shape], [source]))
        if value.dtype == wanted.dtype:
            self.graph.node.append(helper.make_node("Identity", [source], [wanted.name]))
        else:
            self.graph.node.append(helper.make_node("Cast", [source], [wanted.name], to=element_type(wanted.dtype)))

    def _add_labels(self, labels: Labels) -> None:
        """The class label of the pipeline is that of its last classifier."""
        self.labels = labels
        described = {feature.name for feature in self.function.outputs}
        if labels.label_output not in described and self.function.predicted_feature_name in described:
            self.labels = replace(labels, label_output=self.function.predicted_feature_name)


def _with_shapes(ports: Sequence[Port], infos: Any) -> list[tuple[Port, Shape | None]]:
    """Each port beside the shape that its graph declares; both are in one order."""
    shapes: list[Shape | None] = []
    for info in infos:
        tensor = info.type.tensor_type
        dims = tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in tensor.shape.dim)
        shapes.append(dims if tensor.HasField("shape") else None)
    return list(zip(ports, shapes, strict=True))
