"""Real network: SqueezeNet as it was published for Core ML, one prediction at a time, against the engines themselves.

python bench/real_network.py [ROUNDS]    (make bench-latency)

The peers run the graph that `pippin export` writes, at the better of their own number of threads and one; OpenVINO in
float32, as everyone. Pippin loads with the strategy "fast_prediction"; it is given a picture and gives a label with a
dictionary of 1,000 probabilities, where they are given the array and give one. Goal: not slower than 0.95 of the best. Exit status 1 where it is.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import contest
import numpy as np
import onnxruntime
import openvino

import pippin
from pippin.format.asset import open_asset
from pippin.specialization.specializer import lower_function

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 7
GOAL = 0.95
FOLDER = Path(os.environ.get("PIPPIN_SHARED_MODELS") or Path(__file__).parents[2] / "shared" / "models")
NETWORK = FOLDER / "network" / "squeezenet-fp16.mlmodel"


def peers(graph: bytes, x: np.ndarray) -> dict[str, Any]:
    calls: dict[str, Any] = {}
    for threads in (0, 1):
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, threads
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        calls[f"onnxruntime/{threads}"] = lambda s=session, n=name: s.run(None, {n: x})
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        core = openvino.Core()
        request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
        calls[f"openvino/{threads}"] = lambda r=request: r.infer([x], share_inputs=True, share_outputs=True)
    return calls


def main() -> int:
    if not NETWORK.exists():
        raise SystemExit(f"{NETWORK} is not there (set PIPPIN_SHARED_MODELS)")
    picture = np.random.default_rng(0).integers(0, 256, (227, 227, 3), np.uint8)
    model = pippin.load(NETWORK, pippin.Configuration(hints=pippin.Hints("fast_prediction")), cache=False)
    lowered = lower_function(open_asset(NETWORK), pippin.Configuration())
    x = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
    calls = peers(lowered.model.SerializeToString(), x)
    times = contest.medians({"pippin": lambda: model.predict({"image": picture}), **calls}, ROUNDS, 5)
    best = min((name for name in times if name != "pippin"), key=times.__getitem__)
    ratio = times[best] / times["pippin"]
    for name, seconds in sorted(times.items(), key=lambda item: item[1]):
        print(f"{name:16} {1e3 * seconds:8.3f} ms")
    chosen = model.compute_plan.segments[0]
    print(f"pippin ({chosen.engine}, {chosen.threads or 'its own'} threads) is {ratio:.3f} of {best}; goal {GOAL}")
    return int(ratio < GOAL)


if __name__ == "__main__":
    sys.exit(main())
