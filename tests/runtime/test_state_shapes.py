"""State shapes: networks whose states are laid out in different ways give torch's numbers over many predictions; so do
the functions of a package and the chunks of a model that share a state."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from torch import nn

import coremltools as ct
import pippin
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program
from runtime.stateful_networks import (
    LAYERS,
    LONG,
    NETWORKS,
    SOUND,
    Hearing,
    Speech,
    Stacked,
    converted,
    decibels,
    expected,
    made,
    positions,
    values,
)

ENGINES = ("openvino", "onnxruntime")
STEPS = [
    ("stacked", "float32"), ("stacked", "float16"), ("for each layer", "float16"), ("keys transposed", "float32"),
    ("in one state", "float16"), ("repeat_kv", "float16"), ("multi-query", "float32"), ("batch", "float32"),
    ("read whole", "float32"), ("ring", "float32"), ("ring", "float16"), ("recurrent", "float32"),
    ("recurrent", "float16"), ("selective", "float32"), ("selective", "float16"),
]  # fmt: skip


def _load(path, engine, **how):
    return pippin.load(path, pippin.Configuration(engine=engine, precision="float32", **how), cache=path.parent / "c")


def _check(wanted, found, precision):
    if precision == "float32":
        for w, f in zip(wanted, found, strict=True):
            np.testing.assert_allclose(f, w, atol=1e-4)
    assert min(map(decibels, wanted, found)) > 40


def _check_graph(path):
    """No state is returned as a whole, only parts of those that have several rows are read, and no heads are repeated."""
    lowered = lower(read_program(open_asset(path)), "main")
    assert lowered.written == ()
    nodes = lowered.model.graph.node
    stacked = {port.name for port in lowered.states if len(port.state_shape) > 2}
    assert {node.op_type for node in nodes if stacked & set(node.input)} <= {"Slice"}
    assert not [node.name for node in nodes if node.op_type in ("Expand", "Tile")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), STEPS)
def test_steps(name, precision, tmp_path):
    """Both engines give torch's numbers, step by step; the state is torch's buffer. The last load is a cached one."""
    kind, steps = NETWORKS[name]
    network = made(kind)
    converted(network, steps, precision, tmp_path / "model.mlpackage")
    _check_graph(tmp_path / "model.mlpackage")
    wanted = expected(network, steps)
    for engine in (*ENGINES, ENGINES[-1]):
        model = _load(tmp_path / "model.mlpackage", engine)
        state = model.make_state()
        found = [model.predict(step, state=state)["y"].copy() for step in steps]
        _check(wanted, found, precision)
        for each in state.names:
            assert state.read(each).dtype == np.float16
            assert decibels(getattr(network, each).numpy(), state.read(each)) > 40


def _functions(path, **packages):
    description = ct.utils.MultiFunctionDescriptor()
    for name, package in packages.items():
        description.add_function(str(package), src_function_name="main", target_function_name=name)
    description.default_function_name = next(iter(packages))
    ct.utils.save_multifunction(description, str(path))


@pytest.mark.slow
def test_what_is_heard_is_attended_to(tmp_path):
    """One function writes the keys and values of a sound; another one reads them in each step."""
    network, sound = made(Speech), {"sound": values(SOUND, 99)}
    converted(network, LONG, "float16", tmp_path / "speak.mlpackage")
    converted(Hearing(network), [sound], "float16", tmp_path / "hear.mlpackage")
    _functions(tmp_path / "both.mlpackage", hear=tmp_path / "hear.mlpackage", speak=tmp_path / "speak.mlpackage")
    expected(Hearing(network), [sound])
    wanted = expected(network, LONG)
    for engine in ENGINES:
        hear, speak = (_load(tmp_path / "both.mlpackage", engine, function_name=name) for name in ("hear", "speak"))
        state = speak.make_state()
        hear.predict(sound, state=state)
        _check(wanted, [speak.predict(step, state=state)["y"].copy() for step in LONG], "float16")


@pytest.mark.slow
def test_prefill_and_decode_share_weights_and_a_state(tmp_path):
    network, steps = made(Stacked), LONG[:20]
    converted(network, steps, "float16", tmp_path / "one.mlpackage")
    converted(network, steps[1:], "float16", tmp_path / "other.mlpackage")
    _functions(tmp_path / "both.mlpackage", prefill=tmp_path / "one.mlpackage", decode=tmp_path / "other.mlpackage")
    wanted = expected(network, steps)
    for engine in ENGINES:
        prefill, decode = (
            _load(tmp_path / "both.mlpackage", engine, function_name=name) for name in ("prefill", "decode")
        )
        state = prefill.make_state()
        found = [prefill.predict(steps[0], state=state)["y"].copy()]
        found += [decode.predict(step, state=state)["y"].copy() for step in steps[1:]]
        _check(wanted, found, "float16")


class _Chunk(Stacked):
    """A layer of a Stacked network, on the states of all."""

    def __init__(self, whole, number):
        super().__init__(nn.Identity)
        self.number, self.layers = number, whole.layers

    def forward(self, x, mask):
        end = mask.shape[-1]
        past = end - x.shape[1]
        return self.layers[self.number](x, mask, lambda k, v: self.cache(self.number, k, v, past, end))


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["one state", "a state for each"])
def test_chunks(shared, tmp_path):
    """A model in three parts, loaded as three models over one state, or over three. The engines alternate."""
    network, steps = made(Stacked), LONG[:30]
    for number in range(LAYERS):
        converted(_Chunk(network, number), steps, "float32", tmp_path / f"{number}.mlpackage")
    wanted = expected(network, steps)
    models = [_load(tmp_path / f"{number}.mlpackage", ENGINES[number % 2]) for number in range(LAYERS)]
    one = models[0].make_state()
    states = [one if shared else model.make_state() for model in models]
    found = []
    for step in steps:
        x = step["x"]
        for model, state in zip(models, states, strict=True):
            x = model.predict({"x": x, "mask": step["mask"]}, state=state)["y"].copy()
        found.append(x)
    _check(wanted, found, "float32")


@pytest.mark.slow
def test_many_conversations_at_once(tmp_path):
    """Each gets torch's numbers for what it alone has said, while eight are in flight on one model."""
    network = made(Stacked)
    converted(network, LONG, "float32", tmp_path / "model.mlpackage")
    said = []
    for number in range(8):
        lengths = [number + 1, 1, 2, 1, 1]
        starts = np.cumsum([0, *lengths[:-1]]).tolist()
        steps = [positions(length, start) for length, start in zip(lengths, starts, strict=True)]
        said.append([step | {"x": values(step["x"].shape[1], 100 * number + n)} for n, step in enumerate(steps)])
    wanted = [expected(network, steps) for steps in said]  # what is masked or behind makes no difference

    async def talk(model, steps):
        state = model.make_state()
        return [(await model.predict_async(step, state=state))["y"].copy() for step in steps]

    async def everybody(model):
        return await asyncio.gather(*(talk(model, steps) for steps in said))

    for engine in ENGINES:
        model = _load(tmp_path / "model.mlpackage", engine)
        for _ in range(3):
            for own, found in zip(wanted, asyncio.run(everybody(model)), strict=True):
                _check(own, found, "float32")
