"""Weight arrays: a graph refers to large constants; what engines read is the same as if it held them."""

from __future__ import annotations

import gc

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import pippin
from pippin.format import weight_blob
from pippin.lowering import weight_arrays
from pippin.lowering.external_data import readable, whole, write_weights
from pippin.lowering.weight_arrays import WeightArrays, array_of, as_float32, bytes_of, is_reference, size_of
from pippin.passes.widen import widened
from pippin.program.opening import open_model
from pippin.specialization.specializer import lower_function
from support.large_models import write_layers

RANDOM = np.random.default_rng(0)
FLOAT = RANDOM.standard_normal((37, 64)).astype(np.float32)
ARRAYS = {
    "float32": FLOAT,
    "float16": FLOAT.astype(np.float16),
    "transposed": FLOAT.T,
    "every second row": FLOAT[::2],
    "one axis": FLOAT[:, 0],
    "no axis": np.array(3.0, np.float32),
    "nothing": np.zeros((0, 4), np.float32),
    "int8": RANDOM.integers(-128, 128, (9, 70), np.int8),
    "boolean": FLOAT > 0,
    "bfloat16": FLOAT.astype(ml_dtypes.bfloat16),
    "int4": RANDOM.integers(-8, 8, (9, 71)).astype(ml_dtypes.int4),
    "uint4 transposed": RANDOM.integers(0, 16, (9, 70)).astype(ml_dtypes.uint4).T,
}


def referred(array):
    weights, tensor = WeightArrays(), onnx.TensorProto(name="w")
    weights.refer(tensor, array)
    return weights, tensor


@pytest.mark.parametrize("row", ARRAYS)
def test_a_reference_holds_what_a_message_would(row, monkeypatch):
    monkeypatch.setattr(weight_arrays, "_CHUNK", 100)  # several parts
    array = ARRAYS[row]
    kept, tensor = referred(array)
    held = numpy_helper.from_array(np.array(array, order="C"), "w")
    assert is_reference(tensor) and not is_reference(held)
    assert b"".join(map(bytes, bytes_of(tensor))) == held.raw_data
    assert size_of(tensor) == size_of(held) == len(held.raw_data)
    np.testing.assert_array_equal(array_of(tensor), array)
    model = onnx.ModelProto()
    model.graph.initializer.append(tensor)
    found = whole(model).graph.initializer[0]
    assert (found.raw_data, list(found.dims), found.data_type) == (held.raw_data, list(held.dims), held.data_type)
    assert is_reference(model.graph.initializer[0])
    del kept


@pytest.mark.parametrize("row", ["float16", "one axis", "no axis", "nothing"])
@pytest.mark.parametrize("refers", [True, False])
def test_float16_is_widened_where_it_is_read(row, refers):
    array = np.asarray(ARRAYS[row], np.float16)
    kept, tensor = referred(array) if refers else (None, numpy_helper.from_array(array, "w"))
    wide = as_float32(tensor, "wide")
    assert (wide.name, wide.data_type, size_of(wide)) == ("wide", onnx.TensorProto.FLOAT, 4 * array.size)
    np.testing.assert_array_equal(array_of(wide), array.astype(np.float32))
    assert b"".join(map(bytes, bytes_of(wide))) == array.astype(np.float32).tobytes()
    del kept


def test_arrays_are_freed_with_the_model():
    before = len(weight_arrays._arrays)
    weights, _ = referred(FLOAT)
    assert len(weight_arrays._arrays) == before + 1
    del weights
    gc.collect()
    assert len(weight_arrays._arrays) == before


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    path = write_layers(tmp_path_factory.mktemp("layers"), layers=3, width=512)
    asset = open_model(path)
    return asset, lower_function(asset, pippin.Configuration())


def weight(asset, number):
    offset = 64 + number * (64 + 512 * 512 * 2)
    return asset.weights("@model_path/weights/weight.bin").read(offset, pippin.types.DataType.FLOAT16, (512, 512))


def test_a_program_refers_to_the_mapped_file(lowered):
    asset, made = lowered
    large = [tensor for tensor in made.model.graph.initializer if is_reference(tensor)]
    assert len(large) == 3 and len(made.model.SerializeToString()) < 20_000
    for number, tensor in enumerate(large):
        array = array_of(tensor)
        assert np.shares_memory(array, weight(asset, number))
        np.testing.assert_array_equal(array, weight(asset, number).T)  # a linear layer multiplies by the transposed


def test_what_engines_read_is_what_the_package_holds(lowered, tmp_path):
    asset, made = lowered
    for model, dtype in ((made.model, np.float16), (widened(made.model), np.float32)):
        stored = write_weights(model, tmp_path / "weights.bin", "weights.bin")
        (tmp_path / "model.onnx").write_bytes(stored.SerializeToString())
        found = [
            a for t in onnx.load(tmp_path / "model.onnx").graph.initializer if (a := numpy_helper.to_array(t)).ndim == 2
        ]
        for number, array in enumerate(found):
            assert array.dtype == dtype
            np.testing.assert_array_equal(array, weight(asset, number).T.astype(dtype))


def test_pages_of_a_weight_file_may_leave_and_come_back(lowered):
    asset, _ = lowered
    before = weight(asset, 0).copy()
    weight_blob.let_go()
    np.testing.assert_array_equal(weight(asset, 0), before)


def test_few_weights_stay_in_the_message(tmp_path):
    asset = open_model(write_layers(tmp_path / "m", layers=1, width=64))
    made = lower_function(asset, pippin.Configuration())
    assert not any(map(is_reference, made.model.graph.initializer))
    with readable(made.model) as source:
        assert isinstance(source, bytes)
