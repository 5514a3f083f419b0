"""Infer description: fills in the model description for MIL text that has none.

Each input and output of a function becomes a feature of the same name: a multiarray, or an output of `classify`.
Default and allowed shapes come from `FlexibleShapeInformation`, a function attribute written by Apple's compiler.
"""

from __future__ import annotations

from typing import Any

from ..errors import ProgramError
from ..types import DataType, DictionaryType, StateType, TensorType
from .ir import Function, Program, Value
from .opsets import specification_version_of

_ARRAY_TYPES = {
    DataType.FLOAT16: 65552,
    DataType.FLOAT32: 65568,
    DataType.FLOAT64: 65600,
    DataType.INT8: 131080,
    DataType.INT32: 131104,
}
_SINCE_FLOAT16, _SINCE_STATES = 7, 9


def describe(program: Program, model: Any) -> None:
    """Fill in the description and the specification version of a `Model` message.

    Raises ProgramError for an input or output that cannot be a feature.
    """
    functions = program.functions
    model.specificationVersion = max(specification_version_of(f.opset) for f in functions.values())
    if list(functions) == ["main"]:
        _function(functions["main"], model.description)
        return
    model.specificationVersion = max(model.specificationVersion, _SINCE_STATES)
    model.description.defaultFunctionName = "main" if "main" in functions else next(iter(functions))
    for name, function in functions.items():
        described = model.description.functions.add(name=name)
        _function(function, described)


def _function(function: Function, message: Any) -> None:
    shapes = _flexible_shapes(function)
    for value in function.inputs:
        if isinstance(value.type, StateType):
            feature = message.state.add(name=value.name)
            _array(value.name, value.type.wrapped, feature.type.stateType.arrayType)
        else:
            feature = message.input.add(name=value.name)
            _array(value.name, value.type, feature.type.multiArrayType)
            _flexibility(value, shapes, feature.type.multiArrayType)
    for value in dict.fromkeys(function.outputs):
        _output(value, message.output.add(name=value.name))
    classifiers = [op for op in function.block.operations if op.kind == "classify" and len(op.outputs) == 2]
    if classifiers:
        message.predictedFeatureName, message.predictedProbabilitiesName = (v.name for v in classifiers[0].outputs)


def _output(value: Value, message: Any) -> None:
    match value.type:
        case TensorType(DataType.STRING, _):
            message.type.stringType.SetInParent()
        case TensorType(DataType.INT64, _):
            message.type.int64Type.SetInParent()
        case DictionaryType(TensorType(DataType.STRING, _), _):
            message.type.dictionaryType.stringKeyType.SetInParent()
        case DictionaryType():
            message.type.dictionaryType.int64KeyType.SetInParent()
        case _:
            _array(value.name, value.type, message.type.multiArrayType)
            if isinstance(value.type, TensorType) and None in (value.type.shape or ()):
                del message.type.multiArrayType.shape[:]


def _array(name: str, kind: Any, message: Any) -> None:
    if not isinstance(kind, TensorType) or kind.dtype not in _ARRAY_TYPES:
        known = ", ".join(dtype.value for dtype in _ARRAY_TYPES)
        raise ProgramError(f"'{name}' ({kind}) cannot be a feature of a model; it must be a tensor of {known}")
    message.dataType = _ARRAY_TYPES[kind.dtype]
    message.shape.extend(1 if size is None else size for size in kind.shape or ())


def _flexibility(value: Value, shapes: dict[str, Any], message: Any) -> None:
    """Set the allowed shapes of an input with unknown sizes: those noted by the compiler, else any size from 1."""
    sizes = value.type.shape if isinstance(value.type, TensorType) else None
    if sizes is None or None not in sizes:
        return
    ranges = shapes.get("RangeDims", {}).get(value.name)
    if ranges is None:
        ranges = [(1, -1) if size is None else (size, size) for size in sizes]
    enumerated = [each[value.name] for each in shapes.get("EnumeratedShapes", {}).values() if value.name in each]
    if enumerated:
        for shape in enumerated:
            message.enumeratedShapes.shapes.add(shape=[int(d) for d in shape])
    else:
        for lower, upper in ranges:
            message.shapeRange.sizeRanges.add(lowerBound=int(lower), upperBound=int(upper))
    default = shapes.get("DefaultShapes", {}).get(value.name)
    del message.shape[:]
    first = enumerated[0] if enumerated else [max(int(lower), 1) for lower, _ in ranges]
    message.shape.extend(int(d) for d in (first if default is None else default))


def _flexible_shapes(function: Function) -> dict[str, Any]:
    """Entries of `FlexibleShapeInformation` by name: DefaultShapes, RangeDims, EnumeratedShapes."""
    found = function.attributes.get("FlexibleShapeInformation")
    pairs = found.value if found is not None and isinstance(found.value, tuple) else ()
    return {p[0]: p[1] for p in pairs if isinstance(p, tuple) and len(p) == 2 and isinstance(p[1], dict)}
