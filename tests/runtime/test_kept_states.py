"""Kept states: a state fits every model of its shape, is copied, saved and loaded, and stays as it was when a prediction
fails or is cancelled."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
import pippin
from pippin import errors

ENGINES = ("openvino", "onnxruntime")


def _rows(size=4, shift=0.0, fails=False, name="memory", dtype=types.fp16, function="main"):
    """A program that writes its input to a row of a state, from `at` on, and returns the sum of the state."""

    def body(memory, x, at):
        old = mb.read_state(input=memory)
        begin = mb.concat(values=[at, np.int32([0])], axis=0)
        end = mb.concat(values=[mb.add(x=at, y=np.int32([1])), np.int32([2])], axis=0)
        rows = mb.cast(x=mb.add(x=x, y=np.float32(shift)), dtype="fp16")
        new = mb.slice_update(x=old, update=rows, begin=begin, end=end)
        mb.coreml_update_state(state=memory, value=new)
        return mb.reduce_sum(x=mb.cast(x=new, dtype="fp32"), axes=[0], keep_dims=False, name="y")

    specs = [mb.StateTensorSpec((size, 2), dtype), mb.TensorSpec((1, 2), types.fp32), mb.TensorSpec((1,), types.int32)]
    names = {"memory": name}
    code = f"def program({names['memory']}, x, at): return body({names['memory']}, x, at)"
    scope = {"body": body}
    exec(code, scope)  # a program takes the names of its inputs from its parameters
    program = mb.program(input_specs=specs, opset_version=ct.target.iOS18)(scope["program"])
    return ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True)


def _saved(path, **how):
    _rows(**how).save(str(path))
    return path


def _row(at, *values):
    return {"x": np.array([values], np.float32), "at": np.array([at], np.int32)}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return _saved(tmp_path_factory.mktemp("rows") / "rows.mlpackage")


@pytest.fixture(scope="module", params=ENGINES)
def model(package, request):
    return pippin.load(package, pippin.Configuration(engine=request.param), cache=False)


def test_only_the_rows_are_written(model):
    state = model.make_state()
    state.write("memory", np.arange(8).reshape(4, 2))
    array = state._arrays["memory"]
    np.testing.assert_array_equal(model.predict(_row(1, 10, 20), state=state)["y"], [20, 33])
    np.testing.assert_array_equal(state.read("memory"), [[0, 1], [10, 20], [4, 5], [6, 7]])
    assert state._arrays["memory"] is array, "not copied"
    np.testing.assert_array_equal(model.predict(_row(-2, 0, 1), state=state)["y"], [16, 29])
    np.testing.assert_array_equal(state.read("memory"), [[0, 1], [10, 20], [0, 1], [6, 7]])


@pytest.mark.parametrize("at", [4, 9, -1, -9])
def test_rows_outside_leave_the_state(model, at):
    state = model.make_state()
    state.write("memory", np.arange(8).reshape(4, 2))
    with pytest.raises(errors.PredictionError):
        model.predict(_row(at, 10, 20), state=state)
    np.testing.assert_array_equal(state.read("memory"), np.arange(8).reshape(4, 2))


def test_a_failed_output_leaves_the_state(model):
    state = model.make_state()
    options = pippin.PredictionOptions(output_backings={"y": np.zeros(3, np.float32)})
    with pytest.raises(errors.FeatureShapeError):
        model.predict(_row(0, 1, 2), state=state, options=options)
    assert not state.read("memory").any()


def test_a_cancelled_prediction_leaves_the_state(model, monkeypatch):
    """It is cancelled after it has computed, before it changes the state; the next one goes on from there."""
    from pippin.support.cancellation import Stop

    state, stop, session = model.make_state(), Stop(), model._open()
    decode = session._decode

    def cancel_and_decode(arrays):
        stop.ask()
        return decode(arrays)

    monkeypatch.setattr(session, "_decode", cancel_and_decode)
    with state.state_queue.turn(), pytest.raises(errors.PredictionCancelled):
        state.run(session, _row(0, 1, 2), stop, None)
    monkeypatch.undo()
    assert not state.read("memory").any()
    np.testing.assert_array_equal(model.predict(_row(1, 3, 4), state=state)["y"], [3, 4])


def test_too_late_to_cancel(model, monkeypatch):
    """Once the state changes, the prediction is done: its caller gets the outputs that fit the state."""
    state, cancellation, session = model.make_state(), pippin.Cancellation(), model._open()
    apply = session._writes.apply

    class Late:
        def apply(self, *arguments):
            cancellation.cancel()
            apply(*arguments)

    monkeypatch.setattr(session, "_writes", Late())
    np.testing.assert_array_equal(model.predict(_row(0, 1, 2), state=state, cancellation=cancellation)["y"], [1, 2])
    np.testing.assert_array_equal(state.read("memory")[0], [1, 2])


def test_an_interruption_between_rows_leaves_the_state():
    from pippin.lowering.lowered_model import Lowered, StateWrite
    from pippin.runtime.state_writes import StateWrites
    from pippin.specialization.nonfinite import StateArray

    lowered = Lowered("main", None, (), (), (), ("b",), None, writes=(StateWrite("a", "r", (0, "at"), (1, 3)),))
    state = {"a": np.zeros((2, 3)).view(StateArray), "b": np.zeros(2).view(StateArray)}
    before = {name: array.copy() for name, array in state.items()}

    class Arrays(dict):
        def __getitem__(self, name):
            if name == "b/written" and seen:
                raise KeyboardInterrupt
            seen.extend([name] if name == "b/written" else [])
            return super().__getitem__(name)

    seen = []
    with pytest.raises(KeyboardInterrupt):
        StateWrites(lowered).apply(state, Arrays({"r": np.ones((1, 2)), "at": np.array([1]), "b/written": np.ones(2)}))
    for name, array in before.items():
        np.testing.assert_array_equal(state[name], array)


def test_copies(model):
    state = model.make_state()
    model.predict(_row(0, 1, 2), state=state)
    other = state.copy()
    model.predict(_row(1, 3, 4), state=other)
    np.testing.assert_array_equal(model.predict(_row(2, 5, 6), state=state)["y"], [6, 8])
    np.testing.assert_array_equal(model.predict(_row(2, 5, 6), state=other)["y"], [9, 12])
    assert state.bytes == other.bytes == 8 * 4, "the engine computes float16 in float32"


def test_a_state_is_kept(model, package, tmp_path):
    state = model.make_state()
    model.predict(_row(0, 1, 2), state=state)
    state.save(tmp_path / "s.state")
    model.predict(_row(1, 3, 4), state=state)
    again = pippin.load(package, pippin.Configuration(engine=model.engine), cache=tmp_path / "cache")
    loaded = again.load_state(tmp_path / "s.state")
    np.testing.assert_array_equal(loaded.read("memory"), [[1, 2], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(again.predict(_row(1, 3, 4), state=loaded)["y"], [4, 6])
    state.save(tmp_path / "s.state")
    np.testing.assert_array_equal(model.load_state(tmp_path / "s.state").read("memory")[1], [3, 4])
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["s.state"], "nothing is left beside it"


def _cut(data):
    return data[:-1]


def _longer(data):
    return data + b"\0"


def _flipped(data):
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def _newer(data):
    return data.replace(b"PIPPIN STATE\n\x01", b"PIPPIN STATE\n\x02", 1)


def _huge_header(data):
    return data[:17] + b"\xff\xff\xff\x7f" + data[21:]


def _no_header(data):
    return data[:17] + b"\x02\0\0\0[]" + data[21:]


DAMAGES = {
    "cut": (_cut, "damaged"), "longer": (_longer, "damaged"), "flipped": (_flipped, "damaged"),
    "newer": (_newer, "version 2"), "huge header": (_huge_header, "damaged"), "no header": (_no_header, "damaged"),
    "empty": (lambda data: b"", "not a saved state"), "another file": (lambda data: b"x" * 99, "not a saved state"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(damage, model, tmp_path):
    path, (change, message) = tmp_path / "s.state", DAMAGES[damage]
    model.make_state().save(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(errors.StateError, match=message):
        model.load_state(path)


def test_what_cannot_be_loaded_or_saved(model, package, tmp_path):
    with pytest.raises(errors.StateError, match="does not exist"):
        model.load_state(tmp_path / "none")
    with pytest.raises(errors.StateError, match="cannot be"):
        model.load_state(tmp_path)
    with pytest.raises(errors.StateError, match="cannot be written"):
        model.make_state().save(tmp_path / "no" / "folder")
    model.make_state().save(tmp_path / "s.state")
    for how, message in (({"shift": 1.0}, "another model"), ({"size": 5}, "do not fit"), ({"name": "m"}, "do not fit")):
        other = pippin.load(_saved(tmp_path / f"{message}{len(how)}{next(iter(how))}.mlpackage", **how), cache=False)
        with pytest.raises(errors.StateError, match=message):
            other.load_state(tmp_path / "s.state")
    unhashed = pippin.load(_rows().get_spec(), weights={}, cache=False)
    with pytest.raises(errors.StateError, match="cannot be hashed"):
        unhashed.make_state().save(tmp_path / "u.state")


def test_a_state_fits_other_models(model, package, tmp_path):
    """The same package again, another package; on another engine."""
    state = model.make_state()
    model.predict(_row(0, 1, 2), state=state)
    other_engine = next(engine for engine in ENGINES if engine != model.engine)
    again = pippin.load(package, pippin.Configuration(engine=other_engine), cache=False)
    np.testing.assert_array_equal(again.predict(_row(1, 3, 4), state=state)["y"], [4, 6])
    another = pippin.load(_saved(tmp_path / "another.mlpackage", shift=1.0), cache=False)
    np.testing.assert_array_equal(another.predict(_row(2, 0, 0), state=state)["y"], [5, 7])
    np.testing.assert_array_equal(model.predict(_row(3, 0, 0), state=state)["y"], [5, 7])
    model.unload()
    np.testing.assert_array_equal(model.predict(_row(3, 1, 1), state=state)["y"], [6, 8])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"size": 5}, r"'memory' is .*4, 2.* in the state, .*5, 2.* in the model"),
        ({"name": "m"}, r"no 'm' \(it has: memory\)"),
    ],
)
def test_a_state_that_does_not_fit(model, how, message, tmp_path):
    other = pippin.load(_saved(tmp_path / "other.mlpackage", **how), cache=False)
    state = model.make_state()
    with pytest.raises(errors.StateError, match=message):
        other.predict(_row(0, 1, 2), state=state)
    np.testing.assert_array_equal(model.predict(_row(0, 1, 2), state=state)["y"], [1, 2])


def test_functions_of_a_package(tmp_path):
    description = ct.utils.MultiFunctionDescriptor()
    for name, shift in (("prefill", 0.0), ("decode", 1.0)):
        path = _saved(tmp_path / f"{name}.mlpackage", shift=shift)
        description.add_function(str(path), src_function_name="main", target_function_name=name)
    description.default_function_name = "prefill"
    ct.utils.save_multifunction(description, str(tmp_path / "both.mlpackage"))
    prefill, decode = (
        pippin.load(tmp_path / "both.mlpackage", pippin.Configuration(function_name=name), cache=False)
        for name in ("prefill", "decode")
    )
    state = prefill.make_state()
    prefill.predict(_row(0, 1, 2), state=state)
    np.testing.assert_array_equal(decode.predict(_row(1, 3, 4), state=state)["y"], [5, 7])
    state.save(tmp_path / "s.state")
    np.testing.assert_array_equal(decode.load_state(tmp_path / "s.state").read("memory")[:2], [[1, 2], [4, 5]])


def test_values_that_an_engine_gets_wrong(tmp_path):
    """NaN, in a state or written to it, comes out as defined, though only the rows that are written are looked at."""

    @mb.program(
        input_specs=[mb.StateTensorSpec((9, 2), types.fp16), mb.TensorSpec((1, 2), types.fp16),
                     mb.TensorSpec((1,), types.int32)],
        opset_version=ct.target.iOS18,
    )  # fmt: skip
    def program(memory, x, at):
        begin = mb.concat(values=[at, np.int32([0])], axis=0)
        end = mb.concat(values=[mb.add(x=at, y=np.int32([1])), np.int32([2])], axis=0)
        new = mb.slice_update(x=mb.read_state(input=memory), update=x, begin=begin, end=end)
        mb.coreml_update_state(state=memory, value=new)
        return mb.reduce_max(x=mb.relu(x=new), axes=[0], keep_dims=False, name="y")

    ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True).save(
        str(tmp_path / "m.mlpackage")
    )
    for engine in ENGINES:
        model = pippin.load(tmp_path / "m.mlpackage", pippin.Configuration(engine=engine), cache=False)
        state = model.make_state()
        np.testing.assert_array_equal(model.predict(_row(0, 1, -2), state=state)["y"], [1, 0])
        np.testing.assert_array_equal(model.predict(_row(1, np.nan, 2), state=state)["y"], [np.nan, 2])
        np.testing.assert_array_equal(model.predict(_row(2, 5, 3), state=state)["y"], [np.nan, 3])
        np.testing.assert_array_equal(model.predict(_row(1, 0, np.inf), state=state)["y"], [5, np.inf])
        state.write("memory", np.full((9, 2), np.nan))
        assert np.isnan(model.predict(_row(0, 0, 0), state=state)["y"]).all()
        copied = state.copy()
        state.write("memory", np.zeros((9, 2)))
        np.testing.assert_array_equal(model.predict(_row(0, 1, 2), state=state)["y"], [1, 2])
        assert np.isnan(model.predict(_row(0, 0, 0), state=copied)["y"]).all()


def _two_states(path):
    """Writes its input to a row of both states; returns the second as it was."""

    @mb.program(
        input_specs=[mb.StateTensorSpec((4, 2), types.fp16), mb.StateTensorSpec((4, 2), types.fp16),
                     mb.TensorSpec((1, 2), types.fp16), mb.TensorSpec((1,), types.int32)],
        opset_version=ct.target.iOS18,
    )  # fmt: skip
    def program(memory, other, x, at):
        begin = mb.concat(values=[at, np.int32([0])], axis=0)
        end = mb.concat(values=[mb.add(x=at, y=np.int32([1])), np.int32([2])], axis=0)
        before = mb.cast(x=mb.read_state(input=other), dtype="fp32", name="y")
        for state in (memory, other):
            new = mb.slice_update(x=mb.read_state(input=state), update=x, begin=begin, end=end)
            mb.coreml_update_state(state=state, value=new)
        return before

    ct.convert(program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True).save(str(path))
    return path


def test_a_model_uses_some_of_the_states(model, tmp_path):
    """The chunks of a model share one state, of which each may declare a part; an output never becomes the state."""
    whole = pippin.load(_two_states(tmp_path / "two.mlpackage"), pippin.Configuration(engine=model.engine), cache=False)
    state = whole.make_state()
    whole.predict(_row(0, 1, 2), state=state)
    np.testing.assert_array_equal(model.predict(_row(1, 3, 4), state=state)["y"], [4, 6])
    given = whole.predict(_row(2, 5, 6), state=state)["y"]
    whole.predict(_row(0, 9, 9), state=state)
    np.testing.assert_array_equal(given, [[1, 2], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(state.read("memory"), [[9, 9], [3, 4], [5, 6], [0, 0]])
    with pytest.raises(errors.StateError, match="no 'other'"):
        whole.predict(_row(0, 1, 2), state=model.make_state())


def test_states_in_flight_stay_apart(model):
    from concurrent.futures import ThreadPoolExecutor

    def conversation(number):
        state = model.make_state()
        for step in range(12):
            model.predict(_row(step % 4, number, step), state=state)
        return state.read("memory")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(conversation, range(8)))
    for number, memory in enumerate(found):
        np.testing.assert_array_equal(memory, [[number, 8], [number, 9], [number, 10], [number, 11]])


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_one_state_of_many_threads(model, timeout):
    """No step is lost: each thread writes its own row, over and over."""
    from concurrent.futures import ThreadPoolExecutor

    state = model.make_state()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: model.predict(_row(n % 4, n % 4, n), state=state, timeout=timeout), range(40)))
    np.testing.assert_array_equal(state.read("memory")[:, 0], [0, 1, 2, 3])
    assert set(state.read("memory")[:, 1] % 4) == {0, 1, 2, 3}
