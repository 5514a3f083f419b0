"""Real network: benchmarks single predictions of the published Core ML SqueezeNet against the bare engines.

python bench/real_network.py [ROUNDS]    (make bench-latency)

The peers run the graph written by `pippin export` with their default thread count or one, whichever is faster; all
compute in float32. Pippin loads with the strategy "fast_prediction", anew for each contest, because a shared machine
may be in a different state when Pippin measures its candidates. All take a picture and return a label and a dictionary
of 1,000 probabilities; the peers convert with one line of numpy before and one of Python after. Goal: at least 0.95 of
the best peer's speed. Exit status 1 if missed.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import contest
import numpy as np
import onnxruntime
import openvino

import pippin
from pippin.format.asset import open_asset
from pippin.lowering.external_data import whole
from pippin.specialization.specializer import lower_function

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 7
LOADS = 5
GOAL = 0.95
FOLDER = Path(os.environ.get("PIPPIN_SHARED_MODELS") or Path(__file__).parents[2] / "shared" / "models")
NETWORK = FOLDER / "network" / "squeezenet-fp16.mlmodel"


def peers(graph: bytes, picture: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    calls: dict[str, Any] = {}

    def taken() -> np.ndarray:
        return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)

    def given(results: Any) -> tuple[str, dict[str, float]]:
        scores = results[0].ravel()
        return classes[int(scores.argmax())], dict(zip(classes, scores.tolist(), strict=True))

    for threads in (0, 1):
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, threads
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        calls[f"onnxruntime/{threads}"] = lambda s=session, n=name: given(s.run(None, {n: taken()}))
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        core = openvino.Core()
        request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
        calls[f"openvino/{threads}"] = lambda r=request: given(
            r.infer([taken()], share_inputs=True, share_outputs=True)
        )
    return calls


def loaded_and_timed() -> tuple[float, str]:
    """Best peer's time divided by Pippin's, and a description of the times."""
    picture = np.random.default_rng(0).integers(0, 256, (227, 227, 3), np.uint8)
    model = pippin.load(NETWORK, pippin.Configuration(hints=pippin.Hints("fast_prediction")), cache=False)
    lowered = lower_function(open_asset(NETWORK), pippin.Configuration())
    calls = peers(whole(lowered.model).SerializeToString(), picture, model.description.class_labels or ())
    times = contest.medians({"pippin": lambda: model.predict({"image": picture}), **calls}, ROUNDS, 5)
    listed = ", ".join(f"{name} {1e3 * took:.2f}" for name, took in sorted(times.items(), key=lambda item: item[1]))
    chosen = model.compute_plan.segments[0]
    best = min(took for name, took in times.items() if name != "pippin")
    return best / times["pippin"], f"ms: {listed}; chosen: {chosen.engine}, {chosen.threads or 'default'} threads"


def main() -> int:
    if not NETWORK.exists():
        raise SystemExit(f"{NETWORK} does not exist; set PIPPIN_SHARED_MODELS to the folder of models")
    ratios = []
    for _ in range(LOADS):
        ratio, found = loaded_and_timed()
        ratios.append(ratio)
        print(f"{ratio:.2f}   {found}", flush=True)
    ratio = statistics.median(ratios)
    print(f"best peer / pippin {ratio:.2f} (median of {LOADS} loads)   goal {GOAL}")
    return int(ratio < GOAL)


if __name__ == "__main__":
    sys.exit(main())
