"""Saturation: quantized activations give the numbers of float32 on processors without VNNI, where 8-bit sums saturate."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
import pippin
from pippin import Configuration, Hints
from pippin.devices import cpu
from pippin.engines import all_engines
from pippin.engines.base import PLAIN
from pippin.passes.eight_bit import quantizes_activations
from pippin.specialization.reference import prepared
from support.small_models import saved_program

RANDOM = np.random.default_rng(0)
SHAPE = (1, 16, 6, 6)
MODERN = "fma avx2 avx_vnni avx512f avx512bw avx512dq avx512vl avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_bf16"

# flags of /proc/cpuinfo, cap of oneDNN, whether 8-bit sums saturate
PROCESSORS = {
    "AVX2 alone": ("fma avx2", "", True),
    "AVX-512 without VNNI": ("fma avx2 avx512f avx512bw avx512dq avx512vl", "", True),
    "VNNI": ("fma avx2 avx512f avx512bw avx512dq avx512vl avx512_vnni", "", False),
    "AVX-VNNI": ("fma avx2 avx_vnni", "", False),
    "ARM": ("asimd", "", False),
    "unknown": ("", "", True),
    "AMX": (MODERN, "", False),
    "AMX, all": (MODERN, "ALL", False),
    "AMX, capped to AVX2": (MODERN, "AVX2", True),
    "AMX, capped to AVX2 in small letters": (MODERN, "avx2", True),
    "AMX, capped to AVX-VNNI": (MODERN, "AVX2_VNNI", False),
    "AMX, capped to AVX-512": (MODERN, "AVX512_CORE", True),
    "AMX, capped to VNNI": (MODERN, "AVX512_CORE_VNNI", False),
}


@pytest.fixture
def processor(monkeypatch):
    """Pretends to be a processor with these flags."""

    def pretend(flags, cap=""):
        monkeypatch.setattr(cpu, "_fields", lambda: {"flags": flags})
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
        cpu.instruction_sets.cache_clear()

    yield pretend
    cpu.instruction_sets.cache_clear()


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_instruction_sets_decide(name, processor):
    flags, cap, saturates = PROCESSORS[name]
    processor(flags, cap)
    assert cpu.saturates() is saturates


def layers(kind, act, shared):
    """Layers whose sums are large: nearly all weights are the largest codes."""
    codes = np.where(RANDOM.random((8, 16, 3, 3)) < 0.7, 127, RANDOM.integers(-128, 128, (8, 16, 3, 3))).astype(np.int8)
    scale, zero = np.float32(1 / 255), {"uint8": np.uint8(0), "int8": np.int8(-128)}[act]
    kernel = np.linspace(0.5, 1, 8, dtype=np.float32) / 127

    def body(x):
        x = mb.quantize(input=x, scale=scale, zero_point=zero, output_dtype=act)
        x = mb.dequantize(input=x, scale=scale, zero_point=zero)
        data, axis = (codes, 0) if kind == "conv" else (codes[:, :6, 0, 0].T, 1)
        w = mb.constexpr_affine_dequantize(
            quantized_data=np.ascontiguousarray(data), zero_point=np.int8(0), scale=kernel, axis=axis
        )
        first = mb.conv(x=x, weight=w) if kind == "conv" else mb.matmul(x=x, y=w)
        more = (mb.conv(x=x, weight=w) if kind == "conv" else mb.matmul(x=x, y=w)) if shared else 0.0
        step = np.float32(np.prod(codes.shape[1:] if kind == "conv" else 6) / 255)
        out = mb.quantize(input=first, scale=step, zero_point=np.uint8(0), output_dtype="uint8")
        return mb.add(x=mb.dequantize(input=out, scale=step, zero_point=np.uint8(0)), y=more, name="y")

    def expected(x):
        x = (np.clip(np.rint(x / scale) + zero, np.iinfo(act).min, np.iinfo(act).max) - float(zero)) * float(scale)
        if kind == "conv":
            w = codes * kernel[:, None, None, None].astype(np.float64)
            windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
            y = np.einsum("bcyxhw,ochw->boyx", windows, w)
        else:
            y = x @ (codes[:, :6, 0, 0].T * kernel.astype(np.float64))
        step = np.prod(codes.shape[1:] if kind == "conv" else 6) / 255
        return np.clip(np.rint(y / step), 0, 255) * step + (y if shared else 0), step

    return body, expected


CASES = [("conv", "uint8", True), ("conv", "int8", False), ("matmul", "uint8", False), ("matmul", "int8", True)]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("kind", "act", "shared"), CASES)
def test_without_vnni(engine, kind, act, shared, processor, tmp_path):
    """A rounding error may move a code by one."""
    processor("fma avx2")
    body, expected = layers(kind, act, shared)
    package = saved_program(tmp_path, body, x=SHAPE)
    model = pippin.load(package, Configuration(engine=engine, hints=Hints("fast_load")), cache=False)
    x = RANDOM.uniform(0.6, 1, SHAPE).astype(np.float32)
    right, step = expected(x)
    np.testing.assert_allclose(model.predict({"x": x})["y"], right, atol=1.01 * step)
    assert ("computed in float32" in model.compute_plan.precision) == (engine == "openvino")


@pytest.mark.parametrize(("engine", "eight_bit"), [("openvino", False), ("onnxruntime", True)])
def test_only_onnx_runtime_gets_the_form_in_8_bits(engine, eight_bit, processor, lowered):
    processor("fma avx2")
    made = prepared(all_engines()[engine], lowered.model)
    assert quantizes_activations(made) is eight_bit
    assert onnx.TensorProto.INT8 not in {tensor.data_type for tensor in made.graph.initializer}
    processor("fma avx2 avx_vnni")
    assert quantizes_activations(prepared(all_engines()[engine], lowered.model))


@pytest.fixture(scope="module")
def lowered():
    from engines.test_engines import lowered_of

    return lowered_of(layers("conv", "uint8", False)[0], target=ct.target.iOS17, x=SHAPE)


@pytest.mark.parametrize("strategy", ["default", "fast_load"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_saturating_candidate_is_not_chosen(engine, strategy, monkeypatch, tmp_path):
    """On a processor that is thought to have VNNI: what saturates is found by comparison, for the only engine too."""
    body, expected = layers("conv", "uint8", False)
    found = all_engines()[engine]
    compiled = type(found).compile

    def saturating(self, source, settings=PLAIN, artifact=None):
        made = compiled(self, source, settings, artifact)
        graph = onnx.load(source) if not isinstance(source, bytes) else onnx.load_from_string(source)
        if quantizes_activations(graph):
            run = made.run
            made.run = lambda *given: {name: value * np.float32(0.9) for name, value in run(*given).items()}
        return made

    monkeypatch.setattr(type(found), "compile", saturating)
    package = saved_program(tmp_path, body, x=SHAPE)
    model = pippin.load(package, Configuration(engine=engine, hints=Hints(strategy)), cache=False)
    x = RANDOM.uniform(0.6, 1, SHAPE).astype(np.float32)
    right, step = expected(x)
    np.testing.assert_allclose(model.predict({"x": x})["y"], right, atol=1.01 * step)
    assert "computed in float32" in model.compute_plan.precision
    free = pippin.load(package, cache=False).compute_plan
    assert free.segments[0].engine != engine
    assert any("35 dB is required" in c.note for c in free.candidates if c.engine == engine)


CAPPED = """
import sys, numpy as np, pippin
for engine in ("openvino", "onnxruntime", None):
    model = pippin.load(sys.argv[1], pippin.Configuration(engine=engine), cache=False)
    print(np.unique(model.predict({"x": np.ones((1, 16, 4, 4), np.float32)})["y"]).tolist())
"""


@pytest.mark.slow
@pytest.mark.process
def test_capped_to_avx2(tmp_path):
    """Sixteen ones times sixteen ones: 8.09 where OpenVINO's 8-bit kernels saturate. Other engines' kernels cannot be
    capped."""

    def body(x):
        s, t = np.float32(1 / 255), np.float32(16 / 255)
        x = mb.quantize(input=x, scale=s, zero_point=np.uint8(0), output_dtype="uint8")
        w = mb.constexpr_affine_dequantize(
            quantized_data=np.full((2, 16, 1, 1), 127, np.int8), zero_point=np.int8(0), axis=0,
            scale=np.full(2, 1 / 127, np.float32),
        )  # fmt: skip
        y = mb.conv(x=mb.dequantize(input=x, scale=s, zero_point=np.uint8(0)), weight=w)
        y = mb.quantize(input=y, scale=t, zero_point=np.uint8(0), output_dtype="uint8")
        return mb.dequantize(input=y, scale=t, zero_point=np.uint8(0), name="y")

    package = saved_program(tmp_path, body, x=(1, 16, 4, 4))
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", CAPPED, str(package)], env=environment, capture_output=True, text=True, check=True
    )
    found = [eval(line) for line in done.stdout.splitlines()]
    assert len(found) == 3
    np.testing.assert_allclose(np.concatenate(found), 16, rtol=1e-6)
