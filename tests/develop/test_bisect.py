"""Bisect: planted faults are found at their operation, and what is kept in float32 mends them; numpy is the truth."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from onnx import TensorProto, helper

import coremltools as ct
import pippin
from pippin.develop.float64 import Float64
from pippin.errors import ConfigurationError, UnsupportedModelError
from support.small_models import converted

WIDTH, BLOCKS = 16, 48  # of three operations


def network(plant=lambda block, x: x, weights=None):
    """A body of 48 blocks of linear, tanh and add; `plant` may put something before a block."""
    random = np.random.default_rng(0)
    made = [random.normal(0, 0.3, (WIDTH, WIDTH)).astype(np.float32) for _ in range(BLOCKS)]
    for block, weight in (weights or {}).items():
        made[block] = weight(made[block])

    def body(x):
        for block, weight in enumerate(made):
            x = plant(block, x)
            y = mb.linear(x=x, weight=weight, name=f"linear_{block}")
            x = mb.add(x=x, y=mb.tanh(x=y, name=f"tanh_{block}"), name=f"add_{block}")
            x = mb.mul(x=x, y=np.float32(0.7), name=f"scale_{block}")
        return mb.identity(x=x, name="y")

    return body


def saved(path, body, half):
    model = converted(body, x=(2, WIDTH))
    if half:
        program = model._mil_program
        model = ct.convert(program, minimum_deployment_target=ct.target.iOS17, compute_precision=ct.precision.FLOAT16)
    model.save(str(path))
    return path


def log_sum_exp(block, x):
    """The logarithm of a sum of powers: those of 12 are beyond float16."""
    if block != 20:
        return x
    bounded = mb.mul(x=mb.tanh(x=x, name="bounded"), y=np.float32(12), name="twelve")
    powers = mb.exp(x=mb.add(x=mb.abs(x=bounded, name="positive"), y=np.float32(4), name="up"), name="powers")
    total = mb.reduce_sum(x=powers, axes=[1], keep_dims=True, name="total")
    return mb.add(x=x, y=mb.log(x=total, name="logarithm"), name="planted")


def cancelled(block, x):
    """A large number that is added and subtracted again costs digits."""
    if block != 30:
        return x
    return mb.sub(x=mb.add(x=x, y=np.float32(300), name="up"), y=np.float32(300), name="down")


def test_an_overflow_in_float16(tmp_path):
    path = saved(tmp_path / "m.mlpackage", network(log_sum_exp), half=True)
    found = pippin.bisect(path)
    assert found.first.name.startswith("powers") and found.first.kind == "exp"
    assert found.first.total == found.first.created == -np.inf
    assert found.first.inherited > 40
    assert not found.right
    kinds = {d.name: d.kind for d in found.comparison.differences}
    assert [kinds[name] for name in found.fix.keep] == ["exp", "reduce_sum", "log"]
    assert found.fix.before == -np.inf and found.fix.after > 40


def test_a_loss_in_bfloat16(tmp_path):
    path = saved(tmp_path / "m.mlpackage", network(cancelled), half=False)
    found = pippin.bisect(path, arithmetic="bfloat16", bound=30)
    # The sum still has its digits; the difference shows what was lost.
    assert found.first.name == "down"
    assert next(d for d in found.comparison.differences if d.name == "up").created < 60
    assert "up" in {d.name for d in found.comparison.differences}


def test_a_wrong_weight(tmp_path):
    right = saved(tmp_path / "a.mlpackage", network(), half=False)
    wrong = saved(tmp_path / "b.mlpackage", network(weights={17: lambda w: w * 1.1}), half=False)
    found = pippin.bisect(wrong, right)
    assert (found.first.name, found.first.kind) == ("linear_17", "linear")
    assert found.first.inherited > 100 and found.first.created < 40
    assert found.fix is None
    assert [d.name for d in found.comparison.differences if d.created < 40] == ["linear_17"]


def test_nothing_wrong(tmp_path):
    path = saved(tmp_path / "m.mlpackage", network(), half=False)
    found = pippin.bisect(path, arithmetic="float32", bound=100)
    assert found.first is None and found.fix is None and found.right


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine(tmp_path, engine):
    path = saved(tmp_path / "m.mlpackage", network(), half=False)
    found = pippin.compare(path, engine=engine, arithmetic="float32")
    assert found.outputs["y"] > 100 and not found.unmatched


def test_other_names(tmp_path):
    """Operations of a model whose names were lost are found by their values."""
    named = saved(tmp_path / "a.mlpackage", network(), half=False)
    other = converted(network(), x=(2, WIDTH))
    spec = other.get_spec()
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    renamed = {o.name: f"v{n}" for n, op in enumerate(block.operations) for o in op.outputs if o.name not in ("y",)}
    for op in block.operations:
        for output in op.outputs:
            output.name = renamed.get(output.name, output.name)
        for argument in op.inputs.values():
            for binding in argument.arguments:
                if binding.HasField("name"):
                    binding.name = renamed.get(binding.name, binding.name)
    path = tmp_path / "b.mlpackage"
    ct.models.MLModel(spec, weights_dir=other.weights_dir, skip_model_load=True).save(str(path))
    found = pippin.compare(named, path)
    assert len(found.differences) > 3 * BLOCKS and not found.unmatched
    assert sum(bool(d.counterpart) for d in found.differences) > 3 * BLOCKS - 3


def test_what_is_refused(tmp_path):
    path = saved(tmp_path / "m.mlpackage", network(), half=False)
    with pytest.raises(ConfigurationError, match="arithmetic must be one of declared, float16, bfloat16, float32"):
        pippin.compare(path, arithmetic="double")
    with pytest.raises(ConfigurationError, match="engine must be one of"):
        pippin.compare(path, engine="coreml")

    def other(x):
        return mb.reduce_sum(x=mb.sin(x=x, name="other"), axes=[0, 1], name="z")

    converted(other, x=(2, WIDTH)).save(str(tmp_path / "o.mlpackage"))
    with pytest.raises(UnsupportedModelError, match="no operation in common"):
        pippin.compare(path, tmp_path / "o.mlpackage")


def test_outputs_of_other_names_are_judged(tmp_path):
    """A wrong model whose output has another name must not pass for want of outputs to compare."""
    right = saved(tmp_path / "a.mlpackage", network(), half=False)

    def wrong(x):
        return mb.mul(x=network()(x), y=np.float32(1.5), name="z")

    converted(wrong, x=(2, WIDTH)).save(str(tmp_path / "b.mlpackage"))
    found = pippin.bisect(tmp_path / "b.mlpackage", against=right)
    assert found.comparison.outputs["y"] == pytest.approx(20 * np.log10(2), abs=0.1) and not found.right


def test_trees_are_evaluated_in_float64():
    node = helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, post_transform=0,
        tree_roots=[0], nodes_featureids=[0], nodes_falseleafs=[1], nodes_trueleafs=[1], nodes_falsenodeids=[0],
        nodes_truenodeids=[1], leaf_targetids=[0, 0],
        nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [1], [0]),
        nodes_splits=helper.make_tensor("s", TensorProto.DOUBLE, [1], [0.1]),
        leaf_weights=helper.make_tensor("w", TensorProto.DOUBLE, [2], [1 / 3, 1 / 7]),
    )  # fmt: skip
    x, y = (helper.make_tensor_value_info(n, TensorProto.DOUBLE, [2, 1]) for n in "xy")
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=10)
    evaluator = Float64(model)
    found = evaluator.run(model.graph.node, {"x": np.array([[0.1], [np.nextafter(0.1, 1)]])})
    assert found["y"].ravel().tolist() == [1 / 7, 1 / 3]
    assert not evaluator.in_float32
