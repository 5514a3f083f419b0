"""Classify: the labels of a classifier, and the probabilities that an engine computes for them."""

import numpy as np
import pytest
from coremltools.converters.mil.backend.mil.helper import create_list_scalarvalue

from coremltools import proto
from lowering.harness import ENGINES, case, compiled_on, f32, program_of
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program

LABELS = {"string": ["cat", "dog", "bird"], "int64": [10, 20, 30]}
CASES = [
    case("classify", x=x, label=kind, expect=labels, build=lambda mb, x: mb.softmax(x=x, axis=-1))
    for kind, labels in LABELS.items()
    for x in (f32(1, 3), f32(3))
]


def _with_classify(model, labels):
    """The program with a classify operation at its end, as coremltools writes it for a classifier."""
    block = model.mlProgram.functions["main"].block_specializations["CoreML5"]
    probabilities = block.outputs[0]
    kind = str if isinstance(labels[0], str) else np.int64
    values = labels if kind is str else [np.int64(v) for v in labels]
    classify = block.operations.add(type="classify")
    classify.inputs["probabilities"].arguments.add(name=probabilities)
    classify.inputs["classes"].arguments.add(value=create_list_scalarvalue(values, kind))
    label = classify.outputs.add(name="label")
    dtype = proto.MIL_pb2.STRING if kind is str else proto.MIL_pb2.INT64
    label.type.tensorType.dataType = dtype
    scores = classify.outputs.add(name="scores")
    scores.type.dictionaryType.keyType.tensorType.dataType = dtype
    scores.type.dictionaryType.valueType.tensorType.dataType = proto.MIL_pb2.FLOAT32
    del block.outputs[:]
    block.outputs.extend(["label", "scores"])
    return model


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("row", CASES, ids=lambda row: f"{row.label}-{row.arguments['x'].ndim}")
def test_classify(row, engine, tmp_path):
    model = _with_classify(program_of(row, row.arguments, row.arguments, str(tmp_path)), row.expect)
    lowered = lower(read_program(open_asset(model, weights=tmp_path)), "main")
    assert lowered.labels is not None
    assert lowered.labels.classes == tuple(row.expect)
    assert (lowered.labels.label_output, lowered.labels.probabilities_output) == ("label", "scores")
    found = compiled_on(engine, lowered).run({"x": row.arguments["x"]})[lowered.labels.probabilities]
    e = np.exp(row.arguments["x"])
    np.testing.assert_allclose(found, e / e.sum(-1, keepdims=True), rtol=1e-5)
