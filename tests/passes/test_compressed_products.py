"""Compressed products: each engine's form computes what the integers say, by numpy in float64, and keeps them small."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest

from pippin.devices import cpu
from pippin.engines import Settings, all_engines
from pippin.lowering.onnx_builder import Graph, Tensor
from pippin.passes.compressed_products import WORTHWHILE, has_compressed_products
from pippin.passes.matmul_nbits import packed_products
from pippin.passes.scaled_weights import scaled_weights
from pippin.specialization.precision import signal_to_noise

ENGINES = [name for name in ("onnxruntime", "openvino") if all_engines()[name].installed]
EXACT = 100.0  # dB; products in float32 keep 120 to 145
INT4, UINT4 = np.dtype(ml_dtypes.int4), np.dtype(ml_dtypes.uint4)
INT8, UINT8 = np.dtype(np.int8), np.dtype(np.uint8)
NBITS = "MatMulNBits"


class Weights:
    """Random integers [rows, columns] with scales, for one product."""

    def __init__(self, dtype, rows, columns, blocks, zeros):
        random = np.random.default_rng([rows, columns, blocks or 0])
        limits = ml_dtypes.iinfo(dtype)
        low, high = int(limits.min), int(limits.max) + 1
        self.codes = random.integers(low, high, (rows, columns)).astype(dtype)
        shape = () if blocks is None else (rows,) if blocks == 1 else (rows, blocks)
        self.scales = random.uniform(0.5, 2, shape).astype(np.float32)
        self.zeros = None
        if zeros == "any":
            self.zeros = random.integers(low, high, shape).astype(dtype)
        elif zeros == "middle" or shape[1:]:  # blocks always have zero points
            self.zeros = np.full(shape, (low + high) // 2).astype(dtype)
        self.how = (
            {} if blocks is None else {"axis": 0} if blocks == 1 else {"axis": 1, "block_size": columns // blocks}
        )
        self.dense = (self._whole(self.codes) - self._whole(self.zeros)) * self._whole(self.scales)

    def _whole(self, values):
        values = np.zeros(()) if values is None else values.astype(np.float64)
        if values.ndim == 1:
            values = values[:, None]
        return np.repeat(values, self.codes.shape[1] // values.shape[1], 1) if values.ndim == 2 else values

    def turned(self):
        """The same, stored as [columns, rows]."""
        made = object.__new__(Weights)
        made.codes, made.dense = self.codes.T, self.dense
        made.scales, made.zeros = self.scales.T, None if self.zeros is None else self.zeros.T
        made.how = {**self.how, "axis": 1 - self.how["axis"]} if self.how else {}
        return made


def product(weights, rows, form="linear", bias=None):
    """The model of one product, and the number of columns."""
    g, columns = Graph(), weights.dense.shape[1]
    x = Tensor("x", np.dtype(np.float32), (rows, columns) if form == "gemm" else (1, rows, columns))
    matrix = g.DequantizeLinear(weights.codes, weights.scales, weights.zeros, **weights.how)
    if form == "gemm":
        y = g.Gemm(x, matrix, bias, transB=1)
    else:
        y = g.MatMul(x, g.Transpose(matrix, perm=[1, 0]) if form == "linear" else matrix)
        y = y if bias is None else g.Add(y, bias)
    return g.model("main", [x], [g.named(y, "y")])


def kinds(model):
    return [node.op_type for node in model.graph.node]


def weight_bytes(model):
    return sum(len(tensor.raw_data) or len(tensor.int32_data) for tensor in model.graph.initializer)


def decibels(weights, model, engine, rows, bias=0.0):
    made = all_engines()[engine].prepared(model)
    shape = [dim.dim_value or rows for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(rows).standard_normal(shape).astype(np.float32)
    found = all_engines()[engine].compile(made.SerializeToString(), Settings(threads=1)).run({"x": x})
    return signal_to_noise({"y": x.astype(np.float64) @ weights.dense.T + bias}, found, ["y"])["y"], made


# integers, rows, columns, blocks of a row (None: one scale), zero points
KINDS = {
    "4 bits, one scale": (INT4, 64, 96, None, ""),
    "4 bits by channel": (INT4, 64, 96, 1, ""),
    "4 bits by channel, odd sizes": (INT4, 33, 201, 1, "any"),
    "4 bits unsigned by channel": (UINT4, 64, 96, 1, "any"),
    "4 bits unsigned, zero points in the middle": (UINT4, 64, 128, 4, "middle"),
    "blocks of 8": (INT4, 64, 96, 12, ""),
    "blocks of 8, zero points": (INT4, 64, 96, 12, "any"),
    "blocks of 16": (INT4, 64, 96, 6, "any"),
    "blocks of 24": (INT4, 64, 96, 4, ""),
    "blocks of 32": (INT4, 64, 96, 3, ""),
    "blocks of 32, zero points": (INT4, 64, 96, 3, "any"),
    "blocks of 32, unsigned": (UINT4, 64, 96, 3, "any"),
    "blocks of 40": (INT4, 64, 80, 2, ""),
    "blocks of 48": (UINT4, 64, 96, 2, "any"),
    "blocks of 64": (INT4, 64, 128, 2, ""),
    "blocks of 128": (INT4, 32, 256, 2, "any"),
    "8 bits, one scale": (INT8, 64, 96, None, ""),
    "8 bits by channel": (INT8, 64, 96, 1, ""),
    "8 bits by channel, odd sizes": (INT8, 33, 201, 1, "any"),
    "8 bits by channel, zero points": (INT8, 64, 96, 1, "any"),
    "8 bits unsigned": (UINT8, 64, 96, 1, "any"),
    "8 bits unsigned, zero points in the middle": (UINT8, 64, 96, 1, "middle"),
    "8 bits, blocks of 6": (INT8, 64, 96, 16, "any"),
    "8 bits, blocks of 8": (INT8, 64, 96, 12, "any"),
    "8 bits, blocks of 32": (INT8, 64, 96, 3, ""),
    "8 bits unsigned, blocks of 128": (UINT8, 32, 256, 2, "any"),
}
# ONNX Runtime's kernel has blocks of 16 and more columns, and two halves of bytes must be whole blocks. OpenVINO's gets
# the others wrong.
UNPACKED = {
    "onnxruntime": {
        "blocks of 40", "blocks of 8", "blocks of 8, zero points", "blocks of 24", "8 bits, blocks of 6", "8 bits, blocks of 8",
        "8 bits by channel, odd sizes",
    },
    "openvino": {"4 bits by channel, odd sizes", "8 bits, blocks of 6"},
}  # fmt: skip


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_the_numbers_are_those_of_the_integers(engine, kind, rows):
    weights = Weights(*KINDS[kind])
    found, made = decibels(weights, product(weights, rows), engine, rows)
    assert found > EXACT
    assert "DequantizeLinear" not in kinds(made)
    if kind in UNPACKED[engine]:
        assert kinds(made)[0] in ("MatMul", "Transpose")
    else:
        assert weight_bytes(made) <= 2 * weights.dense.size  # float32 has 4 bytes each


@pytest.mark.parametrize("form", ["linear", "matmul", "gemm"])
@pytest.mark.parametrize(
    "kind", ["4 bits, one scale", "4 bits by channel", "blocks of 32, zero points", "8 bits by channel"]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_forms_of_a_product(engine, kind, form):
    weights = Weights(*KINDS[kind])
    bias = np.random.default_rng(1).standard_normal(len(weights.dense)).astype(np.float32)
    stored = weights.turned() if form == "matmul" else weights
    found, made = decibels(weights, product(stored, 2, form, bias), engine, 2, bias)
    assert found > EXACT
    assert "DequantizeLinear" not in kinds(made)


def pointwise(weights, positions, bias=None, kernel=1):
    """The model of one convolution, with its weights as a kernel of that size."""
    g, columns = Graph(), weights.dense.shape[1]
    x = Tensor("x", np.dtype(np.float32), (2, columns // kernel, *positions))
    codes = weights.codes.reshape(len(weights.dense), columns // kernel, *[1] * (len(positions) - 1), kernel)
    scales, zeros = (
        each if each is None or each.ndim < 2 else each.reshape(*each.shape, *[1] * len(positions))
        for each in (weights.scales, weights.zeros)
    )
    matrix = g.DequantizeLinear(codes, scales, zeros, **weights.how)
    return g.model("main", [x], [g.named(g.Conv(x, matrix, bias, kernel_shape=codes.shape[2:]), "y")])


@pytest.mark.parametrize("positions", [(1,), (5,), (1, 1), (3, 2)])
@pytest.mark.parametrize(
    "kind", ["4 bits, one scale", "4 bits by channel", "blocks of 32, zero points", "8 bits by channel"]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_pointwise_convolution_is_a_product(engine, kind, positions):
    weights = Weights(*KINDS[kind])
    bias = np.random.default_rng(1).standard_normal(len(weights.dense)).astype(np.float32)
    model = pointwise(weights, positions, bias)
    made = all_engines()[engine].prepared(model)
    assert "DequantizeLinear" not in kinds(made)
    assert "Conv" not in kinds(made)
    x = np.random.default_rng(0).standard_normal((2, weights.dense.shape[1], *positions)).astype(np.float32)
    found = all_engines()[engine].compile(made.SerializeToString(), Settings(threads=1)).run({"x": x})
    right = np.moveaxis(np.moveaxis(x.astype(np.float64), 1, -1) @ weights.dense.T + bias, -1, 1)
    assert signal_to_noise({"y": right}, found, ["y"])["y"] > EXACT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_rows_of_a_table(engine, kind):
    """Embeddings: ONNX Runtime keeps the integers where blocks are powers of two of 16 and more."""
    weights, g = Weights(*KINDS[kind]), Graph()
    indices = Tensor("i", np.dtype(np.int32), (None, 3))
    table = g.DequantizeLinear(weights.codes, weights.scales, weights.zeros, **weights.how)
    made = all_engines()[engine].prepared(g.model("main", [indices], [g.named(g.Gather(table, indices, axis=0), "y")]))
    block = weights.how.get("block_size", 32)
    if engine == "onnxruntime":
        assert ("GatherBlockQuantized" in kinds(made)) == (
            block in (16, 32, 64, 128) and weights.codes.shape[1] % block == 0
        )
    i = np.array([[0, 3, 3], [len(weights.dense) - 1, 1, 0]], np.int32)
    found = all_engines()[engine].compile(made.SerializeToString(), Settings(threads=1)).run({"i": i})["y"]
    np.testing.assert_allclose(found, weights.dense[i], rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_embedding_and_the_products_after_it(engine):
    """ONNX infers no shapes behind ONNX Runtime's own operators."""
    weights, g = Weights(INT4, 96, 96, 3, "any"), Graph()
    indices = Tensor("i", np.dtype(np.int32), (1, None))
    table = g.DequantizeLinear(weights.codes, weights.scales, weights.zeros, **weights.how)
    matrix = g.Transpose(table, perm=[1, 0])
    y = g.MatMul(g.MatMul(g.Gather(table, indices, axis=0), matrix), matrix)
    made = all_engines()[engine].prepared(g.model("main", [indices], [g.named(y, "y")]))
    assert "DequantizeLinear" not in kinds(made) or engine == "openvino"
    assert kinds(made).count(NBITS if engine == "onnxruntime" else "MatMul") == 2
    assert weight_bytes(made) <= 3 * weights.dense.size
    found = (
        all_engines()[engine]
        .compile(made.SerializeToString(), Settings(threads=1))
        .run({"i": np.array([[5, 7]], np.int32)})
    )
    right = weights.dense[[[5, 7]]] @ weights.dense.T @ weights.dense.T
    assert signal_to_noise({"y": right}, found, ["y"])["y"] > EXACT


@pytest.mark.parametrize(("kind", "rows", "packed"), [
    ("8 bits by channel", 1, True), ("8 bits by channel", None, True), ("8 bits by channel", 64, False),
    ("blocks of 32", 64, True),
])  # fmt: skip
def test_bytes_as_two_numbers_are_for_few_rows(kind, rows, packed):
    weights = Weights(*KINDS[kind])
    found, made = decibels(weights, product(weights, rows), "onnxruntime", rows or 5)
    assert found > EXACT
    assert (NBITS in kinds(made)) == packed


@pytest.mark.parametrize("rewrite", [packed_products, scaled_weights])
def test_equal_weights_are_stored_once(rewrite):
    weights, g = Weights(*KINDS["blocks of 32"]), Graph()
    x = Tensor("x", np.dtype(np.float32), (1, 2, 96))
    matrix = g.Transpose(g.DequantizeLinear(weights.codes, weights.scales, weights.zeros, **weights.how), perm=[1, 0])
    both = g.model("main", [x], [g.named(g.Add(g.MatMul(x, matrix), g.MatMul(g.Neg(x), matrix)), "y")])
    assert weight_bytes(rewrite(both)) <= weight_bytes(rewrite(product(weights, 2))) + 64


@pytest.mark.parametrize("engine", ENGINES)
def test_what_else_reads_the_weights_still_does(engine):
    weights, g = Weights(*KINDS["4 bits by channel"]), Graph()
    x = Tensor("x", np.dtype(np.float32), (1, 2, 96))
    matrix = g.DequantizeLinear(weights.codes, weights.scales, weights.zeros, **weights.how)
    total = g.Add(g.MatMul(x, g.Transpose(matrix, perm=[1, 0])), g.ReduceSum(matrix, [1], keepdims=0))
    found, _ = decibels(weights, g.model("main", [x], [g.named(total, "y")]), engine, 2, weights.dense.sum(1))
    assert found > EXACT


def _quantized_activation():
    weights, g = Weights(*KINDS["8 bits by channel"]), Graph()
    x = Tensor("x", np.dtype(np.float32), (2, 96))
    step = np.float32(0.1), np.int8(0)
    matrix = g.DequantizeLinear(weights.codes, weights.scales, weights.zeros, **weights.how)
    y = g.Gemm(g.DequantizeLinear(g.QuantizeLinear(x, *step), *step), matrix, None, transB=1)
    return g.model("main", [x], [g.named(y, "y")])


def _scale_by_column():
    weights = Weights(*KINDS["4 bits by channel"])
    weights.scales, weights.how = np.ones(96, np.float32), {"axis": 1}
    return product(weights, 2)


def _vector():
    weights, g = Weights(*KINDS["4 bits by channel"]).turned(), Graph()
    x = Tensor("x", np.dtype(np.float32), (96,))
    matrix = g.DequantizeLinear(weights.codes, weights.scales, weights.zeros, **weights.how)
    return g.model("main", [x], [g.named(g.MatMul(x, matrix), "y")])


STAYS = {
    "few weights": lambda: product(Weights(INT4, 16, 32, 1, ""), 2),
    "activations of 8 bits": _quantized_activation,
    "a scale for each column": _scale_by_column,
    "a convolution of many positions": lambda: pointwise(Weights(*KINDS["4 bits by channel"]), (8, 8)),
    "a convolution of any number of positions": lambda: pointwise(Weights(*KINDS["4 bits by channel"]), (None,)),
    "a convolution of neighbours": lambda: pointwise(Weights(INT4, 64, 96, 1, ""), (5,), kernel=3),
    "a vector": _vector,
}


@pytest.mark.parametrize("what", STAYS)
@pytest.mark.parametrize("rewrite", [packed_products, scaled_weights])
def test_what_stays(rewrite, what):
    model = STAYS[what]()
    assert rewrite(model) is model


def test_small_weights_in_blocks_that_a_kernel_gets_wrong():
    weights = Weights(INT4, 16, 96, 2, "any")
    assert weights.codes.size < WORTHWHILE
    assert decibels(weights, product(weights, 2), "openvino", 2)[0] > EXACT


def test_whether_there_are_any():
    assert has_compressed_products(product(Weights(*KINDS["blocks of 8"]), 2))
    assert not has_compressed_products(STAYS["activations of 8 bits"]())


def test_the_packed_model_is_valid():
    made = packed_products(product(Weights(*KINDS["blocks of 32"]), None))
    assert {imported.domain for imported in made.opset_import} == {"", "com.microsoft"}
    onnx.checker.check_model(scaled_weights(product(Weights(*KINDS["blocks of 32"]), None)))


@pytest.mark.parametrize(
    "kind", ["4 bits by channel", "blocks of 32", "blocks of 32, zero points", "8 bits by channel"]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_operands_are_quantized_only_if_asked_for(engine, kind):
    if engine == "openvino" and cpu.saturates():
        pytest.skip("OpenVINO may fail to compile this without VNNI; another candidate is chosen then")
    weights = Weights(*KINDS[kind])
    found = all_engines()[engine]
    source = found.prepared(product(weights, 1)).SerializeToString()
    x = np.random.default_rng(0).standard_normal((1, 1, 96)).astype(np.float32)
    right = {"y": x.astype(np.float64) @ weights.dense.T}
    noise = {
        precision: signal_to_noise(right, found.compile(source, Settings(precision=precision, threads=1)).run({"x": x}), ["y"])["y"]
        for precision in ("float32", "dynamic_int8")
    }  # fmt: skip
    assert noise["float32"] > EXACT
    assert noise["dynamic_int8"] > 30
