"""Compressed: one matrix product with compressed weights against each engine's own forms of it, and torch.

python bench/compressed.py [ROUNDS] [--kinds WORD] [--shapes ROWSxCOLUMNSxRESULTS ...]

Every row is one kind of compression and one shape. "pippin" loads the package as it is; "dynamic_int8" may quantize the
other operand. The peers are float32 weights and the integers as `MatMulNBits` (ONNX Runtime) or `DequantizeLinear`
(OpenVINO), in float32 and on all cores, and torch with the weights in float32 and bfloat16. All of a row alternate;
printed are the least milliseconds, the fastest peer in float32 divided by pippin (above 1: pippin is faster), and how
many dB pippin keeps against numpy in float64.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import ml_dtypes
import numpy as np
import onnx
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from onnx import helper, numpy_helper

import coremltools as ct
import pippin

SHAPES = ["1x768x2048", "64x768x2048", "1x2048x8192", "64x2048x8192"]
RANDOM = np.random.default_rng(0)
Run = Callable[[np.ndarray], np.ndarray]


@dataclass
class Weights:
    """[results, columns] as numbers, as MIL writes them, and as integers if they are scaled integers."""

    dense: np.ndarray
    constant: Callable[[], object]
    codes: np.ndarray | None = None
    scales: np.ndarray | None = None
    zeros: np.ndarray | None = None
    bits: int = 0


def stored(name: str, values: np.ndarray) -> np.ndarray:
    return values.astype(types.nptype_from_builtin(types.string_to_builtin(name)))


def scaled(bits: int, block: int, zeros: bool) -> Callable[[int, int], Weights]:
    """Integers in blocks of columns; 0: one scale for each row."""

    def make(rows: int, columns: int) -> Weights:
        half, count = 1 << (bits - 1), columns // (block or columns)
        codes = RANDOM.integers(-half, half, (rows, columns)).astype(np.int8)
        scales = RANDOM.uniform(0.01, 0.02, (rows, count)).astype(np.float32)
        shifts = RANDOM.integers(-3, 4, (rows, count)).astype(np.int8) if zeros else None
        whole = 0 if shifts is None else np.repeat(shifts, columns // count, 1)
        dense = (codes - np.float32(whole)) * np.repeat(scales, columns // count, 1)
        given = {"data": stored(f"int{bits}", codes), "scale": scales}
        if shifts is not None:
            given["offset"] = stored(f"int{bits}", shifts)
        constant = lambda: mb.constexpr_blockwise_shift_scale(**given)  # noqa: E731
        return Weights(dense, constant, codes, scales, shifts, bits)

    return make


def palette(bits: int, groups: int = 1, vector: int = 1) -> Callable[[int, int], Weights]:
    """Indices into tables of float16, one for each group of rows; vectors lie along the rows."""

    def make(rows: int, columns: int) -> Weights:
        indices = RANDOM.integers(0, 1 << bits, (rows // vector, columns))
        table = RANDOM.normal(0, 0.02, (groups, 1, 1 << bits, vector)).astype(np.float16)
        group = np.arange(rows // vector) * groups // (rows // vector)
        entries = table[group[:, None], 0, indices]
        dense = np.moveaxis(entries, -1, 1).reshape(rows, columns).astype(np.float32)
        given = {"indices": stored(f"uint{bits}", indices), "lut": table.astype(np.float32)}
        given |= {"vector_axis": 0} if vector > 1 else {}
        return Weights(dense, lambda: mb.constexpr_lut_to_dense(**given))

    return make


def sparse(rows: int, columns: int) -> Weights:
    """Half of the numbers are 0."""
    mask = RANDOM.integers(0, 2, (rows, columns))
    values = RANDOM.normal(0, 0.02, int(mask.sum())).astype(np.float32)
    dense = np.zeros((rows, columns), np.float32)
    dense[mask.astype(bool)] = values
    bits = mask.astype(types.np_uint1_dtype)
    return Weights(dense, lambda: mb.constexpr_sparse_to_dense(nonzero_data=values, mask=bits))


def sparse_scaled(rows: int, columns: int) -> Weights:
    """Half of the numbers are 0, the others bytes with a scale for each row."""
    mask = RANDOM.integers(0, 2, (rows, columns))
    codes = np.where(mask, RANDOM.integers(-128, 128, (rows, columns)), 0).astype(np.int8)
    scales = RANDOM.uniform(0.01, 0.02, (rows, 1)).astype(np.float32)
    bits, values = mask.astype(types.np_uint1_dtype), codes[mask.astype(bool)]

    def constant() -> object:
        where, numbers = mb.constexpr_sparse_blockwise_shift_scale(data_mask=bits, nonzero_data=values, scale=scales)
        return mb.constexpr_sparse_to_dense(nonzero_data=numbers, mask=where)

    return Weights(codes * scales, constant, codes, scales, None, 8)


KINDS: dict[str, Callable[[int, int], Weights]] = {
    **{f"int4 block {block}": scaled(4, block, False) for block in (8, 16, 32, 64, 128)},
    "int4 block 32 shifted": scaled(4, 32, True),
    "int4 channel": scaled(4, 0, False),
    "int8 channel": scaled(8, 0, False),
    "int8 channel shifted": scaled(8, 0, True),
    "int8 block 32": scaled(8, 32, False),
    **{f"palette {bits} bits": palette(bits) for bits in (1, 2, 3, 4, 6, 8)},
    "palette 4 bits, groups": palette(4, groups=16),
    "palette 4 bits, vectors": palette(4, vector=2),
    "sparse": sparse,
    "sparse int8": sparse_scaled,
}


def package(weights: Weights, rows: int, path: Path) -> Path:
    @mb.program(input_specs=[mb.TensorSpec((1, rows, weights.dense.shape[1]))], opset_version=ct.target.iOS18)
    def program(x):
        return mb.linear(x=x, weight=weights.constant(), name="y")

    ct.convert(
        program, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32, skip_model_load=True,
        minimum_deployment_target=ct.target.iOS18, pass_pipeline=ct.PassPipeline.EMPTY,
    ).save(str(path))  # fmt: skip
    return path


def graph(weights: Weights, rows: int, nodes: list, constants: dict[str, np.ndarray], domain: str = "") -> bytes:
    results, columns = weights.dense.shape
    made = helper.make_graph(
        nodes, "product", [helper.make_tensor_value_info("x", 1, [1, rows, columns])],
        [helper.make_tensor_value_info("y", 1, [1, rows, results])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 21), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(made, opset_imports=imports, ir_version=10).SerializeToString()


def in_float32(weights: Weights, rows: int) -> bytes:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    return graph(weights, rows, [node], {"w": np.ascontiguousarray(weights.dense.T)})


def dequantized(weights: Weights, rows: int) -> bytes:
    kind = ml_dtypes.int4 if weights.bits == 4 else np.int8
    blocks = weights.scales.shape[1]
    constants = {"q": weights.codes.astype(kind), "s": weights.scales if blocks > 1 else weights.scales[:, 0]}
    how = {"axis": 1, "block_size": weights.dense.shape[1] // blocks} if blocks > 1 else {"axis": 0}
    if blocks > 1 or weights.zeros is not None:
        zeros = np.zeros_like(weights.scales, np.int8) if weights.zeros is None else weights.zeros
        constants["z"] = (zeros if blocks > 1 else zeros[:, 0]).astype(kind)
    nodes = [
        helper.make_node("DequantizeLinear", list(constants), ["w"], **how),
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    return graph(weights, rows, nodes, constants)


def nbits(weights: Weights, rows: int) -> bytes:
    results, columns = weights.dense.shape
    block = min(columns // weights.scales.shape[1], 128)
    times = columns // block // weights.scales.shape[1]
    pack = lambda v: (v[..., 0::2] | v[..., 1::2] << 4).astype(np.uint8)  # noqa: E731
    constants = {
        "q": pack((weights.codes + 8).astype(np.uint8).reshape(results, -1, block)),
        "s": np.repeat(weights.scales, times, 1),
    }
    if weights.zeros is not None:
        constants["z"] = pack(np.repeat(weights.zeros + 8, times, 1).astype(np.uint8))
    node = helper.make_node(
        "MatMulNBits", ["x", *constants], ["y"], domain="com.microsoft", K=columns, N=results, bits=4, block_size=block,
        accuracy_level=1,
    )  # fmt: skip
    return graph(weights, rows, [node], constants, "com.microsoft")


def on_onnxruntime(model: bytes) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    return lambda x: session.run(None, {"x": x})[0]


def on_openvino(model: bytes) -> Run:
    import openvino

    core = openvino.Core()
    hints = {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }  # fmt: skip
    request = core.compile_model(core.read_model(model), "CPU", hints).create_infer_request()
    return lambda x: request.infer({0: x})[0]


def on_torch(weights: Weights, dtype: torch.dtype) -> Run:
    matrix = torch.from_numpy(weights.dense).to(dtype)

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return torch.nn.functional.linear(torch.from_numpy(x).to(dtype), matrix).float().numpy()

    return run


def on_pippin(path: Path, precision: str) -> tuple[Run, str]:
    model = pippin.load(path, pippin.Configuration(precision=precision), cache=path.parent / "cache")
    return (lambda x: model.predict({"x": x})["y"]), str(model.engine)


def contestants(weights: Weights, rows: int, path: Path) -> Iterator[tuple[str, Run]]:
    yield "ort float32", on_onnxruntime(in_float32(weights, rows))
    yield "openvino float32", on_openvino(in_float32(weights, rows))
    if weights.codes is not None:
        yield "openvino integers", on_openvino(dequantized(weights, rows))
        if weights.bits == 4 and weights.dense.shape[1] // weights.scales.shape[1] >= 16:
            yield "ort nbits", on_onnxruntime(nbits(weights, rows))
    yield "torch float32", on_torch(weights, torch.float32)
    yield "torch bfloat16", on_torch(weights, torch.bfloat16)
    made = package(weights, rows, path)
    for label, precision in (("pippin", "auto"), ("dynamic_int8", "dynamic_int8")):
        run, engine = on_pippin(made, precision)
        yield f"{label} ({engine})", run


def decibels(right: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(right).sum() / max(np.square(right - found).sum(), 1e-300)))


def least(runs: dict[str, Run], x: np.ndarray, rounds: int) -> dict[str, float]:
    best = dict.fromkeys(runs, np.inf)
    for _ in range(rounds):
        for name, run in runs.items():
            run(x)  # wakes its threads
            for _ in range(4):
                began = time.perf_counter()
                run(x)
                best[name] = min(best[name], time.perf_counter() - began)
        time.sleep(0.01)
    return best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=30)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores; onnx {onnx.__version__}; torch {torch.__version__}", file=sys.stderr)
    for shape in given.shapes:
        rows, columns, results = map(int, shape.split("x"))
        x = RANDOM.standard_normal((1, rows, columns)).astype(np.float32)
        for kind, make in KINDS.items():
            if given.kinds not in kind:
                continue
            with tempfile.TemporaryDirectory() as folder:
                weights = make(results, columns)
                runs = dict(contestants(weights, rows, Path(folder) / "model.mlpackage"))
                times = least(runs, x, given.rounds)
            right = x.astype(np.float64) @ weights.dense.T.astype(np.float64)
            own = next(name for name in runs if name.startswith("pippin"))
            peers = {name: t for name, t in times.items() if name.startswith(("ort", "openvino", "torch float32"))}
            peer = min(peers, key=peers.__getitem__)
            kept = decibels(right, runs[own](x))
            print(
                f"{shape:13} {kind:24} {peers[peer] / times[own]:5.2f} of {peer:18} {kept:4.0f} dB; "
                + ", ".join(f"{name} {t * 1e3:.3f}" for name, t in times.items()),
                flush=True,
            )


if __name__ == "__main__":
    main()
