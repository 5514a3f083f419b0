"""Relative costs: the estimate puts operations in the order that their counted arithmetic and bytes give."""

from __future__ import annotations

import itertools

import numpy as np
import onnx.parser
import pytest

from pippin.specialization.segment import relative_costs

ENGINES = ("onnxruntime", "openvino", "another")


def model(text, weights=(), **inputs):
    """Nodes by ONNX's text form, named after their first output; `inputs` and `weights` have the shapes."""

    def declared(shapes):
        return ", ".join(f"float[{','.join(map(str, shape))}] {name}" for name, shape in shapes)

    last = [line for line in text.strip().splitlines() if line.strip()][-1].split("=")[0].strip()
    made = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g ({declared(inputs.items())}) => (float[] {last}) {{ {text} }}'
    )
    made.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights
    )
    for node in made.graph.node:
        node.name = f"{node.output[0]}/{node.op_type}"
    return made


def costs(made, engine="openvino", sizes=None):
    names = [node.output[0] for node in made.graph.node]
    found = relative_costs(made, names, dict.fromkeys(names, engine), sizes)
    assert sum(found.values()) == pytest.approx(1)
    return found


def conv(image, outputs, inputs, kernel):
    """Multiply-adds and bytes of a convolution that keeps the image's size."""
    return image**2 * outputs * inputs * kernel**2, 4 * (image**2 * (outputs + inputs) + outputs * inputs * kernel**2)


def product(rows, inner, columns):
    return rows * inner * columns, 4 * (rows * inner + inner * columns + rows * columns)


def elementwise(elements):
    return elements, 8 * elements


# Each network with the multiply-adds and bytes of its operations, counted by hand.
NETWORKS = {
    "convolutional": (
        model(
            """
            a = Conv <pads = [1, 1, 1, 1]> (x, wa)
            b = Conv <pads = [1, 1, 1, 1]> (a, wb)
            c = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
            d = Conv (c, wd)
            e = GlobalAveragePool (d)
            f = Softmax <axis = 1> (e)
            """,
            [("wa", (32, 32, 3, 3)), ("wb", (128, 32, 3, 3)), ("wd", (32, 128, 1, 1))],
            x=(1, 32, 64, 64),
        ),
        {"a": conv(64, 32, 32, 3), "b": conv(64, 128, 32, 3), "d": conv(32, 32, 128, 1),
         "f": elementwise(32)},
    ),
    "mobile": (
        model(
            """
            a = Conv (x, wa)
            b = Clip (a)
            c = Conv <group = 192, pads = [1, 1, 1, 1]> (b, wc)
            d = Clip (c)
            e = Conv (d, we)
            f = Add (e, x)
            """,
            [("wa", (192, 32, 1, 1)), ("wc", (192, 1, 3, 3)), ("we", (32, 192, 1, 1))],
            x=(1, 32, 56, 56),
        ),
        {"a": conv(56, 192, 32, 1), "c": (56**2 * 192 * 9, 8 * 56**2 * 192),
         "f": elementwise(56**2 * 32)},
    ),
    "transformer": (
        model(
            """
            q = MatMul (x, wq)
            k = Transpose <perm = [1, 0]> (x)
            s = MatMul (q, k)
            p = Softmax (s)
            v = MatMul (p, x)
            u = MatMul (v, wu)
            g = Erf (u)
            """,
            [("wq", (256, 256)), ("wu", (256, 1024))],
            x=(64, 256),
        ),
        {"q": product(64, 256, 256), "s": product(64, 256, 64), "v": product(64, 64, 256),
         "u": product(64, 256, 1024), "k": elementwise(64 * 256)},
    ),
    "recurrent": (
        model(
            """
            a = Relu (x)
            y = LSTM <hidden_size = 256> (a, w, r)
            z = Relu (y)
            """,
            [("w", (1, 1024, 64)), ("r", (1, 1024, 256))],
            x=(20, 1, 64),
        ),
        {"a": elementwise(20 * 64), "y": (20 * 1024 * 320, 4 * 1024 * 320), "z": elementwise(20 * 256)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_counted_work(name, engine):
    """What takes at least four times the multiply-adds and the bytes costs more."""
    made, counted = NETWORKS[name]
    found = costs(made, engine)
    pairs = [
        (more, less)
        for more, less in itertools.permutations(counted, 2)
        if all(m >= 4 * n for m, n in zip(counted[more], counted[less], strict=True))
    ]
    assert pairs
    assert not [(more, less) for more, less in pairs if found[more] <= found[less]]


IMAGE = {"x": (1, 64, 128, 128)}
WIDE = [("w", (64, 64, 3, 3))]

# A costs more than `times` b: text, weights, inputs, (a, times, b), engines.
ROWS = {
    "a depthwise convolution is slow for its arithmetic": (
        "b = Conv (x, wb)\n a = Conv <group = 64> (b, wa)", [("wb", (64, 8, 1, 1)), ("wa", (64, 1, 3, 3))],
        {"x": (1, 8, 64, 64)}, ("a", 0.5, "b"), ENGINES,
    ),
    "three output channels are as slow as sixteen": (
        "a = Conv (x, wa)\n b = Conv (x, wb)\n y = Concat <axis = 1> (a, b)",
        [("wa", (3, 64, 3, 3)), ("wb", (16, 64, 3, 3))], IMAGE, ("a", 0.9, "b"), ENGINES,
    ),
    "a transposed convolution": (
        "b = Conv (x, w)\n a = ConvTranspose (b, w)", WIDE, IMAGE, ("a", 1.5, "b"), ENGINES,
    ),
    "a row times a matrix reads the whole matrix": (
        "a = MatMul (x, w)\n b = Exp (a)", [("w", (1024, 1024))], {"x": (1, 1024)}, ("a", 20, "b"), ("openvino",),
    ),
    "a resize": (
        "b = Relu (x)\n r = Identity (e)\n a = Resize <mode = \"linear\"> (b, r, s)\n y = Relu (a)",
        [("e", (0,)), ("s", (4,))], IMAGE, ("a", 2, "y"), ENGINES,
    ),
    "an activation after a convolution": (
        "a = Conv (x, w)\n b = Relu (a)", WIDE, IMAGE, ("a", 50, "b"), ENGINES,
    ),
    "an addition after a convolution is a kernel of its own": (
        "a = Conv (x, w)\n b = Add (x, x)\n c = Relu (b)", WIDE, IMAGE, ("c", 0.5, "b"), ("onnxruntime",),
    ),
    "a chain is one kernel": (
        "a = Exp (x)\n b = Neg (a)", (), IMAGE, ("a", 3, "b"), ("openvino", "another"),
    ),
    "a chain is several kernels": (
        "a = Abs (x)\n b = Neg (a)", (), IMAGE, ("b", 0.9, "a"), ("onnxruntime",),
    ),
    "an activation that something else reads too is not fused": (
        "b = Exp (x)\n a = Abs (b)\n y = Concat <axis = 1> (a, b)", (), IMAGE, ("a", 0.5, "b"), ("openvino",),
    ),
    "multiplying by one is nothing": (
        "a = Relu (x)\n b = Mul (a, w)", [("w", ())], IMAGE, ("a", 1e6, "b"), ENGINES,
    ),
    "what is made of weights alone is computed at load": (
        "b = Exp (w)\n a = MatMul (x, b)", [("w", (1024, 1024))], {"x": (1, 1024)}, ("a", 1e6, "b"), ENGINES,
    ),
    "an identity is nothing": ("a = Relu (x)\n b = Identity (a)", (), IMAGE, ("a", 1e6, "b"), ENGINES),
    "a small sigmoid at the output has another form": (
        "b = Sigmoid (x)\n m = Softmax (b)\n a = Sigmoid (m)", (), {"x": (1, 64)}, ("a", 5, "b"), ("onnxruntime",),
    ),
    "a transposition moves everything": (
        "b = Relu (x)\n a = Transpose <perm = [0, 2, 3, 1]> (b)", (), IMAGE, ("a", 0.9, "b"), ENGINES,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "engine"), [(name, e) for name, row in ROWS.items() for e in row[4]])
def test_kinds_of_operations(name, engine):
    text, weights, inputs, (more, times, less), _ = ROWS[name]
    found = costs(model(text, weights, **inputs), engine)
    assert found[more] > times * found[less]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slice_reads_what_it_returns(engine):
    made = model("a = Slice (x, z, o)\n b = Relu (x)", **IMAGE)
    made.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.array([value], np.int64), name) for name, value in (("z", 0), ("o", 1))
    )
    found = costs(made, engine)
    assert found["a"] <= found["b"] * 1.3


def test_flexible_inputs_have_the_sizes_that_are_given():
    text = "a = Conv (x, w)\n b = MatMul (y, v)\n z = Relu (b)"
    weights = [("w", (64, 64, 3, 3)), ("v", (512, 512))]
    made = model(text, weights, x=(1, 64, "h", "w0"), y=(256, 512))
    small, large = costs(made, sizes={"x": (1, 64, 8, 8)}), costs(made, sizes={"x": (1, 64, 512, 512)})
    assert large["a"] > 10 * large["b"]
    assert small["a"] < small["b"]


def test_a_shape_that_only_the_prediction_knows_holds_what_it_was_made_of():
    text = "s = Shape (y)\n a = Reshape (x, s)\n b = Exp (a)\n c = Exp (x)"
    made = model(text, x=(64, 64, 64), y=("a", "b", "c"))
    found = costs(made, "onnxruntime")
    assert found["b"] == pytest.approx(found["c"], rel=0.01)


def test_little_is_left_of_a_selection():
    made = model("i = NonZero (x)\n c = Cast <to = 1> (i)\n b = Exp (c)\n a = Exp (x)", **IMAGE)
    found = costs(made, "onnxruntime")
    assert found["a"] > 20 * found["b"]


def test_each_segment_has_the_habits_of_its_engine():
    made = model("a = Exp (x)\n b = Neg (a)\n c = Exp (b)\n d = Neg (c)", **IMAGE)
    found = relative_costs(
        made, list("abcd"), {"a": "openvino", "b": "openvino", "c": "onnxruntime", "d": "onnxruntime"}
    )
    assert found["b"] < found["a"] / 3 and found["d"] > found["c"] * 0.3
