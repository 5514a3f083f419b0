"""Members: everything else of coremltools that asks Core ML."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.models import datatypes
from coremltools.models.compute_device import MLComputeDevice, MLCPUComputeDevice
from coremltools.models.compute_plan import MLComputePlan, MLModelStructure
from coremltools.models.neural_network import NeuralNetworkBuilder

import coremltools as ct
import pippin
from support.small_models import converted

X = np.arange(6, dtype=np.float32).reshape(2, 3)
WEIGHT = np.random.default_rng(0).standard_normal((400, 3)).astype(np.float32)


def linear(x):
    return mb.relu(x=mb.linear(x=x, weight=WEIGHT), name="y")


@pytest.fixture(scope="module")
def model(installed):
    return converted(linear, x=(2, 3))


EXPECTED = np.maximum(X @ WEIGHT.T, 0)


def same(found):
    np.testing.assert_allclose(found["y"], EXPECTED, rtol=1e-5, atol=1e-5)


class TestCompiled:
    def test_the_compiled_model_is_there_and_loads(self, model):
        compiled = ct.models.CompiledMLModel(model.get_compiled_model_path())
        same(compiled.predict({"x": X}))

    def test_it_holds_the_program_as_text(self, model):
        text = (Path(model.get_compiled_model_path()) / "model.mil").read_text()
        assert text.startswith("program(1.0)")
        assert 'BLOBFILE(path = tensor<string, []>("@model_path/weights/weight.bin")' in text
        assert "relu(x = " in text

    def test_it_goes_with_the_model(self, installed):
        short = converted(linear, x=(2, 3))
        path = Path(short.get_compiled_model_path())
        assert path.is_dir()
        del short
        assert not path.exists()

    def test_compile_model_into_a_folder_of_ones_own(self, model, tmp_path):
        model.save(str(tmp_path / "m.mlpackage"))
        path = ct.models.utils.compile_model(str(tmp_path / "m.mlpackage"), str(tmp_path / "own.mlmodelc"))
        assert path == str(tmp_path / "own.mlmodelc")
        same(ct.models.CompiledMLModel(path).predict({"x": X}))
        same(ct.models.CompiledMLModel(path + "/").predict({"x": X}))

    def test_a_specification_is_compiled(self, installed):
        spec = converted(lambda x: mb.add(x=x, y=x, name="y"), x=(2, 3)).get_spec()
        path = ct.models.utils.compile_model(spec)
        np.testing.assert_array_equal(ct.models.CompiledMLModel(path).predict({"x": X})["y"], 2 * X)
        shutil.rmtree(path)

    def test_an_asset_in_memory(self, model):
        weights = {"weights/weight.bin": Path(model.weights_dir, "weight.bin").read_bytes()}
        asset = ct.models.model.MLModelAsset.from_memory(model.get_spec().SerializeToString(), weights)
        same(ct.models.CompiledMLModel.from_asset(asset).predict({"x": X}))

    def test_an_asset_from_a_path(self, model):
        asset = ct.models.model.MLModelAsset.from_path(model.get_compiled_model_path())
        same(ct.models.CompiledMLModel.from_asset(asset).predict({"x": X}))

    @pytest.mark.slow
    def test_options_of_loading_are_taken(self, model):
        hints = {
            "reshapeFrequency": ct.ReshapeFrequency.Infrequent,
            "specializationStrategy": ct.SpecializationStrategy.FastPrediction,
            "allowLowPrecisionAccumulationOnGPU": True,
        }
        for units in ct.ComputeUnit:
            again = ct.models.MLModel(model.package_path, compute_units=units, optimization_hints=hints)
            same(again.predict({"x": X}))


class TestPlan:
    def test_structure_and_devices_of_a_program(self, model):
        plan = MLComputePlan.load_from_path(model.get_compiled_model_path(), ct.ComputeUnit.CPU_ONLY)
        function = plan.model_structure.program.functions["main"]
        assert [value.name for value in function.inputs] == ["x"]
        assert function.block.output_names == ["y"]
        shares = {}
        for operation in function.block.operations:
            usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
            cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
            assert (usage is None) == (cost is None) == (operation.operator_name == "const")
            if usage is not None:
                assert isinstance(usage.preferred_compute_device, MLCPUComputeDevice)
                shares[operation.operator_name] = cost.weight
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["linear"] > shares["relu"]
        same_engine = pippin.Configuration(hints=pippin.Hints(specialization_strategy="fast_load"))
        planned = pippin.load(model.package_path, same_engine).compute_plan.operations
        assert shares["linear"] == max(op.cost for op in planned), "one estimate"

    def test_costs_of_each_part_of_a_pipeline_and_of_each_function(self, installed, tmp_path):
        first, second = converted(linear, x=(2, 3)), converted(lambda y: mb.exp(x=y, name="z"), y=(2, 400))
        joined = ct.utils.make_pipeline(first, second)
        parts = self._costs(
            MLComputePlan.load_from_path(joined.get_compiled_model_path()), lambda s: s.pipeline.sub_models
        )
        assert sum(cost for _, cost in parts) == pytest.approx(1)
        assert {kind for kind, cost in parts if cost} >= {"linear", "exp"}

    @staticmethod
    def _costs(plan, models):
        functions = [m.program.functions["main"] for _, m in models(plan.model_structure)]
        found = [(op.operator_name, plan.get_estimated_cost_for_mlprogram_operation(op))
                 for function in functions for op in function.block.operations]  # fmt: skip
        return [(kind, cost.weight) for kind, cost in found if cost is not None]

    def test_structure_of_nested_blocks(self, installed):
        def choice(x):
            return mb.cond(
                pred=mb.greater(x=mb.reduce_sum(x=x), y=0.0),
                _true_fn=lambda: mb.identity(x=x),
                _false_fn=lambda: mb.mul(x=x, y=2.0),
                name="y",
            )

        chosen = converted(choice, x=(2, 3))
        operations = (
            MLModelStructure.load_from_path(chosen.get_compiled_model_path()).program.functions["main"].block.operations
        )
        cond = next(op for op in operations if op.operator_name == "cond")
        assert [len(block.operations) > 0 for block in cond.blocks] == [True, True]

    def test_structure_of_a_network(self, installed):
        builder = NeuralNetworkBuilder([("x", datatypes.Array(3))], [("y", datatypes.Array(3))])
        builder.add_activation("act", "RELU", "x", "y")
        network = ct.models.MLModel(builder.spec)
        plan = MLComputePlan.load_from_path(network.get_compiled_model_path())
        (layer,) = plan.model_structure.neuralnetwork.layers
        assert (layer.name, layer.type, layer.input_names, layer.output_names) == ("act", "activation", ["x"], ["y"])
        usage = plan.get_compute_device_usage_for_neuralnetwork_layer(layer)
        assert isinstance(usage.preferred_compute_device, MLCPUComputeDevice)

    def test_devices(self, installed):
        for devices in (MLComputeDevice.get_all_compute_devices(), ct.models.MLModel.get_available_compute_devices()):
            assert [type(device) for device in devices] == [MLCPUComputeDevice]


class TestVersions:
    @pytest.mark.parametrize(
        ("target", "version"), [(ct.target.iOS15, 6), (ct.target.iOS16, 7), (ct.target.iOS17, 8), (ct.target.iOS18, 9)]
    )
    def test_a_program_needs_its_operation_set(self, installed, tmp_path, target, version):
        spec = converted(linear, x=(2, 3), target=target).get_spec()
        spec.specificationVersion = 10
        path = str(tmp_path / "m.mlpackage")
        folder = ct.models.utils._try_get_weights_dir_path(converted(linear, x=(2, 3), target=target).package_path)
        ct.models.utils.save_spec(spec, path, auto_set_specification_version=True, weights_dir=folder)
        assert ct.models.utils.load_spec(path).specificationVersion == version

    def test_networks_by_their_layers(self, installed):
        from pippin.coremltools.specification_version import lowest_version

        def network(add, exact=False):
            builder = NeuralNetworkBuilder(
                [("x", datatypes.Array(3, 4, 4))], [("y", None)], disable_rank5_shape_mapping=exact
            )
            add(builder)
            return builder.spec

        assert lowest_version(network(lambda b: b.add_activation("a", "RELU", "x", "y"))) == 1
        resized = network(lambda b: b.add_resize_bilinear("a", "x", "y", 8, 8))
        assert lowest_version(resized) == 3
        assert lowest_version(network(lambda b: b.add_tanh("a", "x", "y"), exact=True)) == 4
        assert lowest_version(network(lambda b: b.add_clamped_relu("a", "x", "y"), exact=True)) == 5


class TestEvaluation:
    """The utilities that compare a model's predictions with a table."""

    @pytest.fixture(scope="class")
    def regressor(self, installed):
        spec = ct.proto.Model_pb2.Model(specificationVersion=1)
        for name in ("a", "b"):
            spec.description.input.add(name=name).type.doubleType.SetInParent()
        spec.description.output.add(name="y").type.doubleType.SetInParent()
        spec.description.predictedFeatureName = "y"
        spec.glmRegressor.weights.add().value.extend([2.0, -1.0])
        spec.glmRegressor.offset.append(0.5)
        return spec

    @pytest.fixture(scope="class")
    def classifier(self, installed):
        spec = ct.proto.Model_pb2.Model(specificationVersion=1)
        for name in ("a", "b"):
            spec.description.input.add(name=name).type.doubleType.SetInParent()
        spec.description.output.add(name="label").type.stringType.SetInParent()
        spec.description.output.add(name="p").type.dictionaryType.stringKeyType.SetInParent()
        spec.description.predictedFeatureName = "label"
        spec.description.predictedProbabilitiesName = "p"
        spec.glmClassifier.weights.add().value.extend([3.0, -2.0])
        spec.glmClassifier.offset.append(-0.25)
        spec.glmClassifier.stringClassLabels.vector.extend(["no", "yes"])
        return spec

    def table(self):
        pandas = pytest.importorskip("pandas")
        return pandas.DataFrame({"a": [1.0, -2.0, 0.5], "b": [0.25, 3.0, 1.0]})

    def test_regressor(self, regressor):
        data, name = self.table(), "y"
        data[name] = 2 * data.a - data.b + 0.5
        errors = ct.models.utils.evaluate_regressor(regressor, data, name)
        assert errors["rmse"] == pytest.approx(0, abs=1e-12)
        assert errors["samples"] == 3

    def test_classifier(self, classifier):
        data, name = self.table(), "label"
        data[name] = ["yes" if v > 0 else "no" for v in 3 * data.a - 2 * data.b - 0.25]
        assert ct.models.utils.evaluate_classifier(classifier, data, name)["num_errors"] == 0

    def test_classifier_with_probabilities(self, classifier):
        data = self.table()
        yes = 1 / (1 + np.exp(-(3 * data.a - 2 * data.b - 0.25)))
        data["p"] = [{"yes": p, "no": 1 - p} for p in yes]
        found = ct.models.utils.evaluate_classifier_with_probabilities(classifier, data, probabilities="p")
        assert found["num_key_mismatch"] == 0
        assert found["max_probability_error"] < 1e-12

    def test_transformer(self, regressor):
        inputs = [{"a": 1.0, "b": 2.0}, {"a": 0.0, "b": 1.0}]
        assert ct.models.utils.evaluate_transformer(regressor, inputs, [{"y": 0.5}, {"y": -0.5}])["num_errors"] == 0
        assert ct.models.utils.evaluate_transformer(regressor, inputs, [{"y": 0.5}, {"y": 7.0}])["num_errors"] == 1


def test_a_program_cut_in_two_still_gives_the_same(model, tmp_path):
    rng = np.random.default_rng(2)
    weights = [rng.standard_normal((64, 64)).astype(np.float32) / 8 for _ in range(4)]

    def deep(x):
        for w in weights:
            x = mb.relu(x=mb.linear(x=x, weight=w))
        return mb.identity(x=x, name="y")

    whole = converted(deep, x=(1, 64))
    ct.models.utils.bisect_model(whole, str(tmp_path), merge_chunks_to_pipeline=True, check_output_correctness=True)
    (pipeline,) = tmp_path.glob("*.mlpackage")
    joined = ct.models.MLModel(str(pipeline))
    assert joined.get_spec().WhichOneof("Type") == "pipeline"
    x = rng.standard_normal((1, 64)).astype(np.float32)
    expected = x
    for w in weights:
        expected = np.maximum(expected @ w.T, 0)
    np.testing.assert_allclose(joined.predict({"x": x})["y"], expected, rtol=1e-4, atol=1e-4)


def test_remote_devices_say_what_they_need(installed):
    from coremltools.models.ml_program.experimental.remote_device import Device

    with pytest.raises(Exception, match=r"devicectl|xcrun|macOS|Xcode|No such file"):
        Device.get_devices()
