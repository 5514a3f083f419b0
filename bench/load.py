"""Load: benchmarks uncached, progressive and cached loads against the bare engines, each in a process of its own.

python bench/load.py [ROUNDS] [--only NAME] [--also PACKAGE ...]    (make bench-load)

Every figure is the median of ROUNDS processes, the contestants in alternation. Inside a process, the libraries are
imported and have compiled a small model before the clock starts. The peers read and compile torch's ONNX exports of the
same networks; for a PACKAGE, Pippin's own lowered graph. "pippin with ENGINE" loads with that engine alone and the
strategy "fast_load". The rates of the engines, which are measured once for a machine, are known before the first round.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import networks

SMALL = networks.FOLDER / "mlp-float32.mlpackage"
LOWER = """
import sys, shutil, pippin
from pippin.lowering.external_data import readable
from pippin.runtime.loading import Source
from pippin.specialization.sample_inputs import example_features, example_inputs
from pippin.specialization.specializer import lower_function
import numpy as np, pickle
package, folder = sys.argv[1:]
lowered = lower_function(Source(package).open(), pippin.Configuration())
with readable(lowered.model) as source:
    if isinstance(source, bytes):
        open(folder + "/model.onnx", "wb").write(source)
    else:
        shutil.copytree(source.parent, folder, dirs_exist_ok=True)
function = Source(package).open().description.function(None)
pickle.dump((example_features(function), example_inputs(function, lowered)), open(folder + "/example", "wb"))
"""
START = """
import json, pickle, sys, time
features, tensors = pickle.load(open(sys.argv[2], "rb"))
def done(**more):
    print(json.dumps({"seconds": time.perf_counter() - began, **more}))
"""
PEERS = {
    "onnxruntime": """
import onnxruntime as o
def load(path):
    options = o.SessionOptions()
    options.log_severity_level = 4
    return o.InferenceSession(path, options, providers=["CPUExecutionProvider"])
def run(session):
    types = {"tensor(float)": "f4", "tensor(int64)": "i8", "tensor(int32)": "i4", "tensor(float16)": "f2"}
    inputs = zip(session.get_inputs(), tensors.values())  # names differ between exports
    session.run(None, {i.name: tensors.get(i.name, other).astype(types.get(i.type, "f4")) for i, other in inputs})
""",
    "openvino": """
import openvino as v
core = v.Core()
def load(path):
    return core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"})
def run(compiled):
    names = [next((name for name in port.names if name in tensors), "") for port in compiled.inputs]
    compiled({n: tensors.get(name, other) for n, (name, other) in enumerate(zip(names, tensors.values()))})
""",
}
PEER = """
load(sys.argv[3])
began = time.perf_counter()
loaded = load(sys.argv[1])
loading = time.perf_counter() - began
run(loaded)
done(loading=loading)
"""
PIPPIN = """
import pippin
strategy, cache = sys.argv[4:6]
strategy, _, only = strategy.partition("/")
if sys.argv[3]:
    for engine in (None, "openvino", "onnxruntime"):
        pippin.load(sys.argv[3], pippin.Configuration(engine=engine), cache=False)
began = time.perf_counter()
model = pippin.load(sys.argv[1], pippin.Configuration(engine=only or None, hints=pippin.Hints(strategy)), cache=cache)
loading = time.perf_counter() - began
state = {"state": model.make_state()} if model.description.function(None).states else {}
model.predict(features, **state)
seconds = time.perf_counter() - began
first = model.engine
complete = model.specialized.wait(600) if len(sys.argv) > 6 else True
def timed():
    times = []
    for _ in range(30):
        started = time.perf_counter()
        model.predict(features, **state)
        times.append(time.perf_counter() - started)
    return sorted(times)[8]
print(json.dumps({"seconds": seconds, "loading": loading, "engine": model.engine, "first": first,
                  "complete": complete, "prediction": timed() if len(sys.argv) > 6 else 0.0}))
"""


@dataclass(frozen=True)
class Row:
    name: str
    package: Path
    onnx: Path
    example: Path
    small: Path
    """ONNX model that the peers compile before the clock starts."""


def rows(only: str | None, also: list[Path], folder: Path) -> list[Row]:
    found = []
    (folder / "small").mkdir()
    subprocess.run([sys.executable, "-c", LOWER, str(SMALL), str(folder / "small")], check=True)
    small = folder / "small" / "model.onnx"
    packages = {n.name: (n.package("float32"), n.onnx) for n in networks.prepared() if only in (None, n.name)}
    for name, (package, onnx) in {**packages, **{path.stem: (path, None) for path in also}}.items():
        at = folder / name
        at.mkdir()
        subprocess.run([sys.executable, "-c", LOWER, str(package), str(at)], check=True)
        found.append(Row(name, package, onnx or at / "model.onnx", at / "example", small))
    return found


def child(program: str, *arguments: object) -> dict[str, object]:
    made = subprocess.run(
        [sys.executable, "-c", START + program, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return dict(json.loads(made.stdout.splitlines()[-1]))


def measured(row: Row, folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    """{contestant: {"loading", "seconds", ...}}: medians."""
    kept, fresh, rates = folder / "kept", folder / "fresh", folder / "rates.json"

    def pippin(strategy: str, cache: Path, *more: str) -> Callable[[], dict[str, object]]:
        def run() -> dict[str, object]:
            if cache is fresh:
                shutil.rmtree(fresh, ignore_errors=True)
                fresh.mkdir()
                if rates.exists():
                    shutil.copy(rates, fresh)
            return child(PIPPIN, row.package, row.example, SMALL, strategy, cache, *more)

        return run

    pippin("default", kept)()
    if (kept / "rates.json").exists():
        shutil.copy(kept / "rates.json", rates)
    elif not rates.exists():
        print(f"{row.name:13} the engines' rates are not known: the model is small, or the machine is busy", flush=True)
    contestants: dict[str, Callable[[], dict[str, object]]] = {
        "default": pippin("default", fresh),
        "progressive": pippin("progressive", fresh),
        "cached": pippin("default", kept),
    }
    for name in PEERS:
        contestants[f"pippin with {name}"] = pippin(f"fast_load/{name}", fresh)
    for name, text in PEERS.items():
        contestants[name] = lambda text=text: child(text + PEER, row.onnx, row.example, row.small)
    found: dict[str, list[dict[str, object]]] = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(rounds):
        for name in order[number % len(order) :] + order[: number % len(order)]:
            found[name].append(contestants[name]())
    later, chosen = pippin("progressive", fresh, "wait")(), pippin("default", kept, "wait")()
    result = {
        name: {key: statistics.median(float(str(run[key])) for run in runs) for key in ("loading", "seconds")}
        for name, runs in found.items()
    }
    same = later["engine"] == chosen["engine"]
    result["later"] = {"ratio": 1.0 if same else float(str(later["prediction"])) / float(str(chosen["prediction"]))}
    print(f"{row.name:13} first {later['first']}, later {later['engine']}; default {chosen['engine']}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--only")
    parser.add_argument("--also", nargs="*", type=Path, default=[])
    given = parser.parse_args()
    table = {}
    with tempfile.TemporaryDirectory() as at:
        for row in rows(given.only, given.also, Path(at)):
            folder = Path(at) / f"{row.name}-caches"
            folder.mkdir()
            if (Path(at) / "rates.json").exists():
                shutil.copy(Path(at) / "rates.json", folder)
            table[row.name] = found = measured(row, folder, given.rounds)
            loads = ", ".join(f"{n} {1e3 * v['loading']:.1f}" for n, v in found.items() if "loading" in v)
            firsts = ", ".join(f"{n} {1e3 * v['seconds']:.1f}" for n, v in found.items() if "seconds" in v)
            print(f"{row.name:13} load, ms: {loads}\n{'':13} to the first prediction, ms: {firsts}", flush=True)
            if (folder / "rates.json").exists():
                shutil.copy(folder / "rates.json", at)
            shutil.rmtree(folder)

    def ratios(own: str, key: str, peers: tuple[str, ...], goal: str) -> None:
        each = {name: found[own][key] / min(found[peer][key] for peer in peers) for name, found in table.items()}
        shown = ", ".join(f"{name} {value:.2f}" for name, value in each.items())
        mean = math.exp(sum(map(math.log, each.values())) / len(each))
        print(f"{own}, {key}, over the fastest of {' and '.join(peers)}: {mean:.2f} ({shown})   goal {goal}")

    both = ("onnxruntime", "openvino")
    ratios("default", "loading", both, "1.50, no row above 2.0")
    own = ("pippin with onnxruntime", "pippin with openvino")
    ratios("default", "loading", ("openvino",), "-")
    ratios("default", "loading", own, "-")
    ratios("progressive", "seconds", both, "1.15")
    ratios("progressive", "seconds", own, "-")
    ratios("cached", "loading", both, "-")
    print(
        "progressive, later / default:", ", ".join(f"{n} {found['later']['ratio']:.2f}" for n, found in table.items())
    )


if __name__ == "__main__":
    main()
