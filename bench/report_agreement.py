"""Report agreement: the figures of `pippin.report` against a stopwatch around the same calls, in turns.

python bench/report_agreement.py [ROUNDS] [NETWORK ...]    (make bench-report)

A round is a report and then, or before it, the stopwatch: predictions for as long with the same inputs, loads from a
cache of its own, uncached and cached. Medians over the rounds; the goal is 5 % for the prediction and the cached load.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import networks

import pippin
from pippin.reporting.measure import Effort, measure
from pippin.specialization.inputs import example_features

ROUNDS = next((int(a) for a in sys.argv[1:] if a.isdecimal()), 5)
NAMES = [a for a in sys.argv[1:] if not a.isdecimal()] or ["mlp", "mobilenet_v2"]
SECONDS = 1.5
HOW = pippin.Configuration(engine="onnxruntime")
LOADS = 5


def stopwatch(path: Path) -> dict[str, float]:
    """Medians of a simple loop."""
    found: dict[str, list[float]] = {"prediction": [], "load, cached": [], "load, uncached": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(3):
            found["load, uncached"].append(taken(lambda n=number: pippin.load(path, HOW, cache=Path(folder) / str(n))))
        for _ in range(LOADS):
            found["load, cached"].append(taken(lambda: pippin.load(path, HOW, cache=Path(folder) / "0")))
        model = pippin.load(path, HOW, cache=Path(folder) / "0")
        features = example_features(model.description.function())
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end and len(found["prediction"]) < 2000:
            found["prediction"].append(taken(lambda: model.predict(features)))
    return {name: statistics.median(times) for name, times in found.items()}


def taken(call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def reported(path: Path) -> dict[str, float]:
    effort = Effort(SECONDS, cached=LOADS, memory=False)
    result = measure(path, HOW, None, effort, lambda what, share: None)
    assert result.load_cached is not None
    return {
        "prediction": result.prediction.median,
        "load, cached": result.load_cached.median,
        "load, uncached": result.load_uncached.median,
    }


def main() -> None:
    for network in networks.prepared(*NAMES):
        path = network.package("float32")
        pippin.load(path, HOW, cache=False).close()
        rounds = []
        for number in range(ROUNDS):
            if number % 2:
                own = stopwatch(path)
                rounds.append((reported(path), own))
            else:
                rounds.append((reported(path), stopwatch(path)))
        for name in ("prediction", "load, cached", "load, uncached"):
            report, own = (statistics.median(row[side][name] for row in rounds) for side in (0, 1))
            print(f"{network.name:13} {name:15} report {report * 1e3:8.3f} ms, stopwatch {own * 1e3:8.3f} ms:"
                  f" {report / own - 1:+.1%}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
