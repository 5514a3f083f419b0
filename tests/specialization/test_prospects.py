"""Prospects: which candidates are compiled, in which order, and what is chosen where there was no time to run one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from coremltools.converters.mil.mil import Builder as mb
from onnx import TensorProto, helper

import pippin
from pippin.engines import Settings, all_engines
from pippin.errors import CompilationError, PredictionError
from pippin.specialization import candidates, prospects
from pippin.specialization.candidates import Trial, _best, _reason
from pippin.specialization.progress import Stages
from pippin.specialization.prospects import Prospects, estimated
from pippin.specialization.segment.rates import Rates
from support.small_models import saved_program

RUNTIME, OPENVINO = (all_engines()[name] for name in ("onnxruntime", "openvino"))
SURE = 1.1


def known(runtime, openvino, error=SURE):
    return Prospects({"onnxruntime": runtime, "openvino": openvino}, error)


def trial(name):
    """Of "openvino bfloat16" and its like."""
    engine, precision = name.split()
    return Trial(all_engines()[engine], Settings(precision=precision))


def chosen(names, seconds, foreseen, monkeypatch, noisy=(), fails=(), cannot_run=(), slow=()):
    """(what was compiled, in order; the best; notes by name) for candidates that take these seconds."""
    compiled, clock = [], SimpleNamespace(now=0.0, perf_counter=lambda: clock.now, sleep=lambda s: None)

    def compile_one(one, source, stages):
        name = f"{one.engine.name} {one.settings.precision}"
        compiled.append(name)
        clock.now += 10.0
        if name in fails:
            raise CompilationError("cannot")

        def run(inputs, stop=None):
            clock.now += seconds[name] * (10 if name in slow else 1)
            if name in cannot_run:
                raise PredictionError("cannot")
            return {"y": inputs["x"] * (1.5 if name in noisy else 1.0 + 1e-4 * ("16" in name))}

        return SimpleNamespace(run=run)

    class InTurn:
        def __init__(self, *given):
            pass

        def map(self, function, items):
            yield from map(function, items)

    monkeypatch.setattr(candidates, "DaemonThreads", InTurn)
    monkeypatch.setattr(candidates, "_compile_one", compile_one)
    monkeypatch.setattr(candidates, "time", clock)
    monkeypatch.setattr("pippin.specialization.progress.time", clock)
    monkeypatch.setattr("pippin.specialization.spinning_threads.wait_until_idle", lambda: None)
    trials = [trial(name) for name in names]
    choice = candidates.choose(
        trials, dict.fromkeys(("onnxruntime", "openvino"), b""), lambda: [{"x": np.float32([1])}] * 2, "default", "auto",
        Stages(), ["y"], prospects=lambda: foreseen,
    )  # fmt: skip
    notes = {name: one.note for name, one in zip(names, trials, strict=True)}
    return compiled, f"{choice.best.engine.name} {choice.best.settings.precision}", notes


SINGLE = ["openvino float32", "onnxruntime float32"]
HALF = ["openvino float32", "openvino bfloat16", "openvino float16", "onnxruntime float32"]
TIMES = {"openvino float32": 0.02, "openvino bfloat16": 0.01, "openvino float16": 0.015, "onnxruntime float32": 0.03}


@pytest.mark.parametrize(
    ("names", "foreseen", "how", "compiled", "best"),
    [
        (SINGLE, None, {}, SINGLE, 0),
        (SINGLE, known(1, 1.1, error=1.5), {}, SINGLE, 0),
        (SINGLE, known(1, 2), {}, SINGLE[1:], 1),
        (SINGLE, known(2, 1), {}, SINGLE[:1], 0),
        (SINGLE, known(1, 1), {}, SINGLE[1:], 1),  # a tie goes to the one that loads faster
        (SINGLE, known(1, 2), {"fails": SINGLE[1:]}, SINGLE[::-1], 0),
        (HALF, None, {}, ["onnxruntime float32", "openvino bfloat16"], 1),
        (HALF, known(1, 1), {}, ["onnxruntime float32", "openvino bfloat16"], 1),
        (HALF, None, {"noisy": HALF[1:2]}, ["onnxruntime float32", *HALF[1:3]], 2),
        (HALF, None, {"noisy": HALF[1:3]}, ["onnxruntime float32", *HALF[1:3], HALF[0]], 0),
        (HALF, known(1, 9), {"noisy": HALF[1:3]}, ["onnxruntime float32", *HALF[1:3]], 3),
        (HALF, None, {"slow": HALF[1:3]}, ["onnxruntime float32", "openvino bfloat16", "openvino float32"], 0),
        (HALF, known(1, 9), {"slow": HALF[1:3]}, ["onnxruntime float32", "openvino bfloat16"], 3),
        (HALF, None, {"fails": HALF[3:]}, ["onnxruntime float32", "openvino bfloat16", "openvino float32"], 1),
        (HALF, None, {"cannot_run": HALF[3:]}, ["onnxruntime float32", *HALF[1:3], HALF[0]], 2),
        (HALF[:3], None, {}, HALF[:2], 1),  # its own float32 run is the only one to compare with
    ],
)
def test_what_is_compiled(monkeypatch, names, foreseen, how, compiled, best):
    found, chose, notes = chosen(names, TIMES, foreseen, monkeypatch, **how)
    assert found == compiled
    assert chose == names[best]
    left = [name for name in names if name not in compiled]
    assert all(notes[name].startswith("not compiled: ") for name in left)


def test_the_plan_says_what_was_estimated(monkeypatch):
    _, _, notes = chosen(SINGLE, TIMES, known(1, 2), monkeypatch)
    assert notes["openvino float32"] == "not compiled: estimated to take 2.00 times as long as onnxruntime"


@pytest.mark.parametrize(
    ("seconds", "foreseen", "expected"),
    [
        (1.0, known(2, 1), 2.0),
        (1.0, None, None),
        (None, known(2, 1), None),
        (1.0, Prospects({"openvino": 1.0}, 1.0), None),
    ],
)
def test_the_time_of_one_that_was_not_run(seconds, foreseen, expected):
    other = Trial(OPENVINO, Settings(), times=[] if seconds is None else [seconds])
    assert estimated(Trial(RUNTIME, Settings()), other, foreseen) == expected


@pytest.mark.parametrize(
    ("estimate", "best"),
    [(1.5, OPENVINO), (1.2, RUNTIME), (1.0, RUNTIME), (0.5, RUNTIME), (None, RUNTIME)],
)
def test_load_rank_decides_only_where_less_than_a_factor_is_at_stake(estimate, best):
    """ONNX Runtime loads faster, but there was no time to run it."""
    trials = [
        Trial(OPENVINO, Settings(), compilation=1.0, times=[1.0]),
        Trial(RUNTIME, Settings(), compilation=1.0, unmeasured=True, estimated=estimate),
    ]
    found = _best(trials, 0.1)
    assert found.engine is best
    if estimate == 1.5:
        assert _reason(trials[1], found, 0.1) == "no time to run every engine; estimated at 1.50 times openvino's time"


def test_a_faster_one_by_estimate_wins_against_load_rank():
    trials = [
        Trial(RUNTIME, Settings(), compilation=1.0, times=[1.0]),
        Trial(OPENVINO, Settings(), compilation=1.0, unmeasured=True, estimated=0.6),
    ]
    assert _best(trials, 0.1) is trials[1]


def network(*nodes, shape=(1, 64, 56, 56), **weights):
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [onnx.numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in weights.items()]
    return helper.make_model(helper.make_graph(list(nodes), "g", infos, [y], tensors))


CONVOLUTION = network(helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4), w=(64, 64, 3, 3))
DEVICES = [SimpleNamespace(name="a processor")]


@pytest.mark.parametrize(("sets", "least", "most"), [(("AVX2",), 2.5, 2.5), (("AVX2", "AVX-512"), 1.35, 1.6)])
def test_how_sure_an_estimate_is_without_measured_rates(tmp_path, monkeypatch, sets, least, most):
    calls = []
    monkeypatch.setattr(prospects.contention, "is_contended", lambda: calls.append(1) or True)
    monkeypatch.setattr(prospects, "instruction_sets", lambda: sets)
    made = prospects.prospects(CONVOLUTION, [RUNTIME, OPENVINO], DEVICES, tmp_path / "rates.json")
    assert least <= made.error <= most
    assert made.seconds.keys() == {"onnxruntime", "openvino"}
    assert not calls, "so small a model is compiled before the rates are measured"


def test_how_sure_an_estimate_is_with_measured_rates(tmp_path, monkeypatch):
    rates = {"onnxruntime": Rates(launch=1e-7, start=1e-7), "openvino": Rates(dense=1.6e11, launch=1e-7, start=1e-7)}
    monkeypatch.setattr(prospects, "rates_of", lambda engines, *given: rates)
    convolution = prospects.prospects(CONVOLUTION, [RUNTIME, OPENVINO], DEVICES, tmp_path / "rates.json")
    assert convolution.error < 1.15
    assert convolution.seconds["onnxruntime"] > 1.8 * convolution.seconds["openvino"]
    small = network(helper.make_node("Relu", ["x"], ["y"]))
    assert prospects.prospects(small, [RUNTIME, OPENVINO], DEVICES, tmp_path / "rates.json").error == 1.9


@pytest.mark.parametrize(
    "model",
    [
        network(helper.make_node("Relu", ["x"], ["y"]), shape=("n", 4)),
        network(
            helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
            helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
            helper.make_node("Identity", ["d"], ["y"]),
            s=(),
        ),
    ],
    ids=["flexible", "quantized"],
)
def test_what_shapes_do_not_tell(model):
    assert prospects.prospects(model, [RUNTIME, OPENVINO], DEVICES, None) is None
    assert prospects.prospects(CONVOLUTION, [RUNTIME], DEVICES, None) is None


def test_one_that_is_compiled_alone_is_still_compared_on_degenerate_inputs(tmp_path, monkeypatch):
    """ONNX Runtime was not worth compiling, but its plain kernels say where NaN and infinity belong."""
    path = saved_program(tmp_path, lambda x: mb.relu(x=mb.add(x=x, y=1.0), name="y"), x=(2, 4))
    compared = []

    def difference(own, right, *more):
        compared.append((type(own[0]).__name__, type(right[0]).__name__))
        return ""

    monkeypatch.setattr("pippin.specialization.specializer.prospects", lambda *given: known(9, 1))
    monkeypatch.setattr("pippin.specialization.verification.difference", difference)
    model = pippin.load(path)
    assert model.engine == "openvino"
    assert compared == [("CompiledOpenVINO", "CompiledOnnxRuntime")]
    (left,) = (c for c in model.compute_plan.candidates if c.engine == "onnxruntime")
    assert left.note == "not compiled: estimated to take 9.00 times as long as openvino"
