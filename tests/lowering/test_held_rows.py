"""Held rows: scatters, splits and slices by size take part of a state without the rest; an index outside is an error."""

import numpy as np
import pytest
from coremltools.converters.mil.backend.mil.load import MILProtoExporter
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
from lowering.harness import ENGINES, compiled_on
from pippin.errors import PredictionError
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.lowering.lowered_model import refuse_outside
from pippin.program.protobuf_reader import read_program
from pippin.runtime.state_writes import StateWrites
from pippin.specialization.nonfinite import StateArray

ROWS, SIZE = 6, 2
STATE = np.arange(ROWS * SIZE, dtype=np.float32).reshape(ROWS, SIZE)
X = np.array([[50, 60]], np.float32)


def _lowered(body, folder, shape=(ROWS, SIZE), x=(1, SIZE)):
    @mb.program(
        input_specs=[mb.StateTensorSpec(shape, types.fp16), mb.TensorSpec(x, types.fp16),
                     mb.TensorSpec((1,), types.int32)],
        opset_version=ct.target.iOS18,
    )  # fmt: skip
    def program(memory, x, at):
        return body(memory, x, at)

    exported = MILProtoExporter(program, str(folder), specification_version=9).export()
    model = ct.proto.Model_pb2.Model(specificationVersion=9, mlProgram=exported)
    return lower(read_program(open_asset(model, weights=folder)), "main")


def _written(memory, value):
    return mb.identity(x=mb.coreml_update_state(state=memory, value=value))


def _scatter(memory, x, at, **how):
    value = mb.read_state(input=memory)
    how = {"axis": 0, "mode": "update", "validate_indices": False} | how
    return _written(memory, mb.scatter(data=value, indices=at, updates=x, **how))


def _scatter_of_a_number(memory, x, at):
    return _scatter(memory, mb.squeeze(x=x, axes=[0]), mb.squeeze(x=at, axes=[0]))


def _scatter_nd(memory, x, at):
    value, how = mb.read_state(input=memory), {"mode": "update", "validate_indices": False}
    return _written(memory, mb.scatter_nd(data=value, indices=mb.expand_dims(x=at, axes=[0]), updates=x, **how))


def _squeezed(memory, x, at):
    begin = mb.concat(values=[at, np.int32([0])], axis=0)
    how = {"begin": begin, "end": np.int32([0, SIZE]), "squeeze_mask": [True, False]}
    update = mb.squeeze(x=x, axes=[0])
    return _written(memory, mb.slice_update(x=mb.read_state(input=memory), update=update, **how))


WRITES = {
    "scatter": _scatter, "scatter of a number": _scatter_of_a_number, "scatter_nd": _scatter_nd, "squeezed": _squeezed,
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", WRITES)
def test_one_index(form, engine, tmp_path):
    """The graph returns a row, and the row before the one that a negative index counts from the end."""
    lowered = _lowered(WRITES[form], tmp_path)
    assert lowered.written == () and len(lowered.writes) == 1
    compiled = compiled_on(engine, lowered)
    for at in (2, 5, -1, -ROWS, ROWS, -ROWS - 1, 1000, -20):
        state = {"memory": STATE.copy().view(StateArray)}
        inputs = {"memory": STATE, "x": X, "at": np.array([at], np.int32)}
        if not -ROWS <= at < ROWS:
            with pytest.raises(PredictionError, match=f"the index {at} is outside"):
                refuse_outside([check for check in lowered.index_checks if check.before], inputs)
                refuse_outside(lowered.index_checks, compiled.run(inputs))
            continue
        outputs = compiled.run(inputs)
        StateWrites(lowered).apply(state, outputs)
        expected = STATE.copy()
        expected[at] = X
        np.testing.assert_array_equal(outputs[lowered.outputs[0].tensor], expected)
        np.testing.assert_array_equal(state["memory"], expected)


def _other_mode(memory, x, at):
    return _scatter(memory, x, at, mode="add")


def _two_indices(memory, x, at):
    two = mb.concat(values=[at, mb.add(x=at, y=np.int32([2]))], axis=0)
    return _scatter(memory, mb.tile(x=x, reps=[2, 1]), two)


@pytest.mark.parametrize(
    ("body", "expected"),
    [(_other_mode, STATE[1:2] + X), (_two_indices, X)],
    ids=["added", "two rows"],
)
def test_what_is_no_row_is_written_whole(body, expected, tmp_path):
    lowered = _lowered(body, tmp_path)
    assert lowered.written == ("memory",)
    outputs = compiled_on("onnxruntime", lowered).run({"memory": STATE, "x": X, "at": np.array([1], np.int32)})
    np.testing.assert_array_equal(outputs["memory/written"][1:2], expected)


def _layers_and_whole(memory, x, at):
    """Each layer gets a row, then all of them are read."""
    for layer in range(8):
        begin = mb.concat(values=[np.int32([layer]), at, np.int32([0])], axis=0)
        end = mb.concat(values=[np.int32([layer + 1]), mb.add(x=at, y=np.int32([1])), np.int32([SIZE])], axis=0)
        value = mb.slice_update(
            x=mb.read_state(input=memory), update=mb.expand_dims(x=x, axes=[0]), begin=begin, end=end
        )
        mb.coreml_update_state(state=memory, value=value)
    return mb.identity(x=mb.read_state(input=memory))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_read_of_several_updates_is_made_of_its_parts(engine, tmp_path):
    lowered = _lowered(_layers_and_whole, tmp_path, shape=(8, ROWS, SIZE))
    nodes = [node for node in lowered.model.graph.node if "memory" in node.input]
    assert len(nodes) == 16, "what lies before and behind each row"
    before = np.random.default_rng(0).standard_normal((8, ROWS, SIZE)).astype(np.float32)
    outputs = compiled_on(engine, lowered).run({"memory": before, "x": X, "at": np.array([4], np.int32)})
    expected = before.copy()
    expected[:, 4] = X
    np.testing.assert_array_equal(outputs[lowered.outputs[0].tensor], expected)


def _halves(memory, x, at):
    """Keys and values in one state, of which both get a row."""
    value = mb.read_state(input=memory)
    for half in range(2):
        begin = mb.concat(values=[np.int32([half]), at, np.int32([0])], axis=0)
        end = mb.concat(values=[np.int32([half + 1]), mb.add(x=at, y=np.int32([1])), np.int32([SIZE])], axis=0)
        value = mb.slice_update(x=value, update=mb.expand_dims(x=x, axes=[0]), begin=begin, end=end)
        value = mb.coreml_update_state(state=memory, value=value)
    first, second = mb.split(x=value, axis=0, num_splits=2)
    return mb.mul(x=first, y=mb.slice_by_size(x=second, begin=[0, 0, 0], size=[-1, ROWS, SIZE]))


def test_a_split_reads_its_parts(tmp_path):
    lowered = _lowered(_halves, tmp_path, shape=(2, ROWS, SIZE))
    assert {node.op_type for node in lowered.model.graph.node if "memory" in node.input} == {"Slice"}
    assert all(node.op_type != "Split" for node in lowered.model.graph.node)
    before = np.random.default_rng(0).standard_normal((2, ROWS, SIZE)).astype(np.float32)
    outputs = compiled_on("onnxruntime", lowered).run({"memory": before, "x": X, "at": np.array([4], np.int32)})
    before[:, 4] = X
    np.testing.assert_allclose(outputs[lowered.outputs[0].tensor], before[:1] * before[1:], rtol=1e-6)
