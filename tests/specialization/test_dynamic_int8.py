"""Compressed weights as a user loads them: exact by default, to 8 bits on the fly if asked for, on each engine."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
import pippin
from pippin import Configuration, Hints
from pippin.engines import all_engines
from pippin.errors import ConfigurationError
from pippin.specialization.precision import signal_to_noise

ENGINES = [name for name in ("onnxruntime", "openvino") if all_engines()[name].installed]
ROWS, COLUMNS = 96, 128
RANDOM = np.random.default_rng(5)
X = RANDOM.standard_normal((1, 3, COLUMNS)).astype(np.float32)
BYTES = RANDOM.integers(-128, 128, (ROWS, COLUMNS)).astype(np.int8)
MASK = RANDOM.integers(0, 2, (ROWS, COLUMNS)).astype(types.np_uint1_dtype)


def scales(*shape):
    return np.random.default_rng([*shape]).uniform(0.01, 0.02, shape).astype(np.float32)


def stored(name, values):
    return values.astype(types.nptype_from_builtin(types.string_to_builtin(name)))


def blocks(bits, size, offset=None):
    """Integers in blocks, with the numbers they stand for."""
    codes = RANDOM.integers(-(1 << (bits - 1)), 1 << (bits - 1), (ROWS, COLUMNS))
    scale = scales(ROWS, COLUMNS // size)
    given = {"data": stored(f"int{bits}", codes), "scale": scale}
    if offset is not None:
        given["offset"] = stored(f"int{bits}", np.full(scale.shape, offset))
    dense = (codes - (offset or 0)) * np.repeat(scale.astype(np.float64), size, 1)
    return (lambda: mb.constexpr_blockwise_shift_scale(**given)), dense


def palette(bits, groups=1, vector=1):
    indices = RANDOM.integers(0, 1 << bits, (ROWS // vector, COLUMNS))
    table = RANDOM.normal(0, 1, (groups, 1, 1 << bits, vector)).astype(np.float32)
    entries = table[(np.arange(ROWS // vector) * groups // (ROWS // vector))[:, None], 0, indices]
    given = {"indices": stored(f"uint{bits}", indices), "lut": table} | ({"vector_axis": 0} if vector > 1 else {})
    return (lambda: mb.constexpr_lut_to_dense(**given)), np.moveaxis(entries, -1, 1).reshape(ROWS, COLUMNS)


def affine():
    given = {"quantized_data": BYTES, "scale": scales(ROWS), "zero_point": np.int8(3), "axis": 0}
    return (lambda: mb.constexpr_affine_dequantize(**given)), (BYTES - 3.0) * scales(ROWS)[:, None]


def sparse():
    dense = np.where(MASK.astype(bool), RANDOM.normal(0, 1, (ROWS, COLUMNS)), 0).astype(np.float32)
    values = dense[MASK.astype(bool)]
    return (lambda: mb.constexpr_sparse_to_dense(nonzero_data=values, mask=MASK)), dense


def sparse_integers(offset=None):
    codes, scale = np.where(MASK.astype(bool), BYTES, 0), scales(ROWS, 1)
    given = {"data_mask": MASK, "nonzero_data": BYTES[MASK.astype(bool)], "scale": scale}
    if offset is not None:
        given["offset"] = np.full((ROWS, 1), offset, np.int8)

    def constant():
        mask, values = mb.constexpr_sparse_blockwise_shift_scale(**given)
        return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask)

    return constant, np.where(MASK.astype(bool), codes - float(offset or 0), 0) * scale


def sparse_palette():
    indices = RANDOM.integers(0, 4, int(MASK.astype(bool).sum()))
    table = RANDOM.normal(0, 1, (1, 1, 4, 1)).astype(np.float32)
    dense = np.zeros((ROWS, COLUMNS), np.float32)
    dense[MASK.astype(bool)] = table[0, 0, indices, 0]

    def constant():
        mask, values = mb.constexpr_lut_to_sparse(
            indices_mask=MASK, indices_nonzero_data=stored("uint2", indices), lut=table
        )
        return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask)

    return constant, dense


# (a MIL constant, its numbers), and whether the weights stay integers
KINDS = {
    **{f"int4 in blocks of {size}": (blocks(4, size), True) for size in (8, 16, 32, 64, 128)},
    "int4 with zero points": (blocks(4, 32, 3), True),
    "int8 by channel": (blocks(8, COLUMNS), True),
    "int8 in blocks": (blocks(8, 32), True),
    "int8 with a zero point": (affine(), True),
    **{f"palette of {bits} bits": (palette(bits), False) for bits in (1, 2, 3, 4, 6, 8)},
    "palettes for groups of channels": (palette(4, groups=8), False),
    "palette of vectors": (palette(4, vector=2), False),
    "sparse": (sparse(), False),
    "sparse int8": (sparse_integers(), True),
    "sparse int8 with a zero point": (sparse_integers(5), True),
    "sparse palette": (sparse_palette(), False),
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("packages"), {}

    def package(kind):
        if kind not in made:
            (constant, _), _ = KINDS[kind]

            @mb.program(input_specs=[mb.TensorSpec((1, 3, COLUMNS))], opset_version=ct.target.iOS18)
            def program(x):
                return mb.linear(x=x, weight=constant(), name="y")

            made[kind] = folder / f"{len(made)}.mlpackage"
            ct.convert(
                program, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32, skip_model_load=True,
                minimum_deployment_target=ct.target.iOS18, pass_pipeline=ct.PassPipeline.EMPTY,
            ).save(str(made[kind]))  # fmt: skip
        return made[kind]

    return package


def decibels(model, kind):
    (_, dense), _ = KINDS[kind]
    return signal_to_noise({"y": X.astype(np.float64) @ dense.T}, model.predict({"x": X}), ["y"])["y"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_kind_is_exact(engine, kind, packages):
    model = pippin.load(packages(kind), Configuration(engine=engine))
    assert decibels(model, kind) > 100
    assert ("unpacked to floats" in model.compute_plan.precision) != KINDS[kind][1]


@pytest.mark.parametrize("kind", ["int4 in blocks of 32", "int4 with zero points", "int8 by channel", "sparse int8"])
@pytest.mark.parametrize("engine", ENGINES)
def test_operands_are_rounded_if_asked_for(engine, kind, packages, tmp_path):
    configuration = Configuration(engine=engine, precision="dynamic_int8")
    for label in ("prepare and cache", "cached"):
        model = pippin.load(packages(kind), configuration, cache=tmp_path)
        assert model.load_label == label
        assert decibels(model, kind) > 35
        assert "8 bits" in model.compute_plan.precision
        rounded = [c for c in model.compute_plan.candidates if c.precision == "dynamic_int8"]
        assert rounded and all(c.signal_to_noise["y"] > 35 for c in rounded if not c.note)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_a_number_stays_so(engine, value, packages):
    """Kernels that round their operand make numbers of NaN."""
    model = pippin.load(packages("int4 in blocks of 32"), Configuration(engine=engine, precision="dynamic_int8"))
    x = X.copy()
    x[0, 1, 7] = value
    found = model.predict({"x": x})["y"]
    assert not np.isfinite(found[0, 1]).any()
    assert np.isfinite(found[0, [0, 2]]).all()


@pytest.mark.parametrize("strategy", ["fast_load", "fast_prediction"])
def test_with_each_strategy(strategy, packages):
    kind = "int4 in blocks of 32"
    model = pippin.load(packages(kind), Configuration(precision="dynamic_int8", hints=Hints(strategy)))
    assert decibels(model, kind) > 35


def test_without_compressed_products_it_is_float32(packages):
    model = pippin.load(packages("palette of 4 bits"), Configuration(precision="dynamic_int8"))
    assert "no product has 4- or 8-bit weights" in model.compute_plan.precision
    assert decibels(model, "palette of 4 bits") > 100
    with pytest.raises(ConfigurationError, match="dynamic_int8"):
        Configuration(precision="int8")
