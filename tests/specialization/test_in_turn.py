"""In turn: candidates of a large model are tried one after another, and only one is in memory at a time."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pippin
from pippin.engines import Settings, engine_named
from pippin.errors import CompilationError, EngineError, PredictionError, UnsupportedOperationError
from pippin.specialization import in_turn, weight_storage
from pippin.specialization.budget import Budget
from pippin.specialization.in_turn import choose_in_turn
from pippin.specialization.progress import Stages
from pippin.specialization.trial import Trial
from pippin.specialization.verification import Recorded
from pippin.specialization.weight_storage import Storage
from support.large_models import write_layers

INPUTS = [{"x": np.array([1.0, 2.0], np.float32)}, {"x": np.array([3.0, 4.0], np.float32)}]


class Engine:
    """Takes `seconds` by a virtual clock and `size` bytes of virtual memory for a prediction with an error of `noise`."""

    thorough = spins = False
    stops_in_loops = True

    def __init__(self, world, name, seconds, size=1000, noise=0.0, failure=None, rank=0):
        self.world, self.name, self.seconds, self.size, self.noise = world, name, seconds, size, noise
        self.failure, self.load_rank = failure, rank

    def compile(self, source, settings, artifact=None):
        if isinstance(self.failure, CompilationError):
            raise self.failure
        self.world.log.append(f"compile {self.name}")
        return Compiled(self)

    def save(self, source, compiled, settings, folder):
        (folder / "artifact").write_text(self.name)

    def load(self, folder, settings):
        assert (folder / "artifact").read_text() == self.name
        self.world.log.append(f"load {self.name}")
        return Compiled(self)


class Compiled:
    def __init__(self, engine):
        self.engine = engine
        engine.world.live.append(engine)
        engine.world.most = max(engine.world.most, len(engine.world.live))

    def run(self, inputs, stop=None, into=None):
        if isinstance(self.engine.failure, PredictionError):
            raise self.engine.failure
        self.engine.world.now += self.engine.seconds
        return {"y": inputs["x"] * np.float32(1 + self.engine.noise)}

    def __del__(self):
        self.engine.world.live.remove(self.engine)


@pytest.fixture
def world(monkeypatch):
    from pippin.specialization import candidates

    made = SimpleNamespace(now=0.0, live=[], most=0, log=[])
    clock = SimpleNamespace(perf_counter=lambda: made.now)
    monkeypatch.setattr(in_turn, "time", clock)
    monkeypatch.setattr(candidates, "time", clock)
    from pippin.support.memory import Resident

    monkeypatch.setattr(in_turn, "resident", lambda: Resident(sum(engine.size for engine in made.live), 0))
    return made


def choose(world, engines, folder, precisions=("float32",), wanted="float32", verify=None, needless=lambda t, p: ""):
    trials = [Trial(e, Settings(precision=p)) for e, p in zip(engines, precisions * len(engines), strict=False)]
    stages = Stages()
    return choose_in_turn(
        trials, {e.name: b"" for e in engines}, INPUTS, wanted, stages, ["y"], folder, verify, Budget(1e6, stages),
        lambda: None, needless,
    )  # fmt: skip


@pytest.mark.parametrize("kept", [True, False])
def test_one_is_in_memory_at_a_time(world, tmp_path, kept):
    engines = [Engine(world, "a", 0.3), Engine(world, "b", 0.1), Engine(world, "c", 0.2)]
    choice = choose(world, engines, tmp_path if kept else None)
    assert choice.best.engine.name == "b" and choice.best.compiled is not None
    assert world.most == 1 and world.live == [engines[1]]
    assert world.log[3:] == (["load b"] if kept else ["compile b"])
    assert [trial.seconds for trial in choice.trials] == pytest.approx([0.3, 0.1, 0.2])
    assert [path.name for path in tmp_path.iterdir()] == (["candidate1"] if kept else [])


MEMORY = {  # (seconds, bytes) of two candidates, and which is chosen
    "as fast": ((1.0, 2000), (1.0, 1000), 1),
    "1.1 times as fast with twice the memory": ((0.91, 2000), (1.0, 1000), 1),
    "1.3 times as fast with twice the memory": ((0.77, 2000), (1.0, 1000), 0),
    "1.3 times as fast with four times the memory": ((0.77, 4000), (1.0, 1000), 1),
}


@pytest.mark.parametrize("row", MEMORY)
def test_memory_counts(world, tmp_path, row):
    *given, expected = MEMORY[row]
    choice = choose(world, [Engine(world, f"e{n}", *each) for n, each in enumerate(given)], tmp_path)
    assert choice.trials.index(choice.best) == expected
    assert [trial.memory for trial in choice.trials] == [size for _, size in given]


def test_a_candidate_that_fails_is_left_out(world, tmp_path):
    failing = [
        Engine(world, "a", 0.1, failure=CompilationError("cannot compile")),
        Engine(world, "b", 0.1, failure=PredictionError("cannot run")),
        Engine(world, "c", 0.2),
    ]
    choice = choose(world, failing, tmp_path)
    assert choice.best.engine.name == "c"
    assert [trial.note for trial in choice.trials] == ["cannot compile", "failed on sample inputs: cannot run", ""]


def test_none_is_left(world, tmp_path):
    with pytest.raises(UnsupportedOperationError, match="a: cannot compile"):
        choose(world, [Engine(world, "a", 0.1, failure=CompilationError("cannot compile"))], tmp_path)


@pytest.mark.parametrize(("noise", "chosen"), [(0.001, "fast"), (0.1, "slow")])
def test_16_bits_must_agree_with_what_was_computed_before(world, tmp_path, noise, chosen):
    engines = [Engine(world, "slow", 0.2), Engine(world, "fast", 0.1, noise=noise)]
    choice = choose(world, engines, tmp_path, ("float32", "bfloat16"), "auto")
    assert choice.best.engine.name == chosen
    assert ("40 dB is required" in choice.trials[1].note) == (chosen == "slow")


def test_what_is_needless_is_not_compiled(world, tmp_path):
    engines = [Engine(world, "a", 0.2), Engine(world, "b", 0.1)]
    choice = choose(world, engines, tmp_path, needless=lambda trial, passed: "not tried" if passed else "")
    assert choice.best.engine.name == "a" and choice.trials[1].note == "not tried"
    assert world.log == ["compile a", "load a"]


class Verify:
    def __init__(self, wrong):
        self.wrong, self.prepared = wrong, []

    def prepare(self, trial):
        assert trial.compiled is None
        self.prepared.append(trial.engine.name)

    def __call__(self, trial, trials):
        return f"{trial.engine.name} is wrong" if trial.engine.name in self.wrong else ""


def test_the_next_best_is_taken_if_the_best_is_wrong(world, tmp_path):
    verify = Verify({"b"})
    choice = choose(world, [Engine(world, "a", 0.3), Engine(world, "b", 0.1)], tmp_path, verify=verify)
    assert choice.best.engine.name == "a" and choice.trials[1].note == "b is wrong"
    assert verify.prepared == ["b", "a"] and world.most == 1 and len(world.live) == 1


# How weights are stored, and what follows.


@pytest.fixture
def little_is_large(monkeypatch):
    monkeypatch.setattr(weight_storage, "LARGE", 4096)
    monkeypatch.setattr(weight_storage, "_FEW", 4096)


def graph(dtype, kind="MatMul"):
    """Weights that count as large, read by one kind of node."""
    stored = [numpy_helper.from_array(np.zeros((64, 64) if kind == "MatMul" else (64, 64, 1), dtype), "w")]
    cast = [helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT)] if dtype == np.float16 else []
    node = helper.make_node(kind, ["x", "wide" if cast else "w"], ["y"])
    made = helper.make_graph([*cast, node], "g", [], [helper.make_tensor_value_info("y", 1, None)], stored)
    return helper.make_model(made)


def trial(engine, precision="float32", **more):
    return Trial(engine_named(engine), Settings(precision=precision, **more))


HELD = {  # (weights in the model, weights that the engine gets, engine, precision): what the plan says
    ("float16", "float32", "onnxruntime", "float32"): "float16 weights widened to float32, repacked, private",
    ("float32", "float32", "onnxruntime", "float32"): "float32 weights repacked, private",
    ("float16", "float16", "openvino", "float32"): "float16 weights widened to float32, repacked, private",
    ("float16", "float16", "openvino", "float16"): "float16 weights repacked, private",
    ("float32", "float32", "openvino", "bfloat16"): "float32 weights rounded to bfloat16, repacked, private",
    ("int4", "int4", "openvino", "float32"): "int4 weights repacked, private",
    ("int4", "float32", "onnxruntime", "float32"): "int4 weights decompressed to float32, repacked, private",
    ("int4", "uint8", "onnxruntime", "float32"): "int4 weights repacked, private",  # two in a byte
    ("float32", "float32", "mnn", "float32"): "float32 weights copied, private",
}


@pytest.mark.parametrize("row", HELD)
def test_the_plan_says_how_weights_are_held(row, little_is_large):
    stored, prepared, engine, precision = row
    storage, tried = Storage(graph(np.float32)), trial(engine, precision)
    storage.type = stored
    storage.note([tried], {engine: prepared})
    assert tried.weights == tried.described().weights == HELD[row]


@pytest.mark.parametrize(
    ("dtype", "kind", "growing", "shared"),
    [(np.float16, "MatMul", True, True), (np.float32, "MatMul", True, True), (np.int8, "MatMul", True, False),
     (np.float32, "Conv", True, False), (np.float32, "MatMul", False, False)],
)  # fmt: skip
def test_products_of_a_decoder_read_mapped_weights(dtype, kind, growing, shared, little_is_large):
    storage = Storage(graph(dtype, kind))
    fitted = storage.fitted(engine_named("onnxruntime"), Settings(), growing)
    assert (fitted.shared, fitted.growing) == (shared, growing)
    assert not storage.fitted(engine_named("openvino"), Settings(), growing).shared


@pytest.mark.parametrize(
    ("dtype", "kind", "passed", "tried"),
    [(np.float16, "MatMul", "onnxruntime float32", False), (np.float16, "Conv", "onnxruntime float32", True),
     (np.float16, "Conv", "openvino float16", False), (np.float32, "MatMul", "onnxruntime float32", True),
     (np.float16, "MatMul", "", True)],
)  # fmt: skip
def test_what_takes_four_times_its_bytes_is_tried_if_it_can_win(dtype, kind, passed, tried, little_is_large):
    storage = Storage(graph(dtype, kind))
    before = [trial(*passed.split())] if passed else []
    assert (storage.needless(trial("openvino"), before) == "") == tried


@pytest.mark.parametrize(
    ("growing", "precision", "tried"), [(True, "bfloat16", False), (True, "float32", True), (False, "bfloat16", True)]
)
def test_16_bits_are_not_made_of_the_integers_of_a_decoder(growing, precision, tried, little_is_large):
    before = [trial("onnxruntime", growing=growing)]
    needless = Storage(graph(np.int8)).needless(trial("openvino", precision, growing=growing), before)
    assert (needless == "") == tried


def test_lightest_first(little_is_large):
    given = [trial("openvino"), trial("openvino", "bfloat16"), trial("onnxruntime")]
    names = [f"{t.engine.name} {t.settings.precision}" for t in Storage(graph(np.float16)).lightest_first(given)]
    assert names == ["onnxruntime float32", "openvino bfloat16", "openvino float32"]
    assert Storage(graph(np.float16)).lightest_first(given[:2])[0] is given[0]  # the others are compared with it


# The whole of it, in a process of its own.

_LOAD = """
import json, resource, sys
import numpy as np, pippin
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
model = pippin.load(sys.argv[1], cache=sys.argv[2])
model.predict({"x": np.ones((1, 1, int(sys.argv[3])), np.float32)})
chosen = [c.weights for c in model.compute_plan.candidates if not c.note]
print(json.dumps({"most": most(), "memory": [c.memory for c in model.compute_plan.candidates], "weights": chosen}))
"""


def loaded(path, cache, width):
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(path), str(cache), str(width)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_first_load_takes_at_most_three_times_the_weights(dtype, tmp_path):
    small = write_layers(tmp_path / "small", layers=1, width=8, dtype=dtype)
    large = write_layers(tmp_path / "large", layers=40 if dtype == "float16" else 20, width=1024, dtype=dtype)
    size = (large.parent / "weights" / "weight.bin").stat().st_size
    libraries, found = loaded(small, tmp_path / "cache", 8)["most"], loaded(large, tmp_path / "cache", 1024)
    assert found["most"] < libraries + 3 * size
    assert found["weights"] and all("weights" in each for each in found["weights"])
    assert any(found["memory"])


def test_a_small_model_says_nothing_of_its_weights(tmp_path):
    model = pippin.load(write_layers(tmp_path / "m", layers=1, width=16), cache=False)
    assert {(c.memory, c.weights) for c in model.compute_plan.candidates} == {(None, "")}


class Fails:
    def run(self, inputs, stop=None, into=None):
        raise PredictionError(f"fails on {inputs['x'][0]}")


def test_what_was_recorded_does_not_hold_the_model():
    model = Fails()
    alive = weakref.ref(model)
    recorded = Recorded(model, INPUTS, Budget(1e6, Stages()))
    del model
    assert alive() is None
    for inputs in INPUTS:
        with pytest.raises(PredictionError, match=f"fails on {inputs['x'][0]}"):
            recorded.run({name: array.copy() for name, array in inputs.items()})
    with pytest.raises(EngineError, match="not computed"):
        recorded.run({"x": np.zeros(2, np.float32)})
