"""Every operation of Core AI against Apple's runtime, on each engine.

Where the runtime contradicts Apple's documentation, the row says what is documented (`Case.documented`).
"""

from pathlib import Path

import numpy as np
import pytest

import pippin
from core_ai.elementwise_cases import Case
from core_ai.operation_cases import CASES
from core_ai.program_cases import PROGRAMS, Program
from pippin.engines import Settings, all_engines
from pippin.errors import CompilationError, UnsupportedOperationError
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
    path = recorded / f"{row.name}.aimodel"
    finite = all(np.isfinite(x).all() for x in row.inputs)
    for engine in ENGINES:
        found = _compiled(path, engine, given) if finite else _loaded(path, engine, given)
        if found is None:
            assert engine == "openvino", "ONNX Runtime must run everything"
            continue
        for name, value in expected.items():
            assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype), (engine, name)
            _equal(found[name], value, f"{engine}, {name}")


def _compiled(path: Path, name: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The outputs of one engine, without what a load measures and checks."""
    asset = open_model(path)
    lowered = lower_model(asset, asset.description.function())
    engine = all_engines()[name]
    if engine.declined(lowered):
        return None
    try:
        compiled = engine.compile(prepared(engine, lowered.model).SerializeToString(), Settings(threads=1))
    except CompilationError:
        return None
    values = {
        port.name: np.ascontiguousarray(given[port.name].astype(port.dtype)).reshape(given[port.name].shape)
        for port in lowered.inputs
    }
    outputs = compiled.run(values)
    refuse_outside(lowered.index_checks, values | outputs)
    return {port.name: np.asarray(outputs[port.tensor]).astype(port.type.dtype.numpy) for port in lowered.outputs}


def _loaded(path: Path, name: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """The outputs of a prediction: one that holds NaN or infinity may take another way."""
    try:
        model = pippin.load(path, pippin.Configuration(engine=name))
    except UnsupportedOperationError:
        return None
    return {name: np.asarray(value) for name, value in model.predict(given).items()}


@pytest.mark.parametrize("row", PROGRAMS, ids=lambda row: row.name)
@pytest.mark.parametrize("engine", [*ENGINES, None])
def test_a_program_computes_what_apples_runtime_does(row: Program, engine: str | None, recorded: Path):
    with np.load(recorded / f"{row.name}.npz") as stored:
        expected = dict(stored)
    try:
        model = pippin.load(recorded / f"{row.name}.aimodel", pippin.Configuration(engine=engine))
    except UnsupportedOperationError as error:
        assert engine == "openvino", error
        pytest.skip(str(error))
    state = model.make_state() if row.states else None
    for name, value in row.states.items():
        assert state is not None
        state.write(name, value)
    for _ in range(row.calls):
        found = model.predict(row.inputs) if state is None else model.predict(row.inputs, state=state)
    for name, value in expected.items():
        kept, _, after = name.partition("/")
        _equal(np.asarray(state.read(kept) if after else found[name]), value, name)


def test_apples_package_takes_every_row(recorded: Path):
    assert (recorded / "refused.txt").read_text() == ""


def _equal(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    exact = expected.dtype.kind in "iub"
    np.testing.assert_allclose(
        found.astype(np.float64),
        expected.astype(np.float64),
        rtol=0 if exact else 1e-4,
        atol=0 if exact else 1e-5,
        err_msg=what,
    )
