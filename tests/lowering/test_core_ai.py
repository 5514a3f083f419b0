"""Core AI's operations that Apple's package cannot be asked for one by one, and what torch's export spells out."""

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lowering.harness import compiled_on
from pippin.errors import PredictionError, UnsupportedOperationError
from pippin.lowering.lower_program import lower
from pippin.lowering.lowered_model import refuse_outside
from pippin.program.aicode_reader import OPSET
from pippin.program.ir import STRING, Block, Function, Literal, NameAndValue, Operation, Program, Value
from pippin.types import DataType, TensorType

DTYPES = {np.dtype(d.numpy): d for d in (DataType.FLOAT32, DataType.INT32, DataType.BOOL, DataType.UINT32)}
ENGINES = ("onnxruntime", "openvino")


def kind_of(array):
    return TensorType(DTYPES[np.asarray(array).dtype], np.shape(array))


class Writer:
    """Writes a function of one input, `x`."""

    def __init__(self, x):
        self.x = Value("x", kind_of(x))
        self.operations = []

    def const(self, array):
        value = Value(f"c{len(self.operations)}", kind_of(array))
        attributes = NameAndValue(value.name, Literal(value.type, np.asarray(array)))
        self.operations.append(Operation("const", {}, (value,), attributes=attributes))
        return value

    def __call__(self, name, like, blocks=(), attributes=None, **inputs):
        value = Value(f"v{len(self.operations)}", kind_of(like))
        bound = {k: (v if isinstance(v, Value) else self.const(v),) for k, v in inputs.items()}
        texts = {k: Literal(STRING, v) for k, v in (attributes or {}).items()}
        self.operations.append(Operation(f"coreai.{name}", bound, (value,), blocks, texts))
        return value

    def lowered(self, result):
        block = Block((), tuple(self.operations), (result,))
        return lower(Program({"main": Function("main", OPSET, (self.x,), block)}), "main")


def floats(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-3, 3, shape).astype(np.float32)


def i32(*values):
    return np.array(values, np.int32)


def u32(*values):
    return np.array(values, np.uint32)


IMAGE, WEIGHT, BIAS = floats(1, 3, 6, 7), floats(4, 3, 3, 3, seed=1), floats(1, 4, 1, 1, seed=2)
VECTOR = np.array([-4, -3, -1, 0, 1, 3, 7], np.float32)
SLOPE = np.array([0.1, 0.25, -0.5, 2], np.float32).reshape(1, 4, 1, 1)


def padded(w, value, mode="constant"):
    like = np.pad(IMAGE, [(0, 0), (0, 0), (1, 1), (2, 1)])
    amounts = u32(0, 0, 0, 0, 1, 1, 2, 1)
    return w(
        "pad", like, attributes={"padding_mode": mode}, input=w.x, padding=amounts, padding_value=np.float32(value)
    )


def convolution(w, x, weight, like):
    one = u32(1, 1)
    return w("conv2d", like, input=x, weight=weight, stride=one, dilation=one, groups=np.array(1, np.uint32))


def conv(w):
    expected = F.conv2d(F.pad(torch.tensor(IMAGE), (2, 1, 1, 1)), torch.tensor(WEIGHT)).numpy()
    return convolution(w, padded(w, 0), WEIGHT, expected), expected


def conv_of_other_padding(w):
    expected = F.conv2d(F.pad(torch.tensor(IMAGE), (2, 1, 1, 1), value=1), torch.tensor(WEIGHT)).numpy()
    return convolution(w, padded(w, 1), WEIGHT, expected), expected


def pooled(w):
    expected = F.max_pool2d(F.pad(torch.tensor(IMAGE), (2, 1, 1, 1), value=-np.inf), 3, 1).numpy()
    x = padded(w, -np.inf)
    return w(
        "max_pool_2d",
        expected,
        input=x,
        kernel_size=u32(3, 3),
        stride=u32(1, 1),
        dilation=u32(1, 1),
        ceil_mode=np.array(False),
    ), expected


def mean(w):
    expected = F.avg_pool2d(F.pad(torch.tensor(IMAGE), (2, 1, 1, 1)), 3, 2).numpy()
    total = w("sum_pool_2d", expected, input=padded(w, 0), kernel_size=u32(3, 3), strides=u32(2, 2), dilation=u32(1, 1))
    return w("broadcasting_divide", expected, x=total, y=np.float32(9)), expected


def mean_of_padding(w):
    """A window that lies in the padding: engines want no such padding of a pool."""
    expected = F.avg_pool2d(F.pad(torch.tensor(IMAGE), (2, 1, 1, 1)), 2).numpy()
    total = w("sum_pool_2d", expected, input=padded(w, 0), kernel_size=u32(2, 2), strides=u32(2, 2), dilation=u32(1, 1))
    return w("broadcasting_divide", expected, x=total, y=np.float32(4)), expected


def biased(w, weight, bias):
    like = F.conv2d(torch.tensor(IMAGE), torch.tensor(weight)).numpy()
    return w("broadcasting_add", like, x=convolution(w, w.x, weight, like), y=bias), like + bias


def twins(w, factor=SLOPE):
    """Apple's compiler multiplies a second convolution by the slope."""
    first, one = biased(w, WEIGHT, BIAS)
    second, other = biased(w, WEIGHT * factor.reshape(4, 1, 1, 1), BIAS * factor)
    above = w("broadcasting_greater", one > 0, input=first, other=np.float32(0))
    return w("broadcasting_where", one, condition=above, a=first, b=second), np.where(one > 0, one, other)


def no_twins(w):
    first, one = biased(w, WEIGHT, BIAS)
    second, other = biased(w, WEIGHT[::-1].copy(), BIAS)
    above = w("broadcasting_greater", one > 0, input=first, other=np.float32(0))
    return w("broadcasting_where", one, condition=above, a=first, b=second), np.where(one > 0, one, other)


def parametric(w):
    slope = np.array([0.5, 0.25, 0.1, 3, 1, -1, 2], np.float32)
    above = w("greater", VECTOR > 0, input=w.x, other=np.float32(0))
    scaled = w("broadcasting_mul", VECTOR, x=w.x, y=slope)
    return w("where", VECTOR, condition=above, a=w.x, b=scaled), np.where(VECTOR > 0, VECTOR, slope * VECTOR)


def leaky(w):
    upper = w("broadcasting_maximum", VECTOR, x=w.x, y=np.float32(0))
    lower = w("broadcasting_minimum", VECTOR, x=w.x, y=np.float32(0))
    scaled = w("broadcasting_mul", VECTOR, x=lower, y=np.float32(0.1))
    return w("add", VECTOR, x=upper, y=scaled), np.where(VECTOR > 0, VECTOR, np.float32(0.1) * VECTOR)


def clip(w, x=None):
    least = w("broadcasting_maximum", VECTOR, x=x or w.x, y=np.float32(0))
    return w("broadcasting_minimum", VECTOR, x=least, y=np.float32(6)), np.clip(VECTOR, 0, 6)


def swish(w):
    shifted = w("broadcasting_add", VECTOR, x=w.x, y=np.float32(3))
    gate = w("broadcasting_divide", VECTOR, x=clip(w, shifted)[0], y=np.float32(6))
    return w("mul", VECTOR, x=w.x, y=gate), VECTOR * np.clip(VECTOR + 3, 0, 6) / 6


def broadcast(w):
    wide = w("broadcast_to", IMAGE, input=floats(1, 3, 1, 1, seed=3), shape=i32(1, 3, 6, 7))
    return w("add", IMAGE, x=w.x, y=wide), IMAGE + floats(1, 3, 1, 1, seed=3)


SPELLED_OUT = {
    "conv": (conv, IMAGE, {"Conv": 1}),
    "conv, other padding": (conv_of_other_padding, IMAGE, {"Pad": 1, "Conv": 1}),
    "max_pool": (pooled, IMAGE, {"MaxPool": 1}),
    "avg_pool": (mean, IMAGE, {"AveragePool": 1}),
    "avg_pool of padding": (mean_of_padding, IMAGE, {"Pad": 1, "AveragePool": 1}),
    "prelu of a convolution": (twins, IMAGE, {"Conv": 1, "Add": 1, "PRelu": 1}),
    "two convolutions": (no_twins, IMAGE, {"Conv": 2, "Add": 2, "Greater": 1, "Where": 1}),
    "prelu": (parametric, VECTOR, {"PRelu": 1}),
    "leaky_relu": (leaky, VECTOR, {"LeakyRelu": 1}),
    "clip": (clip, VECTOR, {"Clip": 1}),
    "hard_swish": (swish, VECTOR, {"HardSwish": 1}),
    "broadcast": (broadcast, IMAGE, {"Add": 1}),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("make", "x", "nodes"), SPELLED_OUT.values(), ids=SPELLED_OUT)
def test_what_torch_spells_out_is_one_operator(make, x, nodes, engine):
    w = Writer(x)
    result, expected = make(w)
    lowered = w.lowered(result)
    kinds = Counter(node.op_type for node in lowered.model.graph.node)
    assert {kind: count for kind, count in kinds.items() if kind != "Identity"} == nodes
    (port,) = lowered.outputs
    found = compiled_on(engine, lowered).run({"x": x})[port.tensor]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def reduced(operation, init, by):
    """`reduce` with a body of one operation."""

    def make(w, x):
        scalar = TensorType(DataType.FLOAT32, ())
        a, b, c = (Value(name, scalar) for name in "abc")
        body = Block((a, b), (Operation(f"coreai.{operation}", {"x": (a,), "y": (b,)}, (c,)),), (c,))
        expected = by(x.sum(1, keepdims=True) if operation == "add" else x.max(1, keepdims=True), init)
        return w("reduce", expected, (body,), input=w.x, axes=i32(1), init_value=np.float32(init)), expected

    return make


def indexed(least):
    """`reduce_index`, which looks for the least or the greatest element."""

    def make(w, x):
        scalar = TensorType(DataType.FLOAT32, ())
        best, candidate, flag = (
            Value("best", scalar),
            Value("candidate", scalar),
            Value("flag", TensorType(DataType.BOOL, ())),
        )
        order = (best, candidate) if least else (candidate, best)
        compare = Operation("coreai.greater", {"input": order[:1], "other": order[1:]}, (flag,))
        expected = (x.argmin if least else x.argmax)(1, keepdims=True).astype(np.uint32)
        body = Block((best, candidate), (compare,), (flag,))
        end = np.finfo(np.float32).max if least else np.finfo(np.float32).min
        return w(
            "reduce_index",
            expected,
            (body,),
            input=w.x,
            axis=np.array(1, np.int32),
            init_value=end,
            init_index=np.array(0, np.uint32),
        ), expected

    return make


BODIES = {
    "sum": reduced("add", 0, np.add),
    "sum from 2": reduced("add", 2, np.add),
    "maximum from 2": reduced("maximum", 2, np.maximum),
    "argmin": indexed(True),
    "argmax": indexed(False),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", BODIES.values(), ids=BODIES)
def test_a_reduction_by_a_body(make, engine):
    x = floats(3, 5)
    w = Writer(x)
    result, expected = make(w, x)
    lowered = w.lowered(result)
    found = compiled_on(engine, lowered).run({"x": x})[lowered.outputs[0].tensor]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_unknown_body_is_refused_by_name():
    w = Writer(floats(3, 5))
    make = reduced("atan2", 0, np.add)
    with pytest.raises(UnsupportedOperationError, match=r"\[coreai.reduce\].*reduces by 'coreai.atan2'"):
        w.lowered(make(w, floats(3, 5))[0])


OUTSIDE = {
    "gather_nd": lambda w: w("gather_nd", floats(1, 3), input=floats(4, 3), indices=w.x),
    "gather_along_axis": lambda w: w(
        "gather_along_axis", floats(1, 1), input=floats(4, 1), indices=w.x, axis=np.array(0, np.int32)
    ),
    "scatter_nd": lambda w: w("scatter_nd", floats(4, 3), input=floats(4, 3), indices=w.x, updates=floats(1, 3)),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", OUTSIDE.values(), ids=OUTSIDE)
@pytest.mark.parametrize("index", [4, -5])
def test_an_index_outside_is_an_error(make, index, engine):
    w = Writer(np.array([[index]], np.int32))
    lowered = w.lowered(make(w))
    given = {"x": np.array([[index]], np.int32)}
    with pytest.raises(PredictionError, match=rf"\[coreai\..*the index {index} is outside the axis of size 4"):
        refuse_outside([check for check in lowered.index_checks if check.before], given)
        refuse_outside(lowered.index_checks, given | compiled_on(engine, lowered).run(given))


def test_sparse_weights_become_dense():
    mask, values = np.array([[False, True, False], [True, False, True]]), np.array([10, 20, 30], np.float32)
    w = Writer(floats(2, 3))
    sparse = w("build_sparse_with_bitmask", floats(2, 3), values=values, bitmask=mask)
    dense = w("sparse_with_bitmask_to_dense", floats(2, 3), input=sparse)
    lowered = w.lowered(w("add", floats(2, 3), x=w.x, y=dense))
    found = compiled_on("onnxruntime", lowered).run({"x": floats(2, 3)})[lowered.outputs[0].tensor]
    np.testing.assert_array_equal(found, floats(2, 3) + np.array([[0, 10, 0], [20, 0, 30]], np.float32))
