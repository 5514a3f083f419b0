"""Every operation of Core AI against Apple's runtime, on each engine.

Where the runtime contradicts Apple's documentation, the row says what is documented (`Case.documented`).
"""

from pathlib import Path

import numpy as np
import pytest
from core_ai.operation_cases import CASES, Case
from core_ai.program_cases import PROGRAMS, Program

import pippin
from pippin.engines import Settings, all_engines
from pippin.errors import CompilationError
from pippin.lowering.lower_model import lower_model
from pippin.lowering.lowered_model import refuse_outside
from pippin.program.opening import open_model
from pippin.specialization.reference import prepared

pytestmark = pytest.mark.process
ENGINES = ("onnxruntime", "openvino")


@pytest.mark.parametrize("row", CASES, ids=lambda row: row.name)
def test_an_operation_computes_what_apples_runtime_does(row: Case, recorded: Path):
    given = {f"x{number}": x for number, x in enumerate(row.inputs)}
    with np.load(recorded / f"{row.name}.npz") as stored:
        expected = dict(stored)
    if row.documented is not None:
        with np.errstate(all="ignore"):
            expected = {"y0": row.documented(*row.inputs)}
    asset = open_model(recorded / f"{row.name}.aimodel")
    ran = 0
    for name in ENGINES:
        lowered = lower_model(asset, asset.description.function())
        engine = all_engines()[name]
        if engine.declined(lowered):
            assert name == "openvino", "ONNX Runtime must run everything"
            continue
        try:
            compiled = engine.compile(prepared(engine, lowered.model).SerializeToString(), Settings(threads=1))
        except CompilationError:
            assert name == "openvino", "ONNX Runtime must run everything"
            continue
        values = {p.name: np.ascontiguousarray(given[p.name].astype(p.dtype)).reshape(given[p.name].shape) for p in lowered.inputs}
        outputs = compiled.run(values)
        refuse_outside(lowered.index_checks, values | outputs)
        for port in lowered.outputs:
            found = np.asarray(outputs[port.tensor]).astype(port.type.dtype.numpy)
            assert found.shape == expected[port.name].shape, (name, found.shape)
            assert found.dtype == expected[port.name].dtype, name
            _equal(found, expected[port.name], name)
        ran += 1
    assert ran


@pytest.mark.parametrize("row", PROGRAMS, ids=lambda row: row.name)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_computes_what_apples_runtime_does(row: Program, engine: str, recorded: Path):
    with np.load(recorded / f"{row.name}.npz") as stored:
        expected = dict(stored)
    model = pippin.load(recorded / f"{row.name}.aimodel", pippin.Configuration(engine=engine))
    state = model.make_state() if row.states else None
    if state is not None:
        for name, value in row.states.items():
            state.write(name, value)
    for _ in range(row.calls):
        found = model.predict(row.inputs, state=state) if state is not None else model.predict(row.inputs)
    for name, value in expected.items():
        kept, _, after = name.partition("/")
        _equal(np.asarray(state.read(kept) if after else found[name]), value, name)


def test_apples_package_takes_every_row(recorded: Path):
    assert (recorded / "refused.txt").read_text() == ""


def _equal(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    exact = expected.dtype.kind in "iub"
    np.testing.assert_allclose(
        found.astype(np.float64), expected.astype(np.float64), rtol=0 if exact else 1e-4, atol=0 if exact else 1e-5, err_msg=what
    )
