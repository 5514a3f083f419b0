"""Stable sorts and overlap thresholds: another form of TopK and NonMaxSuppression for OpenVINO has the same meaning."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pippin.engines import Settings, all_engines
from pippin.passes.overlap_threshold import exclusive_overlap
from pippin.passes.stable_sorts import stable_kernel, stable_sorts

TYPES = {np.float32: TensorProto.FLOAT, np.int32: TensorProto.INT32}


def sort(size, count, axis=-1, largest=1, dtype=np.float32, outputs=("v", "i")):
    """A TopK of x; a size or count of None is known only at run time, and the count is then all there are."""
    ports = [("v", TYPES[dtype]), ("i", TensorProto.INT64)]
    nodes = [helper.make_node("TopK", ["x", "k"], ["v", "i"], name="sort", axis=axis, largest=largest)]
    constants = [] if count is None else [numpy_helper.from_array(np.array([count], np.int64), "k")]
    if count is None:
        constants = [numpy_helper.from_array(np.array([axis % 2], np.int64), "axis")]
        nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "axis"], ["k"]), *nodes]
    shape = [3, size] if axis % 2 else [size, 3]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TYPES[dtype], shape)],
        [helper.make_tensor_value_info(name, kind, [None, None]) for name, kind in ports if name in outputs], constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def ties(size, dtype, axis, seed):
    x = np.random.default_rng(seed).integers(-2, 3, (3, size)) * (2**30 if dtype == np.int32 and seed else 1)
    return np.ascontiguousarray((x if axis % 2 else x.T).astype(dtype))


def expected(x, count, axis, largest):
    order = np.argsort(-x.astype(np.int64) if largest else x, axis=axis, kind="stable")
    order = np.take(order, np.arange(x.shape[axis] if count is None else count), axis)
    return np.take_along_axis(x, order, axis), order


# Size (None: not known), count (None: all), the size that is run.
SIZES = [(300, 300, 300), (300, 299, 300), (300, 20, 300), (None, 20, 77), (None, None, 300), (None, None, 1), (None, None, 0),
         (40, 7, 40), (2000, 3, 2000), (1, 1, 1)]  # fmt: skip


@pytest.mark.parametrize(("size", "count", "run"), SIZES)
@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize("dtype", TYPES)
def test_equal_elements_keep_their_order(size, count, run, axis, dtype):
    openvino = all_engines()["openvino"]
    for largest in (0, 1):
        model = sort(size, count, axis, largest, dtype)
        compiled = openvino.compile(openvino.prepared(model).SerializeToString(), Settings(threads=1))
        for seed in range(3):
            x = ties(run, dtype, axis, seed)
            found = compiled.run({"x": x})
            values, order = expected(x, count, axis, largest)
            np.testing.assert_array_equal(found["v"], values)
            np.testing.assert_array_equal(found["i"], order)


def test_the_form_is_valid_and_given_only_where_it_is_needed():
    onnx.checker.check_model(stable_sorts(sort(300, 20)), full_check=True)
    onnx.checker.check_model(stable_sorts(sort(None, None)), full_check=True)
    for model in (sort(40, 40), sort(9000, 3), sort(300, 20, outputs=("v",))):
        assert stable_sorts(model) is model
    assert stable_kernel(None, 3)
    assert not stable_kernel(None, 30)
    assert not stable_kernel(300, None)


def test_a_sort_from_the_cache_keeps_the_order(tmp_path):
    openvino = all_engines()["openvino"]
    source = openvino.prepared(sort(40, 40)).SerializeToString()
    openvino.save(source, openvino.compile(source), Settings(), tmp_path)
    x = np.ones((3, 40), np.float32)
    np.testing.assert_array_equal(openvino.load(tmp_path).run({"x": x})["i"], expected(x, 40, -1, 1)[1])


def suppression(threshold):
    """The boxes that are kept; the threshold is computed if it is None."""
    constants = {
        "m": np.array([9], np.int64),
        **({} if threshold is None else {"t": np.array([threshold], np.float32)}),
    }
    inputs = {"b": [1, None, 4], "s": [1, 1, None], **({"u": [1]} if threshold is None else {})}
    nodes = [helper.make_node("NonMaxSuppression", ["b", "s", "m", "t"], ["kept"], center_point_box=1)]
    if threshold is None:
        nodes = [helper.make_node("Mul", ["u", "u"], ["t"]), *nodes]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info("kept", TensorProto.INT64, [None, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("root", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_an_overlap_at_the_threshold_is_kept(root, computed, engine):
    """Boxes of width 1 and heights of 1 and root**2 in the same place: their overlap is the threshold."""
    threshold, more = root * root, root * root * 1.01
    engine = all_engines()[engine]
    model = suppression(None if computed else threshold)
    compiled = engine.compile(engine.prepared(model).SerializeToString(), Settings(threads=1))
    given = {"s": np.array([[[0.9, 0.8]]], np.float32), **({"u": np.array([root], np.float32)} if computed else {})}
    for height, kept in ((threshold, 2), (more, 1)):
        boxes = np.array([[[0, 0, 1, 1], [0, 0, 1, min(height, 1)]]], np.float32)
        expected_count = 2 if root in (0.0, 1.0) else kept
        assert len(compiled.run({"b": boxes, **given})["kept"]) == expected_count


def test_a_model_that_suppresses_nothing_is_left():
    model = sort(40, 40)
    assert exclusive_overlap(model) is model
    onnx.checker.check_model(exclusive_overlap(suppression(None)), full_check=True)
