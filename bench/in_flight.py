"""In flight: benchmarks 1, 2, 4, 8 and 32 concurrent predictions against every peer's best configuration, interleaved.

python bench/in_flight.py [NETWORK ...] [--seconds S] [--rounds N]    (make bench-async)

Pippin loads with "fast_prediction" and runs as asyncio tasks calling `predict_async` or as threads calling `predict`,
the faster of both. Each peer's best configuration is searched on the same machine just before. ONNX Runtime: its
default threads or one per prediction, called by one thread per prediction in flight or by fewer that take turns.
OpenVINO: latency hint, throughput hint or one stream per core, through AsyncInferQueue or threads. torch: its default
threads or one. Equal precision compares float32 packages with peers in float32, and packages that declare float16 with
OpenVINO in bfloat16. Default compares the latter packages with each peer's default settings.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import contest
import networks
import numpy as np
import onnxruntime
import openvino
import torch

import pippin

CORES = len(os.sched_getaffinity(0))
LOADS = (1, 2, 4, 8, 32)
Latencies = list[float]
Drive = Callable[[int, float], tuple[float, Latencies]]
"""(predictions in flight, seconds) -> predictions per second, latencies in seconds."""


def threads(make: Callable[[], Callable[[], object]], most: int | None = None) -> Drive:
    """Closed loop of threads, each calling `make` once. At most `most` calls run concurrently."""
    turns = threading.Semaphore(most) if most else None

    def drive(count: int, seconds: float) -> tuple[float, Latencies]:
        took: Latencies = []
        ready = threading.Barrier(count + 1)

        def work() -> None:
            call, latencies = make(), []
            ready.wait()
            now = time.perf_counter()
            while now < end[0]:
                before = now
                if turns is None or count <= most:
                    call()
                else:
                    with turns:
                        call()
                now = time.perf_counter()
                latencies.append(now - before)
            took.extend(latencies)

        end = [float("inf")]
        pool = [threading.Thread(target=work) for _ in range(count)]
        for thread in pool:
            thread.start()
        started = time.perf_counter()
        end[0] = started + seconds
        ready.wait()
        for thread in pool:
            thread.join()
        return len(took) / (time.perf_counter() - started), took

    return drive


def tasks(call: Callable[[], Any]) -> Drive:
    """Closed loop of asyncio tasks."""

    def drive(count: int, seconds: float) -> tuple[float, Latencies]:
        took: Latencies = []

        async def work(end: float) -> None:
            now = time.perf_counter()
            while now < end:
                before = now
                await call()
                now = time.perf_counter()
                took.append(now - before)

        async def main() -> float:
            started = time.perf_counter()
            await asyncio.gather(*(work(started + seconds) for _ in range(count)))
            return len(took) / (time.perf_counter() - started)

        return asyncio.run(main()), took

    return drive


def onnxruntime_drives(network: networks.Network) -> dict[str, Drive]:
    made = {}
    for intra in (0, 1):
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, intra
        session = onnxruntime.InferenceSession(str(network.onnx), options, providers=["CPUExecutionProvider"])
        (first,) = session.get_inputs()
        x = {first.name: network.example().astype(np.int64 if "int64" in first.type else network.example().dtype)}
        for most in (None, 1, CORES):
            made[f"onnxruntime/{intra}/{most}"] = threads(lambda s=session, x=x: lambda: s.run(None, x), most)
    return made


def openvino_drives(network: networks.Network, precision: str | None) -> dict[str, Drive]:
    base = {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
    settings = {
        "latency": {"PERFORMANCE_HINT": "LATENCY"},
        "throughput": {"PERFORMANCE_HINT": "THROUGHPUT"},
        "streams": {"NUM_STREAMS": CORES, "INFERENCE_NUM_THREADS": CORES, "ENABLE_CPU_PINNING": False},
    }
    made: dict[str, Drive] = {}
    for name, more in settings.items():
        compiled = openvino.Core().compile_model(str(network.onnx), "CPU", base | more)
        made[f"openvino/{name}/threads"] = openvino_threads(compiled, network.example())
        made[f"openvino/{name}/queue"] = openvino_queue(compiled, network.example())
    made["openvino/latency/one"] = openvino_threads(
        openvino.Core().compile_model(str(network.onnx), "CPU", base | settings["latency"]), network.example(), 1
    )
    return made


def openvino_threads(compiled: Any, x: np.ndarray, most: int | None = None) -> Drive:
    def make() -> Callable[[], object]:
        request = compiled.create_infer_request()
        return lambda: request.infer([x], share_inputs=True, share_outputs=True)

    return threads(make, most)


def openvino_queue(compiled: Any, x: np.ndarray) -> Drive:
    def drive(count: int, seconds: float) -> tuple[float, Latencies]:
        took: Latencies = []
        queue = openvino.AsyncInferQueue(compiled, count)
        queue.set_callback(lambda request, before: took.append(time.perf_counter() - before))
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            queue.start_async([x], time.perf_counter(), share_inputs=True)
        queue.wait_all()
        return len(took) / (time.perf_counter() - started), took

    return drive


def torch_drives(network: networks.Network) -> dict[str, Drive]:
    if network.name == "basic_pitch":  # not published for torch
        return {}
    model, x = networks.torch_model(network.name), torch.from_numpy(network.example())

    def make(intra: int) -> Callable[[], Callable[[], object]]:
        def each() -> Callable[[], object]:
            torch.set_num_threads(intra)

            def call() -> object:
                with torch.inference_mode():
                    return model(x)

            return call

        return each

    return {f"torch/{n}/{most}": threads(make(n), most) for n, most in ((CORES, 1), (1, CORES), (1, None))}


@dataclass
class Row:
    rate: float
    p50: float
    p99: float


def measured(drive: Drive, count: int, seconds: float) -> Row:
    time.sleep(0.03)  # threads of the previous contestant keep spinning for a while
    rate, took = drive(count, seconds)
    took.sort()
    return Row(rate, took[len(took) // 2], took[int(len(took) * 0.99)])


def best(drives: dict[str, Drive], count: int, seconds: float) -> dict[str, str]:
    """Name of each peer's fastest configuration at this load."""
    rates = {name: measured(drive, count, seconds).rate for name, drive in drives.items()}
    peers = dict.fromkeys(name.partition("/")[0] for name in rates)
    return {p: max((n for n in rates if n.partition("/")[0] == p), key=rates.__getitem__) for p in peers}


def pippin_drives(network: networks.Network, precision: str) -> tuple[pippin.Model, dict[str, Drive]]:
    cache = networks.FOLDER / "cache"
    model = pippin.load(
        network.package(precision), pippin.Configuration(hints=pippin.Hints("fast_prediction")), cache=cache
    )
    x = {network.input: network.example()}
    # The model runs as loaded; it chooses its own configuration for 32 concurrent predictions.
    return model, {
        "pippin/tasks": tasks(lambda: model.predict_async(x)),
        "pippin/threads": threads(lambda: lambda: model.predict(x)),
    }


def compare(
    network: networks.Network, label: str, precision: str, peers: dict[str, Drive], arguments: argparse.Namespace
) -> dict[int, float]:
    model, drives = pippin_drives(network, precision)
    for drive in {**drives, **peers}.values():
        measured(drive, CORES, arguments.seconds / 4)  # warm-up: loads configurations, creates requests
    segment = model.compute_plan.segments[0]
    many = segment.streams or "the same"
    print(f"{network.name}, {label}: {segment.engine} {segment.precision}; under load: {many}")
    found = {}
    for count in LOADS:
        chosen = list(best(drives | peers, count, arguments.seconds / 2).values())
        rows: dict[str, list[Row]] = {}
        for number in range(arguments.rounds):
            for name in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
                row = measured((drives | peers)[name], count, arguments.seconds)
                rows.setdefault(name, []).append(row)
        rates = {name: statistics.median(row.rate for row in found) for name, found in rows.items()}
        ours = next(name for name in chosen if name.startswith("pippin"))
        peer = max(rate for name, rate in rates.items() if name != ours)
        found[count] = rates[ours] / peer
        each = ", ".join(
            f"{name} {rates[name]:.1f}/s (p50 {1e3 * statistics.median(r.p50 for r in rows[name]):.2f},"
            f" p99 {1e3 * statistics.median(r.p99 for r in rows[name]):.2f} ms)"
            for name in chosen
        )
        print(f"  {count:2} in flight: {found[count]:.2f}   {each}", flush=True)
    return found


def executor(network: networks.Network, arguments: argparse.Namespace) -> None:
    """Compare the MLP through asyncio with ONNX Runtime in the event loop's executor."""
    _, drives = pippin_drives(network, "float32")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(network.onnx), options, providers=["CPUExecutionProvider"])
    x = {"x": network.example()}
    pool = ThreadPoolExecutor(CORES)

    async def call() -> object:
        return await asyncio.get_running_loop().run_in_executor(pool, session.run, None, x)

    ratios = []
    for count in LOADS:
        rows = [(measured(drives["pippin/tasks"], count, 0.3), measured(tasks(call), count, 0.3)) for _ in range(5)]
        ours, theirs = (statistics.median(row[i].rate for row in rows) for i in (0, 1))
        ratios.append(ours / theirs)
        print(f"  {count:2} in flight: pippin {ours:.0f}/s, run_in_executor {theirs:.0f}/s, ratio {ours / theirs:.2f}")
    print(f"mlp through asyncio / run_in_executor over onnxruntime: {contest.geometric_mean(ratios):.2f}   goal 5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default="float32,bfloat16,default")
    arguments = parser.parse_args()
    speeds: dict[str, dict[str, float]] = {}
    for network in networks.prepared():
        if arguments.networks and network.name not in arguments.networks:
            continue
        common = {**onnxruntime_drives(network), **torch_drives(network)}
        kinds: dict[str, tuple[str, dict[str, Drive]]] = {
            "float32": ("float32", common | openvino_drives(network, "f32")),
        }
        if network.name != "basic_pitch":  # published in float32 only
            kinds["bfloat16"] = ("float16", openvino_drives(network, "bf16"))
            kinds["default"] = ("float16", common | openvino_drives(network, None))
        for kind in arguments.kinds.split(","):
            if kind in kinds:
                precision, peers = kinds[kind]
                found = compare(network, kind, precision, peers, arguments)
                speeds.setdefault(kind, {}).update({f"{network.name} {n}": speed for n, speed in found.items()})
        if network.name == "mlp":
            executor(network, arguments)
    for kind, rows in speeds.items():
        worst = min(rows, key=rows.__getitem__)
        mean = contest.geometric_mean(rows.values())
        goal = "1.8" if kind == "default" else "1.0, and no row below 0.95"
        below = sum(speed < 0.95 for speed in rows.values())
        print(f"pippin / best peer, {kind}: {mean:.2f}; worst {rows[worst]:.2f} ({worst}), {below} of {len(rows)}"
              f" below 0.95; goal {goal}")  # fmt: skip


if __name__ == "__main__":
    main()
