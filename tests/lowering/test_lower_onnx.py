"""ONNX models: each case of ONNX's own operator tests is right or refused, and a file runs like any other source."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

import pippin
from pippin.errors import (
    FormatError,
    PippinError,
    SpecificationError,
    UnsupportedModelError,
    WeightError,
    WeightFileNotFoundError,
)

# What differs by chance, or by the rules: random numbers; sizes that ONNX Runtime cuts before it aligns the corners; the
# same operators of attention in another order of additions; the masks of attention that it gets wrong.
DIFFERENT = {
    "test_attention_4d_causal_fp16", "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
    "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal", "test_maxunpool_export_with_output_shape",
    "test_resize_downsample_scales_cubic_align_corners", "test_resize_downsample_scales_linear_align_corners",
    "test_training_dropout", "test_training_dropout_default", "test_training_dropout_default_mask",
    "test_training_dropout_mask", "test_dynamicquantizelinear_expanded",
}  # fmt: skip
NODE_TESTS = {case.name: case for case in load_model_tests(kind="node") if "bernoulli" not in case.name}


def loaded(path, engine=None, cache=False):
    hints = pippin.Hints(specialization_strategy="fast_load")
    return pippin.load(path, pippin.Configuration(engine=engine, hints=hints), cache=cache)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", sorted(set(NODE_TESTS) - DIFFERENT))
def test_operators_of_onnx(name, engine, tmp_path):
    case = NODE_TESTS[name]
    onnx.save(case.model, tmp_path / "m.onnx")
    try:
        model = loaded(tmp_path / "m.onnx", engine)
        found = [model.predict(dict(zip(model.inputs, xs, strict=False))) for xs, _ in case.data_sets]
    except PippinError as error:
        pytest.skip(f"refused: {str(error)[:80]}")
    for outputs, (_, right) in zip(found, case.data_sets, strict=True):
        for y, expected in zip(outputs.values(), right, strict=True):
            assert y.dtype == expected.dtype
            if expected.dtype.kind != "f":
                np.testing.assert_array_equal(y, expected)
                continue
            digits = 2e-3 if expected.dtype == np.float16 else 2e-6
            largest = np.max(np.abs(expected, where=np.isfinite(expected), out=np.zeros_like(expected)), initial=10.0)
            np.testing.assert_allclose(y, expected, max(case.rtol, 1e-3), digits * float(largest))


def network(weight, folder=None, dims=("batch", 4)):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in (("x", dims), ("y", None)))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="somebody")
    if folder is not None:
        onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    return model


WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", None])
def test_a_network(engine, tmp_path):
    onnx.save(network(WEIGHT), tmp_path / "m.onnx")
    model = loaded(tmp_path / "m.onnx", engine)
    assert model.inputs["x"].type.sizes == (None, 4)
    for rows in (1, 5):
        x = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
        np.testing.assert_allclose(model.predict({"x": x})["y"], np.maximum(x @ WEIGHT, 0), 1e-5, 1e-6)
    assert {o.kind for o in model.compute_plan.operations} == {"MatMul", "Relu"}


def test_weights_beside_it(tmp_path):
    network(WEIGHT, tmp_path)
    x = np.ones((2, 4), np.float32)
    cache = pippin.Cache(tmp_path / "cache")
    assert loaded(tmp_path / "m.onnx", cache=cache).load_label == "prepare and cache"
    assert loaded(tmp_path / "m.onnx", cache=cache).load_label == "cached"
    network(2 * WEIGHT, tmp_path)
    again = loaded(tmp_path / "m.onnx", cache=cache)
    assert again.load_label == "prepare and cache"
    np.testing.assert_allclose(again.predict({"x": x})["y"], np.maximum(x @ (2 * WEIGHT), 0), 1e-5)
    (tmp_path / "m.onnx.data").write_bytes(b"short")
    with pytest.raises(WeightError, match=r"'w' has 48 bytes, from \d+ on in m.onnx.data, which has 5"):
        loaded(tmp_path / "m.onnx")
    (tmp_path / "m.onnx.data").unlink()
    with pytest.raises(WeightFileNotFoundError, match=r"'m\.onnx\.data' is missing"):
        loaded(tmp_path / "m.onnx")


def test_weights_outside(tmp_path):
    network(WEIGHT, tmp_path)
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../../etc/passwd"
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightError, match="outside the folder of the model"):
        loaded(tmp_path / "m.onnx")


def test_an_input_is_an_output(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y, x])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    found = loaded(tmp_path / "m.onnx").predict({"x": np.array([1, 2], np.float32)})
    assert found["y"].tolist() == [-1, -2] and found["x"].tolist() == [1, 2]


def test_dropout_does_nothing(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    graph = helper.make_graph([helper.make_node("Dropout", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), tmp_path / "m.onnx")
    for engine in ("onnxruntime", "openvino"):
        assert loaded(tmp_path / "m.onnx", engine).predict({"x": np.ones(4, np.float32)})["y"].tolist() == [1] * 4


def _write(path, data):
    path.write_bytes(data)
    return path


def _typed(path, kind):
    info = helper.make_value_info("x", kind)
    out = helper.make_tensor_value_info("y", TensorProto.INT64, [])
    return _saved(path, helper.make_graph([helper.make_node("SequenceLength", ["x"], ["y"])], "g", [info], [out]))


def _saved(path, graph):
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def _cyclic(path):
    model = network(WEIGHT)
    model.graph.node[0].input[0] = "y"
    return _write(path, model.SerializeToString())


def _doubling(path):
    """30 functions, each of which calls the one before twice."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = [helper.make_function("f", "f0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], opsets)]
    for n in range(1, 30):
        twice = [helper.make_node(f"f{n - 1}", [a], [b], domain="f") for a, b in (("a", "m"), ("m", "b"))]
        functions.append(helper.make_function("f", f"f{n}", ["a"], ["b"], twice, opsets))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph([helper.make_node("f29", ["x"], ["y"], domain="f")], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=opsets, functions=functions)
    return _write(path, model.SerializeToString())


def _stored(path, inner=False, **changed):
    """A weight in w.bin beside the model, with some of what is said of it changed."""
    np.zeros(4, np.float32).tofile(path.parent / "w.bin")
    told = {"location": "w.bin", "offset": "0", "length": "16"} | changed
    weight = TensorProto(name="w", data_type=told.pop("type", 1), dims=told.pop("dims", [4]), data_location=1)
    for key, value in told.items():
        weight.external_data.add(key=key, value=value)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xy")
    constant = [helper.make_node("Constant", [], ["w"], value=weight)] if inner else []
    nodes = [*constant, helper.make_node("Add", ["x", "w"], ["y"])]
    return _saved(path, helper.make_graph(nodes, "g", [x], [y], [] if inner else [weight]))


REFUSED = {
    "functions that double": (_doubling, UnsupportedModelError, r"functions expand to 1,610,612,735 nodes"),
    "an offset that is no number": (lambda p: _stored(p, offset="abc"), WeightError, "offset of 'w'.*got 'abc'"),
    "an offset before the file": (lambda p: _stored(p, offset="-4"), WeightError, "offset of 'w'.*got '-4'"),
    "a length of 5,000 digits": (lambda p: _stored(p, length="1" * 5000), WeightError, "length of 'w'"),
    "an unknown type": (lambda p: _stored(p, type=99), WeightError, "'w' has the type 99"),
    "strings in a file": (lambda p: _stored(p, type=8), WeightError, "'w' has the type 8"),
    "negative sizes": (lambda p: _stored(p, dims=[-2, -2]), WeightError, r"'w' has the shape \[-2, -2\]"),
    "sizes beyond 64 bits": (lambda p: _stored(p, dims=[2**62, 2**62]), WeightError, "'w' has 8507059173023461586"),
    "a name with a zero": (lambda p: _stored(p, location="w\0"), WeightError, "no name of a file"),
    "a name of 5,000 letters": (lambda p: _stored(p, location="w" * 5000), WeightError, "no name of a file"),
    "an inner weight in a file": (lambda p: _stored(p, inner=True), WeightError, "only the weights of the main graph"),
    "nothing": (lambda p: _write(p, b""), SpecificationError, "no ONNX model"),
    "noise": (lambda p: _write(p, bytes(range(256)) * 9), SpecificationError, "no ONNX model, or it is damaged"),
    "text": (lambda p: _write(p, b"version https://git-lfs"), FormatError, "."),
    "a sequence": (
        lambda p: _typed(p, helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None))),
        UnsupportedModelError,
        "'x' is a sequence with elements",
    ),
    "a circle": (_cyclic, SpecificationError, "input 'y' of node .*MatMul is not output of any previous nodes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, tmp_path):
    make, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        loaded(make(tmp_path / "m.onnx"))


def test_an_inner_weight_is_not_looked_for_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightError, match="only the weights of the main graph"):
        loaded(_stored(tmp_path / "m.onnx", inner=True))


def test_an_input_of_unknown_rank(tmp_path):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in "xy")
    path = _saved(tmp_path / "m.onnx", helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [y]))
    assert loaded(path).predict({"x": np.ones((2, 1), np.float32)})["y"].tolist() == [[-1], [-1]]


def test_graphs_deep_inside_graphs_are_not_given_to_openvino(tmp_path):
    x, y, c = (helper.make_tensor_value_info(n, k, [1] if n != "c" else []) for n, k in (("x", 1), ("y", 1), ("c", 9)))
    nodes, result = [helper.make_node("Neg", ["x"], ["v"])], helper.make_tensor_value_info("v", 1, [1])
    for level in range(24):
        name = f"v{level}" if level < 23 else "y"
        other = helper.make_tensor_value_info("o", 1, [1])
        branches = {
            "then_branch": helper.make_graph(nodes, "t", [], [result]),
            "else_branch": helper.make_graph([helper.make_node("Abs", ["x"], ["o"])], "e", [], [other]),
        }
        nodes, result = [helper.make_node("If", ["c"], [name], **branches)], helper.make_tensor_value_info(name, 1, [1])
    model = loaded(_saved(tmp_path / "m.onnx", helper.make_graph(nodes, "g", [x, c], [y])))
    assert model.predict({"x": np.ones(1, np.float32), "c": np.array(True)})["y"].tolist() == [-1]
