"""Round trip: program -> text -> program, and program -> protobuf -> program, are equal, values bit for bit."""

from __future__ import annotations

import coremltools.optimize.coreml as cto
import ml_dtypes
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
from pippin.format.asset import open_asset
from pippin.program import (
    Block,
    Function,
    Literal,
    Operation,
    Program,
    Value,
    mil_text,
    open_model,
    parse_program,
    read_program,
)
from pippin.program.protobuf_writer import write_program
from pippin.types import DataType, DictionaryType, ListType, TensorType, TupleType
from program.same import assert_same_literal, assert_same_program
from support.small_models import converted

STRING, INT32 = TensorType(DataType.STRING), TensorType(DataType.INT32)


def round_trip(program, asset):
    text = mil_text(program)
    assert_same_program(parse_program(text, weights=asset.weights), program)
    assert mil_text(parse_program(text)) == text
    message = open_asset(ct.proto.Model_pb2.Model(specificationVersion=9, mlProgram={"version": 1})).specification
    message.mlProgram.CopyFrom(write_program(program))
    again = read_program(open_asset(message, asset._weights) if asset.path is None else with_program(asset, message))
    assert_same_program(again, program)


def with_program(asset, message):
    from dataclasses import replace

    return replace(asset, specification=message)


def test_every_shared_model(shared_model):
    asset = open_model(shared_model)
    programs = [a for a in [asset, *asset.parts()] if a.specification.WhichOneof("Type") == "mlProgram"]
    if not programs:
        pytest.skip("no ML Program in it")
    for part in programs:
        round_trip(read_program(part), part)


# Programs of coremltools

X = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)


def loop(x):
    """A loop in a branch in a loop."""

    def inner(y):
        return mb.while_loop(
            _cond=lambda z: mb.less(x=mb.reduce_sum(x=z), y=9.0), _body=lambda z: mb.add(x=z, y=1.0), loop_vars=(y,)
        )

    def body(i, y):
        positive = mb.greater(x=mb.reduce_sum(x=y), y=0.0)
        return mb.add(x=i, y=1), mb.cond(pred=positive, _true_fn=lambda: mb.sub(x=y, y=x), _false_fn=lambda: inner(y))

    return mb.while_loop(_cond=lambda i, y: mb.less(x=i, y=4), _body=body, loop_vars=(0, x))[1]


def branch(x):
    return mb.cond(
        pred=mb.greater(x=mb.reduce_sum(x=x), y=0.0),
        _true_fn=lambda: mb.cond(
            pred=mb.less(x=mb.reduce_max(x=x), y=2.0),
            _true_fn=lambda: mb.exp(x=x),
            _false_fn=lambda: mb.log(x=mb.abs(x=x)),
        ),
        _false_fn=lambda: mb.mul(x=x, y=np.float32(np.inf)),
    )


def growing_list(x):
    values = mb.make_list(init_length=1, dynamic_length=True, elem_shape=(2, 3), dtype="fp32")
    values = mb.list_write(ls=values, index=0, value=x)
    values = mb.list_write(ls=values, index=1, value=mb.relu(x=x))
    return mb.list_gather(ls=values, indices=[1, 0])


BODIES = {
    "loop": (loop, ct.target.iOS17),
    "branch": (branch, ct.target.iOS15),
    "branch, iOS 18": (branch, ct.target.iOS18),
    "list": (growing_list, ct.target.iOS16),
    "several results": (
        lambda x: mb.concat(values=mb.split(x=mb.topk(x=x, k=2, axis=1)[0], num_splits=2, axis=1), axis=0),
        ct.target.iOS17,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_control_flow_and_lists(name):
    body, target = BODIES[name]
    model = converted(body, target=target, x=(2, 3))
    asset = open_asset(model.get_spec(), model.weights_dir)
    round_trip(read_program(asset), asset)


def test_states():
    @mb.program(
        input_specs=[mb.TensorSpec((2, 3), types.fp16), mb.StateTensorSpec((2, 3), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x, s):
        return mb.coreml_update_state(state=s, value=mb.add(x=mb.read_state(input=s), y=x))

    model = ct.convert(program, minimum_deployment_target=ct.target.iOS18)
    asset = open_asset(model.get_spec(), model.weights_dir)
    text = mil_text(read_program(asset))
    assert text.startswith("program(1.3)\n") and "state<tensor<fp16, [2, 3]>> s" in text and "write_state(" in text
    round_trip(read_program(asset), asset)


def palettized(bits):
    return lambda m: cto.palettize_weights(
        m, cto.OptimizationConfig(cto.OpPalettizerConfig(nbits=bits, weight_threshold=16))
    )


COMPRESSIONS = {
    "palette of 2 bits": (palettized(2), ct.target.iOS16),
    "palette of 3 bits, iOS 18": (palettized(3), ct.target.iOS18),
    "linear int8": (
        lambda m: cto.linear_quantize_weights(
            m, cto.OptimizationConfig(cto.OpLinearQuantizerConfig(weight_threshold=16))
        ),
        ct.target.iOS16,
    ),
    "linear int4 in blocks": (
        lambda m: cto.linear_quantize_weights(
            m,
            cto.OptimizationConfig(
                cto.OpLinearQuantizerConfig(dtype="int4", granularity="per_block", block_size=32, weight_threshold=16)
            ),
        ),
        ct.target.iOS18,
    ),
    "pruned": (
        lambda m: cto.prune_weights(
            m, cto.OptimizationConfig(cto.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=16))
        ),
        ct.target.iOS16,
    ),
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressed_weights(name):
    compress, target = COMPRESSIONS[name]
    model = compress(converted(lambda x: mb.linear(x=x, weight=X), target=target, x=(2, 64)))
    asset = open_asset(model.get_spec(), model.weights_dir)
    assert any(kind.startswith("constexpr_") for kind in read_program(asset).functions["main"].histogram())
    round_trip(read_program(asset), asset)


# Values of every type

SPECIAL = [0.0, -0.0, 1.0, -1.5, 2.0**-14, np.inf, -np.inf, np.nan]
FLOATS = {DataType.FLOAT16: (np.float16, np.uint16), DataType.FLOAT32: (np.float32, np.uint32)} | {
    DataType.FLOAT64: (np.float64, np.uint64),
    DataType.BFLOAT16: (ml_dtypes.bfloat16, np.uint16),
    DataType.FLOAT8E5M2: (ml_dtypes.float8_e5m2, np.uint8),
    DataType.FLOAT8E4M3FN: (ml_dtypes.float8_e4m3fn, np.uint8),
}
COUNTS = (1, 7, 32, 1000)


def literals():
    random = np.random.default_rng(0)
    for dtype, (kind, bits) in FLOATS.items():
        for count in COUNTS:
            some = random.integers(0, 1 << 8 * np.dtype(bits).itemsize, count, bits, endpoint=False)
            some[: len(SPECIAL)] = np.array(SPECIAL, kind).view(bits)[:count]
            yield dtype, some.view(kind)
    for dtype in DataType:
        if dtype.is_integer:
            lower, upper = (0, 2**dtype.bits - 1) if "u" in dtype.value else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1)  # fmt: skip
            for count in COUNTS:
                some = random.integers(lower, upper, count, np.uint64 if lower == 0 else np.int64, endpoint=True)
                some[:2] = [lower, upper][:count]
                yield dtype, some.astype(dtype.numpy)
    yield DataType.BOOL, np.array([True, False, True])


ROWS = [
    *(Literal(TensorType(d, (len(a),)), a) for d, a in literals()),
    *(Literal(TensorType(d, ()), a[:1].reshape(())) for d, a in literals() if len(a) == 7),
    *(Literal(TensorType(d, (2, 1, 500)), a.reshape(2, 1, 500)) for d, a in literals() if len(a) == 1000),
    Literal(TensorType(DataType.FLOAT32, (0,)), np.zeros(0, np.float32)),
    Literal(TensorType(DataType.INT32, (2, 0, 3)), np.zeros((2, 0, 3), np.int32)),
    Literal(STRING, ""),
    Literal(STRING, 'quotes " and \\ and\nlines\t\x00\x7f\u2028 and Ångström 🍎'),
    Literal(TensorType(DataType.STRING, (2, 1)), np.array([["a"], ["b, c"]], object)),
    Literal(ListType(STRING, 2), ["cat", "dog, wolf"]),
    Literal(ListType(INT32, None), []),
    Literal(DictionaryType(STRING, STRING), {"a": "b", "c]": "}{"}),
    Literal(TupleType((STRING, ListType(INT32, 2))), ("x", [np.array(1, np.int32), np.array(-2, np.int32)])),
]


@pytest.mark.parametrize("opset", ["CoreML6", "CoreML8"])
def test_values_bit_for_bit(opset):
    """Both as attributes and, as iOS 18 has them, as arguments."""
    attributes = {f"a{number}": literal for number, literal in enumerate(ROWS)}
    inputs = {name: (literal, literal) if number % 2 else (literal,) for number, (name, literal) in enumerate(attributes.items())}  # fmt: skip
    outputs = (Value("y", INT32),)
    block = Block((), (Operation("anything", inputs, outputs, (), attributes),), outputs)
    program = Program({"main": Function("main", opset, (), block, dict(list(attributes.items())[-6:]))}, 1, {})
    found = parse_program(mil_text(program))
    assert_same_program(found, program)
    again = ct.proto.Model_pb2.Model(specificationVersion=9)
    again.mlProgram.ParseFromString(write_program(program).SerializeToString())
    read = read_program(open_asset(again)).functions["main"]
    for name, literal in attributes.items():
        assert_same_literal(read.block.operations[0].attributes[name], literal, name)


# What Apple's compiler wrote

APPLE = ["add", "silero-vad-unified", "silero-vad-palette-4bit", "yolov8n/model0"]


@pytest.mark.parametrize("name", APPLE)
def test_the_text_is_what_apple_wrote(name, shared_models):
    first, *rest = name.split("/")
    data = (shared_models / "compiled" / f"{first}.mlmodelc").joinpath(*rest, "model.mil").read_text(encoding="utf-8")
    assert mil_text(parse_program(data)).strip() == data.strip()
