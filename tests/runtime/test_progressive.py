"""Progressive: the first stage predicts, the second one is found beside it. What it waits for here is an event."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading

import anyio
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import coremltools as ct
import pippin
from pippin import Cancellation, Configuration, Hints
from pippin.cache.store import Cache
from pippin.engines import Settings, all_engines
from pippin.engines.child import Child, ChildEnded
from pippin.errors import CompilationError, PredictionError, UnsupportedOperationError
from pippin.runtime import progressive
from pippin.specialization import candidates
from pippin.specialization.candidates import Trial
from pippin.specialization.compute_plan import Candidate, ComputePlan
from pippin.specialization.progress import Stages
from support.small_models import saved_program

X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
PROGRESSIVE = Configuration(hints=Hints("progressive"))
PATIENCE = 60.0  # seconds until a test that hangs fails


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("plain"), lambda x: mb.relu(x=mb.add(x=x, y=1.0), name="y"), x=(2, 4))


@pytest.fixture
def openvino_wins(monkeypatch):
    """The second stage chooses another engine than the first."""
    best = candidates._best

    def chosen(trials, tolerance):
        return next((trial for trial in trials if trial.engine.name == "openvino"), None) or best(trials, tolerance)

    monkeypatch.setattr(candidates, "_best", chosen)
    monkeypatch.setattr("pippin.specialization.specializer.prospects", lambda *given: None)


class Worker:
    """Does the second stage in this process, once `go` is set; `error` is raised in its place."""

    def __init__(self):
        self.go, self.started, self.jobs, self.stops, self.error = threading.Event(), threading.Event(), 0, [], None

    def of(self, source, configuration, cache, measured=0):
        def work(stop):
            self.jobs += 1
            self.stops.append(stop)
            self.started.set()
            with stop.by(self.go.set):
                assert self.go.wait(PATIENCE)
            stop.check()
            if self.error is not None:
                raise self.error
            progressive.load_model(source, configuration, cache, Stages(patient=True))

        return work


@pytest.fixture
def worker(monkeypatch, openvino_wins):
    made = Worker()
    monkeypatch.setattr(progressive, "_work", made.of)
    monkeypatch.setattr(progressive, "_HEAD_START", 0)
    yield made
    made.go.set()


def entries(folder):
    return Cache(folder).entries()


def right(model, x=X):
    outputs = model.predict({"x": x})["y"]
    np.testing.assert_allclose(outputs, np.maximum(x + 1, 0), rtol=1e-6 if outputs.dtype == np.float32 else 1e-2)


def test_the_first_engine_predicts_until_the_best_one_is_ready(package, worker, tmp_path):
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    assert (model.engine, model.load_label) == ("onnxruntime", "prepare and cache")
    assert not model.specialized.done and not model.specialized.complete
    assert "first of two: onnxruntime float32 on cpu; being tried beside it: openvino" in model.compute_plan.stage
    assert "first of two" in repr(model.compute_plan)
    assert [c.note for c in model.compute_plan.candidates] == ["", "not tried yet"]
    assert entries(tmp_path) == []
    right(model)
    worker.go.set()
    assert model.specialized.wait(PATIENCE)
    assert (model.engine, model.compute_plan.stage) == ("openvino", "")
    assert model.specialized.complete
    right(model)
    assert len(entries(tmp_path)) == 1
    assert progressive._jobs == {}


def test_what_it_stores_is_what_the_default_strategy_loads(package, worker, tmp_path):
    worker.go.set()
    first = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    assert first.specialized.wait(PATIENCE)
    for configuration in (Configuration(), PROGRESSIVE):
        model = pippin.load(package, configuration, cache=tmp_path)
        assert (model.load_label, model.engine) == ("cached", "openvino")
        assert model.specialized.complete and model.specialized.wait(0)
    assert worker.jobs == 1


def test_without_a_cache(package, worker, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    worker.go.set()
    model = pippin.load(package, PROGRESSIVE, cache=False)
    assert model.specialized.wait(PATIENCE)
    assert model.engine == "openvino"
    right(model)
    assert len(list(tmp_path.glob("pippin-*"))) == 1, "variants of the session may still be loaded from it"
    model.close()
    del model
    assert list(tmp_path.glob("pippin-*")) == []


def test_a_prediction_that_runs_ends_on_the_first_engine(package, worker, tmp_path):
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    first, inside, leave, order = model._session, threading.Event(), threading.Event(), []
    compiled = first._compiled

    class Slow:
        def run(self, inputs, stop=None, into=None):
            inside.set()
            assert leave.wait(PATIENCE)
            order.append("first")
            return compiled.run(inputs, stop, into)

    first._compiled = Slow()
    thread = threading.Thread(target=right, args=(model,))
    thread.start()
    assert inside.wait(PATIENCE)
    worker.go.set()
    assert model.specialized.wait(PATIENCE), "the switch waits for no prediction"
    right(model)
    order.append("second")
    leave.set()
    thread.join(PATIENCE)
    assert order == ["second", "first"]


def test_the_switch_is_logged(package, worker, tmp_path, caplog):
    worker.go.set()
    with caplog.at_level(logging.INFO, "pippin"):
        model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
        assert model.specialized.wait(PATIENCE)
    assert any("went over from onnxruntime float32 on cpu to openvino float32 on cpu" in m for m in caplog.messages)


@pytest.mark.parametrize("how", ["close", "unload", "cancel", "forget"])
def test_a_model_that_nobody_needs_ends_its_second_stage(package, worker, tmp_path, how):
    cancellation = Cancellation()
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path, cancellation=cancellation)
    rest = model.specialized
    assert worker.started.wait(PATIENCE)
    if how == "forget":
        del model
    else:
        {"close": model.close, "unload": model.unload, "cancel": cancellation.cancel}[how]()
    assert not rest.wait(PATIENCE)
    assert "the model was closed or unloaded, or the load was cancelled" in rest.stage
    assert worker.stops[0].asked
    assert progressive._jobs == {} and entries(tmp_path) == []
    if how == "cancel":
        right(model)
        assert "first of two alone" in model.compute_plan.stage


def test_an_unloaded_model_starts_anew(package, worker, tmp_path):
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    assert worker.started.wait(PATIENCE)
    model.unload()
    worker.go.clear()
    right(model)
    assert not model.specialized.done
    worker.go.set()
    assert model.specialized.wait(PATIENCE)
    assert (model.engine, worker.jobs) == ("openvino", 2)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ChildEnded("its process ended with -11"), "its process ended with -11"),
        (RuntimeError("a fault"), "RuntimeError: a fault"),
        (MemoryError(), "more memory is needed"),
    ],
)
def test_a_second_stage_that_fails_leaves_the_first(package, worker, tmp_path, error, said):
    worker.error = error
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    worker.go.set()
    assert not model.specialized.wait(PATIENCE)
    assert model.specialized.done and not model.specialized.complete
    assert said in model.compute_plan.stage
    assert model.engine == "onnxruntime"
    right(model)
    assert entries(tmp_path) == []


def test_an_artifact_that_cannot_be_loaded_leaves_the_first(package, worker, tmp_path, monkeypatch):
    def damaged(*given):
        raise CompilationError("damaged")

    monkeypatch.setattr(type(all_engines()["openvino"]), "load", damaged)
    worker.go.set()
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    assert not model.specialized.wait(PATIENCE)
    assert "nothing was stored" in model.compute_plan.stage
    right(model)


def test_a_file_that_changes_meanwhile(package, worker, tmp_path):
    import shutil

    copy = tmp_path / "copy.mlpackage"
    shutil.copytree(package, copy)
    model = pippin.load(copy, PROGRESSIVE, cache=tmp_path / "cache")
    os.utime(next(copy.rglob("*.mlmodel")), (1, 1))
    worker.go.set()
    assert not model.specialized.wait(PATIENCE)
    assert "copy.mlpackage has changed" in model.compute_plan.stage


def test_several_loads_at_once_share_one_job(package, worker, tmp_path):
    models = [pippin.load(package, PROGRESSIVE, cache=tmp_path) for _ in range(3)]
    models.pop().close()
    assert not worker.stops[0].asked if worker.stops else True, "others wait for it"
    worker.go.set()
    assert all(model.specialized.wait(PATIENCE) for model in models)
    assert [model.engine for model in models] == ["openvino"] * 2
    assert worker.jobs == 1
    assert len(entries(tmp_path)) == 1


def test_a_state_goes_over_too(worker, tmp_path):
    def counts(x, s):
        total = mb.add(x=mb.read_state(input=s), y=x)
        mb.coreml_update_state(state=s, value=total)
        return mb.identity(x=total, name="y")

    from coremltools.converters.mil.mil import types

    @mb.program(
        input_specs=[mb.TensorSpec((2,), types.fp16), mb.StateTensorSpec((2,), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x, s):
        return counts(x, s)

    made = ct.convert(program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
    path = tmp_path / "counts.mlpackage"
    made.save(str(path))
    model = pippin.load(path, PROGRESSIVE, cache=tmp_path / "cache")
    state, one = model.make_state(), {"x": np.ones(2, np.float16)}
    assert model.predict(one, state=state)["y"].tolist() == [1, 1]
    worker.go.set()
    assert model.specialized.wait(PATIENCE)
    assert model.engine == "openvino"
    assert model.predict(one, state=state)["y"].tolist() == [2, 2]


def test_a_model_that_no_other_process_can_open_is_specialized_at_once(package, worker, tmp_path):
    specification = ct.models.MLModel(str(package), skip_model_load=True).get_spec()
    model = pippin.load(specification, PROGRESSIVE, cache=tmp_path)
    assert model.specialized.complete
    assert all("not tried yet" not in c.note for c in model.compute_plan.candidates)
    assert worker.jobs == 0


def test_one_engine_alone_is_complete_and_stored(package, worker, tmp_path):
    configuration = Configuration(engine="onnxruntime", hints=Hints("progressive"))
    model = pippin.load(package, configuration, cache=tmp_path)
    assert model.specialized.complete and model.compute_plan.stage == ""
    assert len(entries(tmp_path)) == 1
    assert worker.jobs == 0


def test_an_engine_that_cannot_be_beaten_is_complete(package, tmp_path, monkeypatch):
    monkeypatch.setattr(progressive, "_work", lambda *given: pytest.fail("a process is started"))
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    assert model.specialized.complete
    assert [c.note.partition(" ")[0] for c in model.compute_plan.candidates] == ["", "not"]
    assert pippin.load(package, cache=tmp_path).load_label == "cached"


def test_filling_the_cache_in_advance_waits_for_all_of_it(package, worker, tmp_path):
    pippin.specialize(package, [PROGRESSIVE], cache=tmp_path)
    assert len(entries(tmp_path)) == 1
    assert worker.jobs == 0


# The first stage


def trial(engine, precision="float32"):
    return Trial(all_engines()[engine], Settings(precision=precision))


def first_stage(monkeypatch, fails=(), differs=()):
    """(the chosen engine, notes) where some engines do not compile, and others give something else on edges."""

    def compiled(trial, source, stages):
        if trial.engine.name in fails:
            raise CompilationError("cannot")
        return object()

    monkeypatch.setattr(candidates, "_compile_one", compiled)
    trials = [trial("onnxruntime"), trial("openvino")]
    choice = candidates.choose(
        trials, dict.fromkeys(("onnxruntime", "openvino"), b""), list, "progressive", "float32", Stages(), ["y"],
        verify=lambda trial, _: "differs" if trial.engine.name in differs else "",
    )  # fmt: skip
    return choice.best.engine.name, [trial.note for trial in trials]


@pytest.mark.parametrize(
    ("fails", "differs", "found"),
    [
        ((), (), ("onnxruntime", ["", "not tried yet"])),
        (("onnxruntime",), (), ("openvino", ["cannot", ""])),
        ((), ("onnxruntime",), ("openvino", ["differs", ""])),
    ],
)
def test_the_first_engine_that_compiles_and_agrees(monkeypatch, fails, differs, found):
    assert first_stage(monkeypatch, fails, differs) == found


def test_no_engine_that_agrees(monkeypatch):
    with pytest.raises(UnsupportedOperationError, match="onnxruntime: cannot\n  openvino: differs"):
        first_stage(monkeypatch, ["onnxruntime"], ["openvino"])


# Real processes


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A package for which the second stage has something to try, whatever the estimates say: it is float16."""

    def program(x):
        return mb.relu(x=mb.add(x=x, y=np.float16(1.0)), name="y")

    return saved_program(tmp_path_factory.mktemp("half"), program, dtype=np.float16, x=(2, 4))


@pytest.mark.process
def test_a_child_does_the_second_stage(half, tmp_path):
    model = pippin.load(half, PROGRESSIVE, cache=tmp_path)
    assert model.specialized.wait(PATIENCE)
    right(model)
    assert pippin.load(half, cache=tmp_path).load_label == "cached"
    assert all("not tried yet" not in c.note for c in model.compute_plan.candidates)


@pytest.mark.process
def test_a_child_that_is_killed(half, tmp_path, monkeypatch):
    real = Child.__init__

    def killed(self, *given):
        real(self, *given)
        self.kill()

    monkeypatch.setattr(Child, "__init__", killed)
    model = pippin.load(half, PROGRESSIVE, cache=tmp_path)
    assert not model.specialized.wait(PATIENCE)
    assert "its process ended with -9" in model.compute_plan.stage
    right(model)


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_neither_waits_nor_stops_its_parent(package, worker, tmp_path):
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    assert worker.started.wait(PATIENCE)
    child = os.fork()
    if not child:
        try:
            with pytest.raises(PredictionError, match="before this process was forked"):
                model.specialized.wait()
            model.close()
            os._exit(0 if not worker.stops[0].asked else 2)
        except BaseException:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    worker.go.set()
    assert model.specialized.wait(PATIENCE)


LOADS = """
import sys, pippin
model = pippin.load(sys.argv[1], pippin.Configuration(hints=pippin.Hints("progressive")), cache=sys.argv[2])
if sys.argv[3] == "wait":
    assert model.specialized.wait(60), model.specialized.stage
print(model.engine)
"""


def loading(package, cache, how, temporary):
    environment = os.environ | {"TMPDIR": str(temporary)}
    return subprocess.Popen([sys.executable, "-c", LOADS, str(package), str(cache), how], env=environment)


@pytest.mark.process
@pytest.mark.slow
def test_two_processes_and_an_exit(half, tmp_path):
    """One of two leaves at once; the other one completes, and nothing stays behind."""
    cache = tmp_path / "cache"
    processes = [loading(half, cache, how, tmp_path) for how in ("wait", "leave", "wait")]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0]
    assert len(entries(cache)) == 1
    assert list(tmp_path.glob("pippin-*")) == []


# A choice that a busy machine made


def candidate(engine, seconds, spread, note=""):
    return Candidate(engine, "cpu", "float32", seconds=seconds, spread=spread, note=note)


@pytest.mark.parametrize(
    ("best", "other", "unsettled"),
    [
        ((1.0, 1.05), (1.2, 1.05), False),
        ((1.0, 1.5), (1.2, 1.05), True),
        ((1.0, 1.05), (1.2, 1.5), True),
        ((1.0, 1.5), (3.0, 1.5), False),
        ((1.0, 1.5), (None, None), False),
        ((None, None), (None, None), False),
    ],
)
def test_times_that_are_spread_widely(best, other, unsettled):
    rows = candidate("onnxruntime", *best), candidate("openvino", *other, "slower")
    plan = ComputePlan("main", (), rows, (), "")
    assert plan.unsettled is unsettled


@pytest.fixture
def busy_entry(package, tmp_path, monkeypatch):
    """A cache with an entry whose times were spread widely."""
    with monkeypatch.context() as patched:
        patched.setattr(ComputePlan, "unsettled", property(lambda plan: True))
        pippin.load(package, cache=tmp_path)
    return tmp_path


@pytest.mark.parametrize(("idle", "jobs"), [(True, 1), (False, 0)])
def test_it_is_measured_again_in_an_idle_moment(package, busy_entry, monkeypatch, idle, jobs):
    started, done = threading.Event(), threading.Event()
    given = []

    def work(source, configuration, cache, measured):
        def again(stop):
            started.set()
            given.append(measured)
            progressive.measure_again(source, configuration, cache, measured, Stages(patient=True))

        return again

    monkeypatch.setattr(progressive, "is_idle", lambda: idle)
    monkeypatch.setattr(progressive, "_work", work)
    monkeypatch.setattr(progressive, "log_line", lambda *words: done.set())
    before = entries(busy_entry)[0].manifest["created"]
    model = pippin.load(package, cache=busy_entry)
    assert model.load_label == "cached" and model.specialized.complete
    if idle:
        assert done.wait(PATIENCE)
        assert model.compute_plan.segments, "the plan of the entry that was loaded"
    assert given == [1] * jobs
    (entry,) = entries(busy_entry)
    assert (entry.manifest["created"] > before) == idle
    right(model)


def test_it_is_not_measured_for_ever(package, busy_entry, monkeypatch):
    monkeypatch.setattr(ComputePlan, "unsettled", property(lambda plan: True))
    for measured in (1, 2, 3):
        progressive.measure_again(progressive.Source(package), Configuration(), Cache(busy_entry), measured, Stages())
    monkeypatch.setattr(progressive, "is_idle", lambda: True)
    monkeypatch.setattr(progressive, "_join", lambda *given: pytest.fail("measured again"))
    assert pippin.load(package, cache=busy_entry).load_label == "cached"


def test_the_command_line_says_which_stage_it_is_in(half, worker, tmp_path, capsys, monkeypatch):
    from pippin.apps import cli

    for command in ("plan", "compile"):
        monkeypatch.setattr(
            sys, "argv", ["pippin", command, str(half), "--strategy=progressive", f"--cache={tmp_path}"]
        )
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        out = " ".join(capsys.readouterr().out.split())
        if command == "plan":
            assert "stage: first of two: onnxruntime float32 on cpu; being tried beside it: openvino" in out
    assert len(entries(tmp_path)) == 1, "compile does the whole of it"


def test_the_switch_is_in_the_trace(package, worker, tmp_path):
    with pippin.trace.record(sample=0) as recorded:
        model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
        worker.go.set()
        assert model.specialized.wait(PATIENCE)
    (switch,) = (event for event in recorded.events if event.name == "switch")
    assert switch.label == "onnxruntime float32 on cpu to openvino float32 on cpu"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_asynchronous_load(package, worker, tmp_path, backend):
    async def main():
        return await pippin.load_async(package, PROGRESSIVE, cache=tmp_path)

    model = anyio.run(main, backend=backend)
    assert not model.specialized.done, "the task has ended, and has cancelled nothing"
    worker.go.set()
    assert model.specialized.wait(PATIENCE)
    assert model.engine == "openvino"


@pytest.mark.process
def test_a_load_with_a_timeout(package, worker, tmp_path):
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path, timeout=PATIENCE)
    worker.go.set()
    assert model.specialized.wait(PATIENCE)
    right(model)


def test_many_threads_beside_the_switch(package, worker, tmp_path):
    model = pippin.load(package, PROGRESSIVE, cache=tmp_path)
    failures = []

    def predict():
        try:
            while not model.specialized.done:
                right(model)
            right(model)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    worker.go.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures
    assert model.engine == "openvino"
