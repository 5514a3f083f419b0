"""Class labels: reads the labels of a classifier from its `Model` message."""

from __future__ import annotations

from typing import Any


def class_labels(model: Any) -> tuple[str | int, ...] | None:
    """The labels of a classifier: from the `classify` operation of an ML Program, else from the message."""
    kind = model.WhichOneof("Type")
    if kind == "mlProgram":
        return _program_labels(model.mlProgram, model.description.defaultFunctionName or "main")
    if kind is None:
        return None
    message = getattr(model, kind)
    if kind in ("pipelineClassifier", "pipelineRegressor"):
        message = message.pipeline
    if kind.startswith("pipeline"):
        return next((found for m in reversed(message.models) if (found := class_labels(m))), None)
    fields = message.DESCRIPTOR.fields_by_name
    for name in ("stringClassLabels", "int64ClassLabels"):
        if name in fields and message.HasField(name):
            return tuple(getattr(message, name).vector)
    return None


def _program_labels(program: Any, default: str) -> tuple[str | int, ...] | None:
    for name in sorted(program.functions, key=lambda name: (name != default, name)):
        function = program.functions[name]
        block = function.block_specializations.get(function.opset)
        for operation in block.operations if block is not None else ():
            # Indexing would add missing entries to the caller's message.
            classes = operation.inputs.get("classes") if operation.type == "classify" else None
            if classes is not None and classes.arguments:
                return _bound_labels(classes.arguments[0], block)
    return None


def _bound_labels(binding: Any, block: Any) -> tuple[str | int, ...] | None:
    value = binding.value
    if binding.WhichOneof("binding") == "name":
        constants = {op.outputs[0].name: op for op in block.operations if op.type == "const" and op.outputs}
        if binding.name not in constants or "val" not in constants[binding.name].attributes:
            return None
        value = constants[binding.name].attributes["val"]
    immediate = value.immediateValue
    elements = immediate.list.values if immediate.HasField("list") else [value]
    labels: list[str | int] = []
    for element in elements:
        tensor = element.immediateValue.tensor
        labels += list(tensor.strings.values) or list(tensor.longInts.values) or list(tensor.ints.values)
    return tuple(labels)
