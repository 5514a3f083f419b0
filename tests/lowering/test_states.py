"""States: what a program reads and writes between predictions, also inside of branches and loops."""

import numpy as np
import pytest
from coremltools.converters.mil.backend.mil.load import MILProtoExporter
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
from lowering.harness import ENGINES, case, compiled_on
from pippin.engines import all_engines
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program
from pippin.runtime.state_writes import StateWrites


def _accumulate(state, x):
    value = mb.add(x=mb.read_state(input=state), y=x)
    return mb.coreml_update_state(state=state, value=value)


def _update_a_slice(state, x):
    update = mb.slice_update(
        x=mb.read_state(input=state), update=mb.slice_by_size(x=x, begin=[1], size=[2]), begin=[0], end=[2]
    )
    mb.coreml_update_state(state=state, value=update)
    return mb.mul(x=update, y=np.float16(2))


def _in_a_branch(state, x):
    positive = mb.greater(x=mb.reduce_sum(x=x, axes=[0], keep_dims=False), y=np.float16(0))

    def update():
        return mb.coreml_update_state(state=state, value=mb.add(x=mb.read_state(input=state), y=x))

    mb.cond(pred=positive, _true_fn=update, _false_fn=lambda: mb.identity(x=x))
    return mb.identity(x=mb.read_state(input=state))


def _in_a_loop(state, x):
    def body(i):
        mb.coreml_update_state(state=state, value=mb.add(x=mb.read_state(input=state), y=x))
        return mb.add(x=i, y=1)

    start = mb.cast(x=mb.mul(x=mb.reduce_sum(x=x, axes=[0]), y=np.float16(0)), dtype="int32")
    mb.while_loop(_cond=lambda i: mb.less(x=i, y=3), _body=body, loop_vars=(start,))
    return mb.identity(x=mb.read_state(input=state))


X = np.array([1, 2, -0.5, 4], np.float16)
S = np.array([10, 20, 30, 40], np.float16)
ROWS = {
    "accumulate": (_accumulate, X, S + X, S + X),
    "slice": (_update_a_slice, X, 2 * np.array([2, -0.5, 30, 40]), np.array([2, -0.5, 30, 40])),
    "branch-taken": (_in_a_branch, X, S + X, S + X),
    "branch-left": (_in_a_branch, -X, S, S),
    "loop": (_in_a_loop, X, S + 3 * X, S + 3 * X),
}
# For the count of what each operation is tested with.
CASES = [case(kind, x=X, opset=18, expect=None) for kind in ("read_state", "write_state") for _ in ROWS]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ROWS)
def test_states(name, engine, tmp_path):
    body, x, output, state = ROWS[name]

    @mb.program(
        input_specs=[mb.StateTensorSpec((4,), types.fp16), mb.TensorSpec((4,), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(memory, x):
        return body(memory, x)

    exported = MILProtoExporter(program, str(tmp_path), specification_version=9).export()
    model = ct.proto.Model_pb2.Model(specificationVersion=9, mlProgram=exported)
    lowered = lower(read_program(open_asset(model, weights=tmp_path)), "main")
    assert [port.name for port in lowered.states] == ["memory"]
    reasons = all_engines()[engine].declined(lowered)
    if reasons:
        pytest.skip(next(iter(reasons.values())))
    outputs = compiled_on(engine, lowered).run({"memory": S.astype(np.float32), "x": x.astype(np.float32)})
    np.testing.assert_allclose(outputs[lowered.outputs[0].name], output, rtol=1e-5)
    arrays = {"memory": S.astype(np.float32)}
    StateWrites(lowered).apply(arrays, outputs)
    np.testing.assert_allclose(arrays["memory"], state, rtol=1e-5)
