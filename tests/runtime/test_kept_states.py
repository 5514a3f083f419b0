"""States: networks converted from torch keep theirs over many predictions; a state fits every model of its shape, is
copied, saved and loaded, and stays as it was when a prediction fails or is cancelled."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from torch import nn

import coremltools as ct
import pippin
from pippin import errors

ENGINES = ("openvino", "onnxruntime")
PRECISIONS = {"float32": ct.precision.FLOAT32, "float16": ct.precision.FLOAT16}
LAYERS, HEADS, GROUPS, SIZE, LENGTH, WINDOW = 2, 4, 2, 8, 40, 6
DIM = HEADS * SIZE


def _interleaved(x):
    return x.repeat_interleave(HEADS // GROUPS, dim=1)


def _repeat_kv(x):
    """As in `transformers`."""
    batch, groups, length, size = x.shape
    x = x[:, :, None, :, :].expand(batch, groups, HEADS // groups, length, size)
    return x.reshape(batch, HEADS, length, size)


def _expanded(x):
    return x.expand(-1, HEADS, -1, -1)


class Attention(nn.Module):
    """Grouped-query attention whose keys and values go through a cache."""

    def __init__(self, groups=GROUPS, repeat=_interleaved):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(DIM, n * SIZE) for n in (HEADS, groups, groups))
        self.repeat = repeat

    def forward(self, x, mask, cache):
        q, k, v = (f(x).view(1, x.shape[1], -1, SIZE).transpose(1, 2) for f in (self.q, self.k, self.v))
        keys, values = (self.repeat(each) for each in cache(k, v))
        attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return x + attended.transpose(1, 2).reshape(1, x.shape[1], DIM)


class Cached(nn.Module):
    attention = staticmethod(Attention)

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(self.attention() for _ in range(LAYERS))
        for name, shape in self.states.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, x, mask):
        end = mask.shape[-1]
        past = end - x.shape[1]
        for number, layer in enumerate(self.layers):
            x = layer(x, mask, lambda k, v, n=number: self.cache(n, k, v, past, end))
        return x


class Stacked(Cached):
    states = dict.fromkeys(("keys", "values"), (LAYERS, 1, GROUPS, LENGTH, SIZE))

    def cache(self, layer, k, v, past, end):
        self.keys[layer, :, :, past:end, :] = k
        self.values[layer, :, :, past:end, :] = v
        return self.keys[layer, :, :, :end, :], self.values[layer, :, :, :end, :]


class ForEachLayer(Cached):
    states: ClassVar = {
        f"{name}{layer}": (1, GROUPS, LENGTH, SIZE) for layer in range(LAYERS) for name in ("keys", "values")
    }

    def cache(self, layer, k, v, past, end):
        keys, values = getattr(self, f"keys{layer}"), getattr(self, f"values{layer}")
        keys[:, :, past:end] = k
        values[:, :, past:end] = v
        return keys[:, :, :end], values[:, :, :end]


class Transposed(Cached):
    states: ClassVar = {"keys": (LAYERS, 1, GROUPS, SIZE, LENGTH), "values": (LAYERS, 1, GROUPS, LENGTH, SIZE)}

    def cache(self, layer, k, v, past, end):
        self.keys[layer, :, :, :, past:end] = k.transpose(-1, -2)
        self.values[layer, :, :, past:end, :] = v
        return self.keys[layer, :, :, :, :end].transpose(-1, -2), self.values[layer, :, :, :end, :]


class RepeatKV(Stacked):
    attention = staticmethod(partial(Attention, repeat=_repeat_kv))


class MultiQuery(Stacked):
    states = dict.fromkeys(("keys", "values"), (LAYERS, 1, 1, LENGTH, SIZE))
    attention = staticmethod(partial(Attention, 1, _expanded))


class WholeReads(Stacked):
    """The mask covers the cache, which is read whole; a tensor holds the positions."""

    def cache(self, layer, k, v, past, end):
        super().cache(layer, k, v, past, end)
        keys, values = self.keys[layer], self.values[layer]
        return keys[:, :, :end] + 0 * keys.sum(), values[:, :, :end]


class Ring(nn.Module):
    """A sliding window: the oldest row is overwritten."""

    states = dict.fromkeys(("keys", "values"), (1, GROUPS, WINDOW, SIZE))

    def __init__(self):
        super().__init__()
        self.attention = Attention()
        for name, shape in self.states.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, x, position):
        at = position[0] % WINDOW

        def cache(k, v):
            self.keys[:, :, at : at + 1] = k
            self.values[:, :, at : at + 1] = v
            return self.keys, self.values

        return self.attention(x, None, cache)


class Recurrent(nn.Module):
    states: ClassVar = {"hidden": (1, DIM), "steps": (3,)}

    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)
        for name, shape in self.states.items():
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, x):
        self.hidden[:] = torch.tanh(self.x(x) + self.h(self.hidden))
        self.steps[1:2] = self.steps[1:2] + 1
        return self.hidden * self.steps[1]


def _x(length, step):
    return np.random.default_rng(step).standard_normal((1, length, DIM)).astype(np.float32)


def _positions(length, start):
    """A prompt of `length`, then one at a time."""
    mask = np.triu(np.full((length, start + length), -1e4, np.float32), 1 + start)[None, None]
    return {"x": _x(length, start), "mask": mask}


LONG = [_positions(7, 0), *(_positions(1, n) for n in range(7, 20)), _positions(3, 20), _positions(LENGTH - 23, 23)]
RING = [{"x": _x(1, n), "position": np.array([n], np.int32)} for n in range(2 * WINDOW + 2)]
NETWORKS = {
    "stacked": (Stacked, LONG),
    "for each layer": (ForEachLayer, LONG),
    "keys transposed": (Transposed, LONG),
    "repeat_kv": (RepeatKV, LONG),
    "multi-query": (MultiQuery, LONG),
    "read whole": (WholeReads, LONG),
    "ring": (Ring, RING),
    "recurrent": (Recurrent, [{"x": _x(1, n)[0]} for n in range(12)]),
}


def _converted(name, precision, path):
    kind, steps = NETWORKS[name]
    torch.manual_seed(0)
    network = kind().eval()
    example = tuple(torch.from_numpy(value) for value in steps[0].values())
    length, end = ct.RangeDim(1, LENGTH, default=1), ct.RangeDim(1, LENGTH, default=1)
    inputs = [ct.TensorType(each, value.shape, value.dtype) for each, value in steps[0].items()]
    if "mask" in steps[0]:
        inputs = [ct.TensorType("x", (1, length, DIM)), ct.TensorType("mask", (1, 1, length, end))]
    with torch.no_grad():
        traced = torch.jit.trace(network, example, check_trace=False)
    for state in kind.states:
        getattr(network, state).zero_()
    states = [ct.StateType(ct.TensorType(shape=shape, dtype=np.float16), each) for each, shape in kind.states.items()]
    made = ct.convert(
        traced, inputs=inputs, outputs=[ct.TensorType("y")], states=states, compute_precision=PRECISIONS[precision],
        minimum_deployment_target=ct.target.iOS18, skip_model_load=True,
    )  # fmt: skip
    made.save(str(path))
    return network, steps


STEPS = [
    ("stacked", "float32"), ("stacked", "float16"), ("for each layer", "float16"), ("keys transposed", "float32"),
    ("repeat_kv", "float16"), ("multi-query", "float32"), ("read whole", "float32"), ("ring", "float16"),
    ("recurrent", "float32"), ("recurrent", "float16"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), STEPS)
def test_steps(name, precision, tmp_path):
    """Both engines give torch's numbers, step by step; the state is torch's buffer. The last load is a cached one."""
    network, steps = _converted(name, precision, tmp_path / "model.mlpackage")
    with torch.no_grad():
        expected = [network(*map(torch.from_numpy, step.values())).numpy() for step in steps]
    for engine in (*ENGINES, ENGINES[-1]):
        model = pippin.load(
            tmp_path / "model.mlpackage", pippin.Configuration(engine=engine, precision="float32"), cache=tmp_path / "c"
        )
        state = model.make_state()
        found = [model.predict(step, state=state)["y"].copy() for step in steps]
        if precision == "float32":
            np.testing.assert_allclose(np.concatenate([f.ravel() for f in found]),
                                       np.concatenate([e.ravel() for e in expected]), atol=1e-4)  # fmt: skip
        assert min(map(_decibels, expected, found)) > 40
        for each in state.names:
            assert state.read(each).dtype == np.float16
            assert _decibels(getattr(network, each).numpy(), state.read(each)) > 40


def _decibels(expected, found):
    expected = expected.astype(np.float64)
    return 10 * np.log10((expected**2).sum() / max(((expected - found) ** 2).sum(), 1e-30))


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
