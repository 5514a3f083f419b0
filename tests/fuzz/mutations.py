"""Mutations: changes of a whole model. Those that keep it consistent reach the engines; the others test the checks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .bases import Base
from .messages import FLOATS, INTEGERS, STRINGS, changed, damaged, number, one

UNARY = (
    "relu", "relu6", "sigmoid", "tanh", "exp", "abs", "sqrt", "erf", "floor", "round", "sign", "softplus", "softsign", "square", "silu",
    "sin", "cos", "atan", "log", "rsqrt", "inverse", "identity", "gelu", "ceil", "sinh", "cosh", "exp2", "logical_not", "softmax",
    "cumsum", "reverse", "shape", "reduce_max", "reduce_sum", "reduce_log_sum_exp", "reduce_argmax", "argsort", "clip", "topk",
)  # fmt: skip
BINARY = (
    "add", "sub", "mul", "real_div", "floor_div", "mod", "pow", "maximum", "minimum", "equal", "not_equal", "greater",
    "greater_equal", "less", "less_equal", "logical_and", "logical_or", "logical_xor", "matmul",
)  # fmt: skip
REDUCTIONS = tuple(
    f"reduce_{kind}"
    for kind in (
        "sum",
        "mean",
        "max",
        "min",
        "prod",
        "l1_norm",
        "l2_norm",
        "sum_square",
        "log_sum",
        "log_sum_exp",
        "argmax",
        "argmin",
    )
)
_TYPES = {10: "fp16", 11: "fp32", 23: "int32"}  # of MIL.proto
_ARRAYS = {10: 65552, 11: 65568, 23: 131104}
_SIZES = (1, 2, 3, 5, 7, 8, 16, 31, 0)


def mutate(base: Base, random: np.random.Generator) -> list[str]:
    """Change a base in place, in one to three ways, or not at all. Returns what was changed."""
    if random.random() < 0.08:
        return []
    ways = _ways(base)
    return [one(ways, random)(base, random) for _ in range(int(random.choice((1, 2, 3), p=(0.65, 0.25, 0.1))))]


def _ways(base: Base) -> list[Callable[[Base, np.random.Generator], str]]:
    if base.message is None:
        return [_file, _file, _text if any(name.endswith(".mil") for name in base.files) else _file, _json]
    kind = base.message.WhichOneof("Type")
    ways = [_message, _message]
    if base.weights:
        ways.append(_weights)
    if kind == "mlProgram":
        ways += [_program_only, _resized, _retyped, _another_operation, _appended]
    if kind == "neuralNetwork":
        ways += [_network_only, _network_only, _resized_network, _appended_layer]
    return ways


def _message(base: Base, random: np.random.Generator) -> str:
    return changed(base.message, random)


def _program_only(base: Base, random: np.random.Generator) -> str:
    return changed(base.message.mlProgram, random)


def _network_only(base: Base, random: np.random.Generator) -> str:
    return changed(one(base.message.neuralNetwork.layers or [base.message], random), random)


def _weights(base: Base, random: np.random.Generator) -> str:
    if not base.weights:
        return _message(base, random)
    name = one(sorted(base.weights), random)
    if random.random() < 0.05:
        del base.weights[name]
        return f"{name} is missing"
    base.weights[name] = damaged(base.weights[name], random)
    return f"{name} damaged"


def _file(base: Base, random: np.random.Generator) -> str:
    if not base.files:
        return "no file left"
    name = one(sorted(base.files), random)
    if random.random() < 0.05:
        del base.files[name]
        return f"{name} is missing"
    base.files[name] = damaged(base.files[name], random)
    return f"{name} damaged"


def _json(base: Base, random: np.random.Generator) -> str:
    """A value of a manifest or of a compiled network is replaced, doubled or left out."""
    found = [name for name in sorted(base.files) if name.endswith((".json", ".net", ".shape"))]
    if not found:
        return _file(base, random)
    name = one(found, random)
    try:
        whole = json.loads(base.files[name])
    except ValueError:
        return _file(base, random)
    spots: list[tuple[Any, Any]] = []
    _spots(whole, spots)
    if not spots:
        return _file(base, random)
    owner, key = one(spots, random)
    old = owner[key]
    match one(("replace", "replace", "remove", "kind"), random):
        case "replace":
            owner[key] = _other(old, random)
        case "remove":
            del owner[key]
        case "kind":
            owner[key] = one((None, [], {}, "a", 1, -1.5, True, [[[]]]), random)
    base.files[name] = json.dumps(whole).encode()
    return f"{name} {key}: {str(old)[:30]!r}"


def _spots(value: Any, found: list[tuple[Any, Any]]) -> None:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found.append((value, key))
        _spots(value[key], found)


def _other(old: Any, random: np.random.Generator) -> Any:
    if isinstance(old, bool | int | float):
        return number(old, 0, random)
    if isinstance(old, str):
        return one([*STRINGS, old + "x", "/etc/hostname", "..", old[:-1]], random)
    return one((old, [old], {"a": old}, None), random)


_TOKEN = re.compile(rb"-?\d[\w.+-]*|[A-Za-z_]\w*|[\[\](){}<>=,;]|\"[^\"]*\"")
_WORDS = (
    b"fp16",
    b"fp32",
    b"int32",
    b"bool",
    b"string",
    b"tensor",
    b"x",
    b"?",
    b"-1",
    b"0",
    b"[",
    b"]",
    b"(",
    b")",
    b"int8",
    b"uint8",
)


def _text(base: Base, random: np.random.Generator) -> str:
    """A token of MIL text is replaced, removed or doubled, or a line is removed, doubled or moved."""
    name = next((name for name in base.files if name.endswith(".mil")), "")
    if not name:
        return _file(base, random)
    text = base.files[name]
    if random.random() < 0.3:
        lines = text.split(b"\n")
        at, to = (int(random.integers(len(lines))) for _ in range(2))
        line = lines[at] if random.random() < 0.5 else lines.pop(at)
        what = "removed"
        if random.random() < 0.7:
            lines.insert(to, line)
            what = f"also or only at {to}"
        base.files[name] = b"\n".join(lines)
        return f"{name} line {at} {what}"
    tokens = list(_TOKEN.finditer(text))
    if not tokens:
        return _file(base, random)
    token = one(tokens, random)
    new = _token(token[0], [t[0] for t in tokens], random)
    base.files[name] = text[: token.start()] + new + text[token.end() :]
    return f"{name}: {token[0][:30]!r} -> {new[:30]!r}"


def _token(old: bytes, others: list[bytes], random: np.random.Generator) -> bytes:
    kind = one(("other", "word", "number", "name", "gone", "nested"), random)
    if old[:1].isdigit() or old[:1] == b"-":
        kind = one(("number", "number", "other"), random)
    match kind:
        case "other":
            return bytes(one(others, random))
        case "number":
            return str(one((*INTEGERS, *FLOATS), random)).encode()
        case "word":
            return bytes(one(_WORDS, random))
        case "name":
            return str(one((*UNARY, *BINARY), random)).encode()
        case "nested":
            return b"(" * 3000 + old + b")" * 3000
    return b""


# Programs ---------------------------------------------------------------------------------------------------------


def _main(base: Base) -> tuple[Any, Any]:
    """The function and the block that runs; empty ones if there is none."""
    functions = base.message.mlProgram.functions
    function = functions[sorted(functions)[0]] if functions else type(base.message.mlProgram).FunctionsEntry().value
    blocks = function.block_specializations
    return function, blocks[function.opset] if function.opset in blocks else type(
        function
    ).BlockSpecializationsEntry().value


def _resized(base: Base, random: np.random.Generator) -> str:
    """Another size or rank of an input, in the description and in the program."""
    function, _ = _main(base)
    features = {feature.name: feature for feature in base.message.description.input}
    inputs = [value for value in function.inputs if value.name in features and value.type.HasField("tensorType")]
    if not inputs:
        return changed(base.message, random)
    value = one(inputs, random)
    array, tensor = features[value.name].type.multiArrayType, value.type.tensorType
    shape = [d.constant.size if d.HasField("constant") else 1 for d in tensor.dimensions]
    shape = _another_shape(shape, random)
    del tensor.dimensions[:], array.shape[:]
    for size in shape:
        tensor.dimensions.add().constant.size = size
    tensor.rank = len(shape)
    array.shape.extend(shape)
    array.ClearField("ShapeFlexibility") if hasattr(array, "ShapeFlexibility") else None
    if random.random() < 0.2 and shape:
        _flexible(array, tensor, shape, random)
    return f"{value.name} is {shape}"


def _another_shape(shape: list[int], random: np.random.Generator) -> list[int]:
    shape = list(shape)
    what = one(("size", "size", "size", "more", "less"), random)
    if what == "size" and shape:
        shape[int(random.integers(len(shape)))] = int(one(_SIZES, random))
    elif what == "more":
        shape.insert(int(random.integers(len(shape) + 1)), int(one((1, 2, 3), random)))
    elif shape:
        del shape[int(random.integers(len(shape)))]
    return shape


def _flexible(array: Any, tensor: Any, shape: list[int], random: np.random.Generator) -> None:
    """One axis may have any size."""
    at = int(random.integers(len(shape)))
    tensor.dimensions[at].unknown.variadic = False
    for axis, size in enumerate(shape):
        bounds = array.shapeRange.sizeRanges.add(lowerBound=size, upperBound=size)
        if axis == at:
            bounds.lowerBound, bounds.upperBound = 1, int(one((-1, 64), random))


def _retyped(base: Base, random: np.random.Generator) -> str:
    """Another element type of an input, or of every value of the program."""
    function, block = _main(base)
    dtype = int(one(sorted(_TYPES), random))
    features = {feature.name: feature for feature in base.message.description.input}
    inputs = [value for value in function.inputs if value.name in features and value.type.HasField("tensorType")]
    if not inputs:
        return changed(base.message, random)
    for value in inputs if random.random() < 0.5 else [one(inputs, random)]:
        value.type.tensorType.dataType = dtype
        features[value.name].type.multiArrayType.dataType = _ARRAYS[dtype]
    kinds = {operation.type for operation in block.operations} - {"const"}
    if random.random() < 0.5 and (_TYPES[dtype] != "int32" or kinds <= {*BINARY, "abs", "sign", "clip", "reverse"}):
        for operation in block.operations:
            for output in operation.outputs:
                if output.type.tensorType.dataType in (10, 11) and operation.type != "const":
                    output.type.tensorType.dataType = dtype
        for feature in base.message.description.output:
            if feature.type.multiArrayType.dataType in (65552, 65568):
                feature.type.multiArrayType.dataType = _ARRAYS[dtype]
    return f"element type {_TYPES[dtype]}"


def _another_operation(base: Base, random: np.random.Generator) -> str:
    _, block = _main(base)
    families = [family for family in (UNARY, BINARY, REDUCTIONS) for op in block.operations if op.type in family]
    operations = [op for op in block.operations if op.type in {*UNARY, *BINARY, *REDUCTIONS}]
    if not operations:
        return changed(base.message.mlProgram, random)
    operation = one(operations, random)
    family = next(family for family in families if operation.type in family)
    old, operation.type = operation.type, one(family, random)
    return f"{old} -> {operation.type}"


def _appended(base: Base, random: np.random.Generator) -> str:
    """One operation more on an output or on an input; the description of the output's shape goes."""
    function, block = _main(base)
    if not block.outputs:
        return changed(base.message.mlProgram, random)
    last = one(list(block.outputs), random)
    value = _value_named(function, block, last)
    if value is None or not value.type.HasField("tensorType"):
        return changed(base.message.mlProgram, random)
    kind = one((*UNARY, *BINARY), random)
    operation = block.operations.add(type=kind)
    name = f"{last}_{len(block.operations)}"
    for parameter in ("x", "y") if kind in BINARY else ("x",):
        operation.inputs[parameter].arguments.add(name=last)
    if kind in ("softmax", "cumsum", "reduce_argmax", "argsort"):
        literal = operation.inputs["axis"].arguments.add().value
        literal.type.tensorType.dataType = 23
        literal.immediateValue.tensor.ints.values.append(int(one((-1, 0, 1), random)))
    output = operation.outputs.add(name=name)
    output.type.CopyFrom(value.type)
    if kind in ("shape", "reduce_argmax", "argsort"):
        output.type.tensorType.dataType = 23
    for dimension in output.type.tensorType.dimensions:
        dimension.unknown.variadic = False
    block.outputs[list(block.outputs).index(last)] = name
    for feature in base.message.description.output:
        if feature.name == last:
            feature.name = name
            del feature.type.multiArrayType.shape[:]
    return f"{kind} of {last}"


def _value_named(function: Any, block: Any, name: str) -> Any:
    values = [*function.inputs, *(output for operation in block.operations for output in operation.outputs)]
    return next((value for value in values if value.name == name), None)


# Networks ---------------------------------------------------------------------------------------------------------


def _resized_network(base: Base, random: np.random.Generator) -> str:
    inputs = [feature for feature in base.message.description.input if feature.type.HasField("multiArrayType")]
    if not inputs:
        return changed(base.message, random)
    feature = one(inputs, random)
    array = feature.type.multiArrayType
    shape = _another_shape(list(array.shape), random)
    del array.shape[:]
    array.shape.extend(shape)
    return f"{feature.name} is {shape}"


_LAYERS = ("softmaxND", "ceil", "floor", "sign", "round", "exp2", "sin", "tanh", "erf", "gelu", "argMax", "reduceMax",
           "argSort", "reduceLogSumExp", "whereNonZero", "topK", "layerNormalization", "cumSum", "reverse", "squeeze", "flattenTo2D",
           "getShape", "notEqual", "divideBroadcastable", "logicalNot", "clip", "transpose", "unary", "activation")  # fmt: skip


def _appended_layer(base: Base, random: np.random.Generator) -> str:
    """One layer more on an output, with what its message says by default."""
    layers = base.message.neuralNetwork.layers
    if not layers or not layers[-1].output:
        return changed(base.message, random)
    last = layers[-1].output[0]
    kind = one(_LAYERS, random)
    between = f"{last} before"
    for layer in layers:
        layer.output[:] = [between if name == last else name for name in layer.output]
        layer.input[:] = [between if name == last else name for name in layer.input]
    added = layers.add(name=f"{kind} added", input=[between], output=[last])
    getattr(added, kind).SetInParent()
    if kind == "activation":
        one(
            (added.activation.ReLU, added.activation.tanh, added.activation.ELU, added.activation.softplus), random
        ).SetInParent()
    return f"{kind} after {last}"
