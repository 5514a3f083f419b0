"""Tools: coremltools' debugging tools run on a real model, and find the operation that was made wrong."""

from __future__ import annotations

import asyncio

import numpy as np
import onnxruntime
import pytest
from coremltools.models.ml_program.experimental.debugging_utils import (
    MLModelComparator,
    MLModelInspector,
    MLModelValidator,
    compute_snr_and_psnr,
)
from coremltools.models.ml_program.experimental.perf_utils import MLModelBenchmarker

import coremltools as ct

pytestmark = pytest.mark.slow

RELU = "StatefulPartitionedCall_model_1_re_lu_2_Relu"
NOTES = "Identity_1"


@pytest.fixture(scope="module")
def melody():
    time = np.arange(43844) / 22050
    tone = np.sin(2 * np.pi * 440 * time) + 0.5 * np.sin(2 * np.pi * 660 * time)
    return {"input_2": tone.astype(np.float32).reshape(1, -1, 1)}


@pytest.fixture(scope="module")
def real(basic_pitch, installed):
    return ct.models.MLModel(str(basic_pitch / "nmp.mlpackage"))


def planted(model, name, change):
    """The model with one operation of its program changed."""
    spec = model.get_spec()
    function = spec.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    change(next(op for op in operations if any(output.name == name for output in op.outputs)))
    return ct.models.MLModel(spec, weights_dir=model.weights_dir)


def names(operations):
    return [output.name for operation in operations for output in operation.outputs]


def as_tanh(operation):
    operation.type = "tanh"


def as_log(operation):
    operation.type = "log"


def test_the_inspector_reads_intermediate_values(real, melody, basic_pitch):
    inspector = MLModelInspector(real)
    relu = "StatefulPartitionedCall_model_1_re_lu_1_Relu"
    found = asyncio.run(inspector.retrieve_outputs(inputs=melody, output_names=[relu, NOTES]))
    assert found[relu].min() == 0
    assert found[relu].max() > 0
    # The same network in another format, computed by another program.
    twin = onnxruntime.InferenceSession(basic_pitch / "nmp.onnx", providers=["CPUExecutionProvider"])
    given = {twin.get_inputs()[0].name: melody["input_2"]}
    outputs = {v.shape[-1]: v for v in twin.run(None, given) if v.shape == found[NOTES].shape}
    assert min(np.abs(v - found[NOTES]).max() for v in outputs.values()) < 1e-3 or len(outputs) == 1


def test_the_comparator_finds_a_planted_wrong_operation(real, melody):
    wrong = planted(real, RELU, as_tanh)

    def agree(operation, reference, target):
        return np.allclose(reference, target, rtol=1e-3, atol=1e-5)

    comparator = MLModelComparator(reference_model=real, target_model=wrong)
    failing = asyncio.run(comparator.find_failing_ops(inputs=melody, compare_outputs=agree))
    assert names(failing) == [RELU]
    found = asyncio.run(MLModelInspector(wrong).retrieve_outputs(inputs=melody, output_names=[RELU]))[RELU]
    right = asyncio.run(MLModelInspector(real).retrieve_outputs(inputs=melody, output_names=[RELU]))[RELU]
    assert compute_snr_and_psnr(right, found)[0] < 20  # decibels


def test_the_comparator_finds_nothing_in_the_same_model(real, melody):
    again = ct.models.MLModel(real.package_path)
    comparator = MLModelComparator(reference_model=real, target_model=again)
    failing = asyncio.run(
        comparator.find_failing_ops(inputs=melody, compare_outputs=lambda op, a, b: np.allclose(a, b, atol=1e-4))
    )
    assert failing == []


def test_the_validator_finds_where_numbers_are_lost(real, melody):
    wrong = planted(real, RELU, as_log)  # of negative numbers
    validator = MLModelValidator(model=wrong)
    assert names(asyncio.run(validator.find_failing_ops_with_nan_output(inputs=melody))) == [RELU]
    sound = MLModelValidator(model=real)
    assert asyncio.run(sound.find_failing_ops_with_nan_output(inputs=melody)) == []


def test_the_benchmarker_measures_in_milliseconds(real, melody):
    benchmarker = MLModelBenchmarker(model=real)
    load = asyncio.run(benchmarker.benchmark_load(iterations=2))
    predict = asyncio.run(benchmarker.benchmark_predict(inputs=melody, iterations=3, warmup=True))
    for measured, count in ((load, 2), (predict, 3)):
        assert len(measured.samples) == count
        assert 0 < measured.statistics.minimum <= measured.statistics.median <= measured.statistics.maximum
    operations = asyncio.run(benchmarker.benchmark_operation_execution(inputs=melody, iterations=1))
    assert operations[0].spec.type == "conv"  # the most expensive first
