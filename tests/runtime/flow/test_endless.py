"""Endless: loads and predictions that would take forever are stopped on each engine, and the process ends."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import pippin
from pippin import Configuration, Hints
from pippin.engines import all_engines
from pippin.errors import DeadlineExceeded, SpecializationCancelled, UnsupportedOperationError
from pippin.specialization import budget, candidates

SECONDS = 120  # for a process that takes two; it never ends if a run is not stopped


def program(body, shape):
    return f"program(1.0)\n{{\n    func main<ios17>(tensor<fp32, {shape}> x) {{\n{body}\n        }} -> (y);\n}}\n"


def while_loop(condition):
    return program(
        f"""tensor<fp32, [1]> y = while_loop(loop_vars = x)[name = string("y")]
 (tensor<fp32, [1]> a) {{ {condition} }} -> (t),
 (tensor<fp32, [1]> b) {{ fp32 one = const()[name = string("one"), val = fp32(1)];
   tensor<fp32, [1]> c = add(x = b, y = one)[name = string("c")]; }} -> (c);""",
        "[1]",
    )


def while_below(limit):
    """Adds 1 until x is at least `limit`."""
    return while_loop(
        f"""fp32 m = const()[name = string("m"), val = fp32({limit})];
   tensor<bool, [1]> g = less(x = a, y = m)[name = string("g")];
   tensor<int32, [0]> s = const()[name = string("s"), val = tensor<int32, [0]>([])];
   bool t = reshape(x = g, shape = s)[name = string("t")];"""
    )


# Adding 1 to a float32 ends at 2**24.
ENDLESS = while_below("1e30")
OF_CONSTANTS = (
    ENDLESS.replace("loop_vars = x", "loop_vars = z")
    .replace(
        "tensor<fp32, [1]> y =",
        'tensor<fp32, [1]> z = const()[name = string("z"), val = tensor<fp32, [1]>([0])];\ntensor<fp32, [1]> w =',
    )
    .replace('"y")]', '"w")]', 1)
    .replace("-> (c);", '-> (c); tensor<fp32, [1]> y = add(x = w, y = x)[name = string("y")];')
)
EMPTY = while_loop('bool t = const()[name = string("t"), val = bool(true)];').replace("-> (c)", "-> (b)")
PRODUCTS = "\n".join(
    [
        'bool f = const()[name = string("f"), val = bool(false)]; tensor<fp32, [2048, 2048]> r0 = relu(x = x)[name = string("r0")];'
    ]
    + [
        f"tensor<fp32, [2048, 2048]> m{i} = matmul(x = r{i}, y = x, transpose_x = f, transpose_y = f)"
        f'[name = string("m{i}")];'
        f'tensor<fp32, [2048, 2048]> r{i + 1} = tanh(x = m{i})[name = string("r{i + 1}")];'
        for i in range(200)
    ]
    + [
        'fp32 little = const()[name = string("little"), val = fp32(0x1p-20)];'
        'tensor<fp32, [2048, 2048]> z = mul(x = r200, y = little)[name = string("z")];'
        'tensor<fp32, [2048, 2048]> y = add(x = z, y = x)[name = string("y")];'
    ]
)
"""A minute of matrix products, whose rounding hardly shows in the result."""


def turns():
    """A network whose loop takes 10**12 turns."""
    from coremltools.proto import Model_pb2
    from google.protobuf import text_format

    kind = "type { multiArrayType { dataType: FLOAT32 shape: 1 } }"
    layers = """layers { name: "first" input: "x" output: "c" copy {} }
      layers { name: "loop" loop { maxLoopIterations: 1000000000000 bodyNetwork {
        layers { name: "abs" input: "c" output: "d" unary { type: ABS alpha: 1 scale: 1 } }
        layers { name: "back" input: "d" output: "c" copy {} } } } }
      layers { name: "last" input: "c" output: "y" copy {} }"""
    text = f"""specificationVersion: 5 description {{ input {{ name: "x" {kind} }} output {{ name: "y" {kind} }} }}
      neuralNetwork {{ arrayInputShapeMapping: EXACT_ARRAY_MAPPING {layers} }}"""
    return text_format.Parse(text, Model_pb2.Model()).SerializeToString()


STOPPED = """
import asyncio, sys, threading, numpy as np, pippin
from pippin.specialization.budget import Budget

path, size, engines = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
x = {"x": np.full((size, size) if size > 1 else 1, 1e-3, np.float32)}

def watched(run, loop, begun, ended):
    def call(*given, **named):
        loop.call_soon_threadsafe(begun.set)
        try:
            return run(*given, **named)
        except BaseException as error:
            ended.append(type(error).__name__)
            raise
        finally:
            over.set()
    return call

async def cancelled(work, begun, ended):
    over.clear()
    task = asyncio.ensure_future(work)
    await begun.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await asyncio.to_thread(over.wait)
        return ended
    raise AssertionError("not cancelled")

over = threading.Event()

async def main():
    loop = asyncio.get_running_loop()
    for engine in engines:
        run = Budget.run
        begun, ended = asyncio.Event(), []
        Budget.run = watched(run, loop, begun, ended)
        loading = pippin.load_async(path, pippin.Configuration(engine=engine), cache=False)
        print(engine, "load", *await cancelled(loading, begun, ended))
        Budget.run = run
        fast = pippin.Configuration(engine=engine, hints=pippin.Hints("fast_load"))
        model = await pippin.load_async(path, fast, cache=False)
        begun, ended = asyncio.Event(), []
        compiled = model._session._compiled
        compiled.run = watched(compiled.run, loop, begun, ended)
        print(engine, "predict", *await cancelled(model.predict_async(x), begun, ended))
    # Still running when the interpreter exits.
    model._executor.submit(lambda stop: model._predict(x, None, None, stop))
    asyncio.ensure_future(pippin.load_async(path, pippin.Configuration(engine=engines[0]), cache=False))
    await asyncio.sleep(0)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "content", "size", "engines"),
    [
        ("while.mil", ENDLESS, 1, ["onnxruntime", "openvino"]),
        ("turns.mlmodel", turns, 1, ["onnxruntime", "openvino"]),
        ("long.mil", program(PRODUCTS, "[2048, 2048]"), 2048, ["onnxruntime", "openvino", "mnn"]),
    ],
    ids=["while", "turns", "long"],
)
def test_cancelling_ends_the_run_and_the_process(name, content, size, engines, tmp_path):
    path = tmp_path / name
    path.write_bytes(content() if callable(content) else content.encode())
    installed = [engine for engine in engines if all_engines()[engine].installed]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(path), str(size), ",".join(installed)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = [
        f"{engine} {what}"
        for engine in installed
        for what in ("load SpecializationCancelled", "predict PredictionCancelled")
    ]
    assert done.stdout.splitlines() == expected, done.stderr


@pytest.mark.parametrize("text", [ENDLESS, EMPTY], ids=["endless", "without a node"])
def test_measuring_has_a_budget(text, tmp_path, monkeypatch):
    path = tmp_path / "while.mil"
    path.write_text(text)
    monkeypatch.setattr(budget, "_SECONDS_UNBOUNDED", 0.05)
    model = pippin.load(path, cache=False)
    assert [candidate.seconds for candidate in model.compute_plan.candidates] == [None]
    with pytest.raises(DeadlineExceeded):
        model.predict({"x": np.float32([1])}, timeout=0.01)


@pytest.fixture
def bounded(tmp_path):
    """A while loop that ends, which no constant says."""
    path = tmp_path / "while.mil"
    path.write_text(while_below(10))
    return path


def test_a_loop_without_a_bound_is_not_given_to_an_engine_that_cannot_stop_in_it(bounded):
    model = pippin.load(bounded, cache=False)
    assert model.engine == "onnxruntime"
    reasons = [r for operation in model.compute_plan.operations for r in operation.reasons.values()]
    assert any("unknown number of turns: openvino cannot be stopped inside a loop" in r for r in reasons)
    assert model.predict({"x": np.float32([2.5])})["y"] == [10.5]


@pytest.mark.slow
@pytest.mark.process
def test_an_engine_that_cannot_stop_in_a_loop_runs_it_in_a_child(bounded, tmp_path):
    chosen = Configuration(engine="openvino", hints=Hints("fast_load"))
    for label in ("prepare and cache", "cached"):
        model = pippin.load(bounded, chosen, cache=tmp_path / "cache")
        assert (model.engine, model.load_label) == ("openvino", label)
        assert model.predict({"x": np.float32([2.5])})["y"] == [10.5]
    compiled = model._session._compiled
    (child,) = compiled._idle
    child.kill()  # as if it crashed
    with pytest.raises(pippin.errors.PredictionError, match="its process ended with -9"):
        model.predict({"x": np.float32([2.5])})
    assert model.predict({"x": np.float32([-1.0])})["y"] == [10.0]  # in a new one


@pytest.mark.slow
@pytest.mark.process
def test_a_loop_of_constants_that_an_engine_computes_while_it_compiles(tmp_path, monkeypatch):
    path = tmp_path / "constants.mil"
    path.write_text(OF_CONSTANTS)
    monkeypatch.setattr(candidates, "_UNBOUNDED_COMPILATION", 0.2)
    with pytest.raises(UnsupportedOperationError, match=r"openvino did not compile the model within 0\.2 s"):
        pippin.load(path, Configuration(engine="openvino"), cache=False)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "mnn"])
def test_a_load_with_a_timeout_compiles_in_a_child(package, engine, tmp_path):
    if not all_engines()[engine].installed:
        pytest.skip(f"{engine} is not installed")
    chosen = Configuration(engine=engine, hints=Hints("fast_load"))
    for label in ("prepare and cache", "cached"):
        model = pippin.load(package, chosen, cache=tmp_path, timeout=SECONDS)
        assert model.load_label == label
        assert (model.predict({"x": np.ones((3, 4), np.float32)})["y"] == 2).all()


def test_a_load_that_takes_too_long(package):
    import threading

    held = threading.Event()
    try:
        with pytest.raises(DeadlineExceeded, match=r"did not load within 0\.01 s") as raised:
            pippin.load(package, cache=False, timeout=0.01, progress=lambda _: held.wait(SECONDS))
    finally:
        held.set()
    assert isinstance(raised.value, SpecializationCancelled)
