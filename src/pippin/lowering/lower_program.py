"""Programs: lowers one MIL function to an ONNX model with ports, states and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any

import numpy as np

from ..errors import ConfigurationError, PippinError, ProgramError, UnsupportedOperationError
from ..program.aicode_reader import OPSET
from ..program.ir import Function, Operation, Program, Value
from ..types import DataType, StateType, TensorType
from . import ops as ops  # registers every lowering
from .coreai import CoreAIBuilder
from .held_states import Held, writes_of
from .lower_blocks import Builder
from .lowered_model import Labels, Lowered, Port, Source, StateWrite, written_name
from .onnx_builder import Tensor
from .unused_nodes import remove_unused
from .weight_arrays import WeightArrays


def lower(
    program: Program,
    function_name: str,
    float16: np.dtype[Any] | type = np.float32,
    rounds: bool = False,
    joined: bool = False,
) -> Lowered:
    """Lower one function. `float16` is the type used to compute float16 values; with `rounds`, every result that is
    declared float16 is rounded to float16. `joined` says that other models of a pipeline compute its inputs.

    Raises UnsupportedOperationError before anything is compiled, naming the operation, its output, the function and
    the reason.
    """
    if function_name not in program.functions:
        raise ConfigurationError(f"no function '{function_name}' (it has: {', '.join(program.functions)})")
    function = program.functions[function_name]
    builder = (CoreAIBuilder if function.opset == OPSET else Builder)(function, float16, rounds)
    try:
        _check_names(function)
        inputs = [builder.input(value) for value in function.inputs]
        if not joined:
            builder.first.update(t.name for t in inputs if t.name not in builder.states)
        results = builder.block(function.block)
    except PippinError as error:
        error.add_note(f"in function '{function_name}'")
        raise
    ports = [_port(value, tensor.dtype) for value, tensor in zip(function.inputs, inputs, strict=True)]
    is_state = [isinstance(value.type, StateType) for value in function.inputs]
    outputs, onnx_outputs = _outputs(builder, function.outputs, results)
    written = tuple(
        port.name for port, state in zip(ports, is_state, strict=True) if state and port.name in builder.written
    )
    onnx_outputs += [builder.named(builder.state(name), written_name(name)) for name in written]
    writes: list[StateWrite] = []
    for name, state in builder.states.items():
        if isinstance(state, Held) and name not in written:
            more, needed = writes_of(builder, state)
            writes += more
            onnx_outputs += [tensor for tensor in needed if all(tensor.name != other.name for other in onnx_outputs)]
    ordered = sorted(range(len(inputs)), key=lambda i: is_state[i])
    onnx_outputs += [*builder.check_outputs, *builder.index_outputs.values()]
    weights = WeightArrays()
    model = builder.model(function_name, [inputs[i] for i in ordered], onnx_outputs, weights)
    remove_unused(model.graph)
    return Lowered(
        name=function_name,
        model=model,
        inputs=tuple(port for port, state in zip(ports, is_state, strict=True) if not state),
        outputs=tuple(outputs),
        states=tuple(port for port, state in zip(ports, is_state, strict=True) if state),
        written=written,
        labels=_labels(builder),
        computes=_computes(function),
        sources=_sources(function),
        checks=tuple(builder.checks),
        index_checks=tuple(builder.index_checks),
        weights=(weights,),
        writes=tuple(writes),
    )


def _sources(function: Function) -> tuple[Source, ...]:
    return tuple(Source(op.name, op.kind, op.constant) for op in function.block.walk() if op.kind != "const")


# What coremltools writes for the scale and bias of an image, in float32 also in a float16 program.
_SCALES = frozenset({"add", "mul", "real_div", "sub"})


def _computes(function: Function) -> frozenset[DataType]:
    """Float types of all results except casts, which only convert between types, and inputs that are scaled, which
    prepares them."""
    prepared, constants = {value.name for value in function.inputs}, set[str]()
    found: set[DataType] = set()
    for operation in function.block.walk():
        names = [output.name for output in operation.outputs]
        types = {output.type.dtype for output in operation.outputs if isinstance(output.type, TensorType)}
        if operation.constant:
            constants.update(names)
        elif types == {DataType.FLOAT32} and operation.kind in _SCALES and _scales(operation, constants, prepared):
            prepared.update(names)
        elif operation.kind != "cast":
            found.update(dtype for dtype in types if dtype.is_float)
    return frozenset(found)


def _scales(operation: Operation, constants: Container[str], inputs: Container[str]) -> bool:
    """Whether an operation computes with one of these inputs and constants alone."""
    operands = [value.name for given in operation.inputs.values() for value in given if isinstance(value, Value)]
    computed = [name for name in operands if name not in constants]
    return len(computed) == 1 and computed[0] in inputs


def _port(value: Value, dtype: np.dtype[Any]) -> Port:
    kind = value.type.wrapped if isinstance(value.type, StateType) else value.type
    if not isinstance(kind, TensorType):
        raise UnsupportedOperationError(f"'{value.name}' is {value.type}; function inputs and outputs must be tensors")
    return Port(value.name, kind, dtype)


def _outputs(builder: Builder, values: tuple[Value, ...], results: tuple[Any, ...]) -> tuple[list[Port], list[Tensor]]:
    ports: list[Port] = []
    tensors: list[Tensor] = []
    classified = builder.classification.outputs if builder.classification else ()
    for value, result in zip(values, results, strict=True):
        if value.name in classified or any(port.name == value.name for port in ports):
            continue  # not a tensor, or a value returned twice
        tensor = builder.tensor(result)
        ports.append(_port(value, tensor.dtype))
        tensors.append(builder.named(tensor, value.name))
    if builder.classification:
        probabilities = builder.classification.probabilities
        name = f"{builder.classification.outputs[0]}/probabilities"
        ports.append(Port(name, TensorType(DataType.FLOAT32, probabilities.shape), probabilities.dtype))
        tensors.append(builder.named(probabilities, name))
    return ports, tensors


def _labels(builder: Builder) -> Labels | None:
    classification = builder.classification
    if classification is None:
        return None
    label, *rest = classification.outputs
    return Labels(f"{label}/probabilities", classification.classes, label, rest[0] if rest else None)


def _check_names(function: Function) -> None:
    """Two inputs of one name would be one tensor of the graph."""
    repeated = [name for name, count in Counter(value.name for value in function.inputs).items() if count > 1]
    if repeated:
        raise ProgramError(f"two inputs are named '{repeated[0]}'")
