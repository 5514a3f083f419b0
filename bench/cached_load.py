"""Cached load: benchmarks cached loads and cold starts to the first prediction against the peers' own caches.

python bench/cached_load.py [ROUNDS]    (make bench-load runs it after load.py)

Pippin loads the float32 model packages with its default strategy. The peers load torch's ONNX exports of the same
networks: ONNX Runtime from the export and from its own optimized file, OpenVINO from the export and from its own cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import contest
import networks
import onnxruntime
import openvino

import pippin

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
PROVIDERS = ["CPUExecutionProvider"]

COLD = {
    "pippin": """
import numpy as np, pippin
pippin.load({package!r}, cache={cache!r}).predict({{{input!r}: np.load({example!r})}})""",
    "onnxruntime": """
import numpy as np, onnxruntime as o
s = o.InferenceSession({onnx!r}, providers=["CPUExecutionProvider"])
s.run(None, {{s.get_inputs()[0].name: np.load({example!r}).astype({dtype!r})}})""",
    "onnxruntime optimized": """
import numpy as np, onnxruntime as o
options = o.SessionOptions()
options.graph_optimization_level = o.GraphOptimizationLevel.ORT_DISABLE_ALL
s = o.InferenceSession({optimized!r}, options, providers=["CPUExecutionProvider"])
s.run(None, {{s.get_inputs()[0].name: np.load({example!r}).astype({dtype!r})}})""",
    "openvino": """
import numpy as np, openvino as v
v.Core().compile_model({onnx!r}, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})(
    [np.load({example!r}).astype({dtype!r})])""",
    "openvino cache": """
import numpy as np, openvino as v
v.Core().compile_model({onnx!r}, "CPU", {{"INFERENCE_PRECISION_HINT": "f32", "CACHE_DIR": {ov!r}}})(
    [np.load({example!r}).astype({dtype!r})])""",
}


def optimized(network: networks.Network, folder: Path) -> Path:
    """Write ONNX Runtime's optimized model file."""
    path = folder / f"{network.name}.optimized.onnx"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(str(network.onnx), options, providers=PROVIDERS)
    return path


def session(path: Path, optimize: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=PROVIDERS)


def measured(network: networks.Network, folder: Path) -> dict[str, dict[str, float]]:
    cache, fresh, ov = folder / "cache", folder / "fresh", folder / "ov"
    ready = optimized(network, folder)
    float32 = {"INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    package = network.package()
    pippin.load(package, cache=cache)
    core.compile_model(str(network.onnx), "CPU", float32 | {"CACHE_DIR": str(ov)})

    def uncached() -> None:
        shutil.rmtree(fresh, ignore_errors=True)
        pippin.load(package, cache=fresh)

    found = {
        "uncached": contest.medians(
            {
                "pippin": uncached,
                "onnxruntime": lambda: session(network.onnx, True),
                "openvino": lambda: core.compile_model(str(network.onnx), "CPU", float32),
            },
            ROUNDS,
        ),
        "cached": contest.medians(
            {
                "pippin": lambda: pippin.load(package, cache=cache),
                "onnxruntime optimized": lambda: session(ready, False),
                "openvino cache": lambda: core.compile_model(
                    str(network.onnx), "CPU", float32 | {"CACHE_DIR": str(ov)}
                ),
            },
            4 * ROUNDS,
        ),
    }
    import numpy as np

    example = folder / f"{network.name}.npy"
    np.save(example, network.example())
    words = {
        "package": str(package), "cache": str(cache), "input": network.input, "example": str(example),
        "onnx": str(network.onnx), "optimized": str(ready), "ov": str(ov),
        "dtype": "int32" if network.tokens else "float32",
    }  # fmt: skip
    programs = {name: text.format(**words) for name, text in COLD.items()}
    runs = {
        name: lambda text=text: subprocess.run([sys.executable, "-c", text], check=True, capture_output=True)
        for name, text in programs.items()
    }
    found["cold"] = contest.medians(runs, 2 * ROUNDS)
    found["engine"] = {pippin.load(package, cache=cache).engine: 0.0}
    return found


def main() -> None:
    rows = {}
    for network in networks.prepared():
        with tempfile.TemporaryDirectory() as folder:
            rows[network.name] = found = measured(network, Path(folder))
        for kind in ("uncached", "cached", "cold"):
            times = ", ".join(f"{name} {1e3 * took:.1f}" for name, took in found[kind].items())
            print(f"{network.name:13} {kind:9} ms: {times}", flush=True)
        print(f"{network.name:13} chosen    {next(iter(found['engine']))}", flush=True)

    def ratio(kind: str, against: str | None) -> str:
        ratios = []
        for found in rows.values():
            times = dict(found[kind])
            own = times.pop("pippin")
            ratios.append(own / (times[against] if against else min(times.values())))
        each = ", ".join(f"{value:.2f}" for value in ratios)
        return f"{contest.geometric_mean(ratios):.2f} ({each})"

    print(f"cached / best peer's cached load:                {ratio('cached', None)}   goal 0.90")
    print(f"cached / OpenVINO's cache:                       {ratio('cached', 'openvino cache')}")
    print(f"cold start to first prediction / best peer's:    {ratio('cold', None)}   goal 1.50")
    print(f"cold start to first prediction / OpenVINO cache: {ratio('cold', 'openvino cache')}   goal 0.80")
    print(f"uncached / OpenVINO's uncached:                  {ratio('uncached', 'openvino')}   goal 2.50")


if __name__ == "__main__":
    main()
