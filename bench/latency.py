"""Latency: benchmarks single predictions against the engines' best settings and their defaults.

python bench/latency.py [ROUNDS] [--compile]    (make bench-latency; --compile adds torch.compile, minutes more)

Pippin loads with the strategy "fast_prediction". Equal precision: all compute in float32 for packages that declare
float32, in bfloat16 for packages that declare float16. Each peer's best setting is searched over its thread counts.
Defaults are each library's on the ONNX file. Peak is the rate of the fastest library on several large matrix products
in the same run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import contest
import networks
import numpy as np
import onnx
import onnxruntime
import openvino
import torch

import pippin
from pippin.engines import Settings, all_engines

ROUNDS = next((int(a) for a in sys.argv[1:] if a.isdecimal()), 5)
COMPILE = "--compile" in sys.argv
CORES = len(os.sched_getaffinity(0))
FAST = pippin.Hints("fast_prediction")
Call = Callable[[], object]


def onnxruntime_call(network: networks.Network, threads: int = 0) -> Call:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, threads
    session = onnxruntime.InferenceSession(str(network.onnx), options, providers=["CPUExecutionProvider"])
    (first,) = session.get_inputs()
    x = {first.name: network.example().astype(np.int64 if "int64" in first.type else network.example().dtype)}
    return lambda: session.run(None, x)


def openvino_call(network: networks.Network, precision: str | None, threads: int = 0) -> Call:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = precision
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    request = openvino.Core().compile_model(str(network.onnx), "CPU", settings).create_infer_request()
    x = [network.example()]
    return lambda: request.infer(x, share_inputs=True, share_outputs=True)


def mnn_call(network: networks.Network) -> Call | None:
    engine = all_engines()["mnn"]
    if not engine.installed:
        return None
    model = onnx.load(network.onnx)
    compiled = engine.compile(model.SerializeToString(), Settings())
    x = {model.graph.input[0].name: network.example()}
    return lambda: compiled.run(x)


def torch_calls(network: networks.Network) -> dict[str, Call]:
    if network.name == "basic_pitch":  # not published for torch
        return {}
    model, x = networks.torch_model(network.name), torch.from_numpy(network.example())
    calls: dict[str, Call] = {}
    variants = {"torch eager": model} | ({"torch compiled": torch.compile(model)} if COMPILE else {})
    for name, made in variants.items():

        def call(made: Any = made) -> object:
            with torch.inference_mode():
                return made(x)

        calls[name] = call
    return calls


def pippin_call(network: networks.Network, precision: str, **how: Any) -> tuple[pippin.Model, Call]:
    model = pippin.load(network.package(precision), pippin.Configuration(**how), cache=False)
    x = {network.input: network.example()}
    return model, lambda: model.predict(x)


def best(calls: dict[str, Call | None]) -> dict[str, Call]:
    """Fastest variant of each peer; variants are named "peer/variant"."""
    available = {name: call for name, call in calls.items() if call is not None}
    times = contest.medians(available, 2, 2)
    peers = dict.fromkeys(name.partition("/")[0] for name in available)
    return {
        peer: available[min((n for n in available if n.partition("/")[0] == peer), key=times.__getitem__)]
        for peer in peers
    }


def float32_peers(network: networks.Network) -> dict[str, Call]:
    calls: dict[str, Call | None] = {"mnn": mnn_call(network), **torch_calls(network)}
    for threads in (0, 1):
        calls[f"onnxruntime/{threads}"] = onnxruntime_call(network, threads)
        calls[f"openvino/{threads}"] = openvino_call(network, "f32", threads)
    return best(calls)


def sixteen_bit_peers(network: networks.Network) -> dict[str, Call]:
    return best({f"openvino/{threads}": openvino_call(network, "bf16", threads) for threads in (0, 1)})


def default_peers(network: networks.Network) -> dict[str, Call]:
    calls = {"onnxruntime": onnxruntime_call(network), "openvino": openvino_call(network, None)}
    eager = torch_calls(network).get("torch eager")
    return calls if eager is None else calls | {"torch eager": eager}


def row(network: networks.Network, label: str, peers: dict[str, Call], precision: str) -> dict[str, float]:
    model, call = pippin_call(network, precision, hints=FAST)
    times = contest.medians({"pippin": call, **peers}, ROUNDS, 5)
    listed = ", ".join(f"{name} {1e3 * took:.3f}" for name, took in times.items())
    settings = model.compute_plan.segments[0]
    print(f"{network.name:13} {label:22} ms: {listed}   [{settings.engine} {settings.precision}]", flush=True)
    return times


def speed(times: dict[str, float]) -> float:
    """Best peer's time divided by Pippin's."""
    return min(took for name, took in times.items() if name != "pippin") / times["pippin"]


def multiply_adds(network: networks.Network) -> float:
    """Number of multiply-adds in convolutions and matrix products, from ONNX shape inference."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(network.onnx)).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.value_info, *graph.output)}
    shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    shapes |= {t.name: list(t.dims) for t in graph.initializer}
    total = 0.0
    for node in graph.node:
        if node.op_type == "Conv":
            total += np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            total += np.prod(shapes[node.input[0]]) * np.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            total += np.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return float(total)


def peak(precision: str) -> float:
    """Multiply-adds per second of the fastest library on a large matrix product."""
    size = 2048
    graph = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[{size},{size}] a, float[{size},{size}] b)'
        f" => (float[{size},{size}] c) {{ c = MatMul(a, b) }}"
    ).SerializeToString()
    a = np.random.default_rng(0).standard_normal((size, size)).astype(np.float32)
    calls: dict[str, Call] = {}
    for name in ("openvino", "onnxruntime"):
        if precision == "float32" or precision in all_engines()[name].precisions("cpu"):
            compiled = all_engines()[name].compile(graph, Settings(precision=precision))  # type: ignore[arg-type]
            calls[name] = lambda compiled=compiled: compiled.run({"a": a, "b": a})
    x = torch.from_numpy(a).to(getattr(torch, precision))
    calls["torch"] = lambda: x @ x
    return size**3 / min(contest.medians(calls, ROUNDS, 3).values())


def main() -> None:
    rows: dict[str, dict[str, dict[str, float]]] = {}
    peaks = {precision: peak(precision) for precision in ("float32", "bfloat16")}
    for network in networks.prepared():
        found = {"float32": row(network, "float32", float32_peers(network), "float32")}
        if network.name != "basic_pitch":  # published in float32 only
            found["16 bits"] = row(network, "declared float16", sixteen_bit_peers(network), "float16")
            found["default"] = row(network, "float16, peers' default", default_peers(network), "float16")
        rows[network.name] = found
    for kind, goal in (("float32", 0.95), ("16 bits", 0.95), ("default", 1.8)):
        speeds = {name: speed(found[kind]) for name, found in rows.items() if kind in found}
        if kind == "default":
            del speeds["mlp"]
        each = ", ".join(f"{name} {value:.2f}" for name, value in speeds.items())
        print(f"best peer / pippin, {kind:8}: {contest.geometric_mean(speeds.values()):.2f} ({each})   goal {goal}")
    bare = onnxruntime_call(networks.NETWORKS[0])
    _, mlp = pippin_call(networks.NETWORKS[0], "float32", engine="onnxruntime")
    times = contest.medians({"bare": bare, "pippin": mlp}, 50, 200)
    print(f"mlp: Model.predict / bare onnxruntime run: {times['pippin'] / times['bare']:.2f}   goal 1.50")
    for name in ("resnet50", "unet"):
        network = next(n for n in networks.NETWORKS if n.name == name)
        for kind, precision in (("float32", "float32"), ("16 bits", "bfloat16")):
            reached = multiply_adds(network) / rows[name][kind]["pippin"]
            print(f"{name} {precision}: {reached / peaks[precision]:.2f} of the peak ({reached / 1e9:.0f} of"
                  f" {peaks[precision] / 1e9:.0f} billion multiply-adds/s)   goal 0.75")  # fmt: skip


if __name__ == "__main__":
    main()
