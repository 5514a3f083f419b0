"""Architectures: benchmarks small networks of timm, transformers and diffusers against the bare engines.

python bench/architectures.py [NAME ...] [--rounds 5] [--one-thread]

The networks are those of bench/architecture_models.py, from `pip install timm transformers diffusers onnxscript`
(nothing else needs these, so they are no extra); what is not installed, or not converted, is listed as skipped.

Pippin loads with the strategy "fast_prediction", the engines get torch's ONNX export of the same network. float32
packages compete with float32 engines; float16 packages with the engines' defaults, which is bfloat16 for OpenVINO where
the processor has it, unless that is below 40 dB: Pippin's own limit. A row's ratio is Pippin's time divided by that of
the better engine; beside it stands how far the result is from torch's.

With `--one-thread`, each engine is forced and compared with itself, by the processor time of one thread in float32:
what the lowering costs, also on a busy machine.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import contest
import numpy as np
import onnxruntime
import openvino
from architecture_models import ARCHITECTURES, Architecture, prepared

import pippin

GOAL = 1.1
MOST_ERROR, LEAST_DB = 1e-4, 40.0
FAST, FORCED = pippin.Hints("fast_prediction"), pippin.Hints("fast_load")
Call = Callable[[], np.ndarray]


def onnxruntime_call(architecture: Architecture, threads: int = 0) -> Call:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, threads
    session = onnxruntime.InferenceSession(str(architecture.onnx), options, providers=["CPUExecutionProvider"])
    example = architecture.example()
    x = {
        port.name: example[port.name].astype(np.int64) if "int64" in port.type else example[port.name]
        for port in session.get_inputs()
    }
    return lambda: session.run(None, x)[0]


def openvino_call(architecture: Architecture, precision: str | None, threads: int = 0) -> Call:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = precision
    if threads:
        settings |= {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 0}
    request = openvino.Core().compile_model(str(architecture.onnx), "CPU", settings).create_infer_request()
    # By number: OpenVINO may rename what an export names twice.
    x = list(architecture.example().values())
    return lambda: request.infer(x, share_inputs=True, share_outputs=True).to_tuple()[0]


def pippin_call(architecture: Architecture, package: str, **how: Any) -> tuple[pippin.Model, Call]:
    model = pippin.load(architecture.package(package), pippin.Configuration(**how), cache=False)
    x = architecture.example()
    return model, lambda: model.predict(x)["y"]


def available(calls: Mapping[str, Callable[[], Call]]) -> dict[str, Call]:
    """The contestants that load and run; an export that an engine refuses is reported."""
    found = {}
    for name, load in calls.items():
        try:
            found[name] = load()
            found[name]()
        except Exception as error:
            found.pop(name, None)
            print(f"{'':28} {name} does not run it: {str(error).strip().splitlines()[0][:80]}", flush=True)
    return found


def agreement(found: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """The largest error relative to the largest value, and the signal-to-noise ratio in dB."""
    a, b = (np.asarray(x, np.float64).reshape(-1) for x in (found, right))
    noise = float(np.square(a - b).sum())
    return float(np.abs(a - b).max() / np.abs(b).max()), 10 * math.log10(float(np.square(b).sum()) / max(noise, 1e-300))


def row(architecture: Architecture, package: str, rounds: int) -> tuple[float, float]:
    """The ratio to the better engine, and Pippin's seconds."""
    right = np.load(architecture.expected)
    peers = available(
        {
            "onnxruntime": lambda: onnxruntime_call(architecture),
            "openvino": lambda: openvino_call(architecture, "f32" if package == "float32" else None),
        }
    )
    if "openvino" in peers and agreement(peers["openvino"](), right)[1] < LEAST_DB:
        peers["openvino"] = openvino_call(architecture, "f32")
    model, call = pippin_call(architecture, package, hints=FAST)
    error, decibels = agreement(call(), right)
    times = contest.medians({"pippin": call, **peers}, rounds, 5)
    ratio = times["pippin"] / min((times[name] for name in peers), default=math.nan)
    agrees = error <= MOST_ERROR if package == "float32" else decibels >= LEAST_DB
    listed = ", ".join(f"{name} {1e3 * took:.2f}" for name, took in times.items())
    marks = f"{' ABOVE' if ratio > GOAL else ''}{'' if agrees else ' WRONG'}"
    how = "+".join(f"{s.engine} {s.precision}" for s in model.compute_plan.segments)
    print(f"{architecture.name:28} {package:8} {ratio:5.2f}  {error:.0e} {decibels:4.0f} dB  ms: {listed}"
          f"  [{how}]{marks}", flush=True)  # fmt: skip
    return ratio, times["pippin"]


def one_thread(architecture: Architecture, seconds: float = 2.0) -> float:
    """The larger ratio of the processor times of an engine, with our graph and with the export."""
    peers = available(
        {
            "onnxruntime": lambda: onnxruntime_call(architecture, 1),
            "openvino": lambda: openvino_call(architecture, "f32", 1),
        }
    )
    how = {"threads": 1, "precision": "float32", "hints": FORCED}
    own = {f"pippin {name}": pippin_call(architecture, "float32", engine=name, **how)[1] for name in peers}
    times = dict.fromkeys([*peers, *own], math.inf)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or math.inf in times.values():
        for name, call in {**peers, **own}.items():
            started = time.process_time()
            call()
            times[name] = min(times[name], time.process_time() - started)
    ratios = {name: times[f"pippin {name}"] / times[name] for name in peers}
    best = min(times[name] for name in own) / min(times[name] for name in peers)
    each = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    listed = ", ".join(f"{name} {1e3 * took:.2f}" for name, took in times.items())
    print(f"{architecture.name:28} {best:5.2f}  {each}  processor ms: {listed}", flush=True)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one-thread", action="store_true")
    arguments = parser.parse_args()
    ratios: dict[str, list[float]] = {"float32": [], "float16": [], "float16 / float32": []}
    skipped = {}
    for architecture in ARCHITECTURES:
        if arguments.names and architecture.name not in arguments.names:
            continue
        if why := prepared(architecture):
            skipped[architecture.name] = why
        elif arguments.one_thread:
            ratios["float32"].append(one_thread(architecture))
        else:
            times = {}
            for package in ("float32", "float16"):
                ratio, times[package] = row(architecture, package, arguments.rounds)
                ratios[package].append(ratio)
            ratios["float16 / float32"].append(times["float16"] / times["float32"])
    for name, why in skipped.items():
        print(f"{name:28} skipped: {why}")
    for kind, found in ratios.items():
        if found:
            above = sum(ratio > GOAL for ratio in found)
            print(f"{kind}: {len(found)} rows, geometric mean {contest.geometric_mean(found):.2f}, largest"
                  f" {max(found):.2f}, {above} above {GOAL}   goal: none")  # fmt: skip


if __name__ == "__main__":
    main()
