"""Report agreement: checks the figures of `pippin.report` against a stopwatch around its calls and a plain loop.

python bench/report_agreement.py [ROUNDS] [NETWORK ...]    (make bench-report)

The stopwatch wraps `pippin.load` and `Model.predict` while a report calls them and uses a different clock. The loop
predicts with the same model and inputs, alternating with the report's own measurement. Prints medians over the rounds;
the goal is agreement within 5 %. The overhead of the stopwatch is part of the report's figures of short predictions.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest import mock

import networks

import pippin
from pippin.reporting.measure import Effort, measure, predictor, timed
from pippin.specialization.sample_inputs import example_features

ROUNDS = next((int(a) for a in sys.argv[1:] if a.isdecimal()), 5)
NAMES = [a for a in sys.argv[1:] if not a.isdecimal()] or ["mlp", "mobilenet_v2"]
EFFORT = Effort(1.5, memory=False)
HOW = pippin.Configuration(engine="onnxruntime")


def watched(path: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Medians of a report, and of the stopwatch around its calls."""
    times: dict[str, list[float]] = defaultdict(list)
    predict, load = pippin.Model.predict, pippin.load

    def watched_predict(*arguments, **how):
        before = time.monotonic_ns()
        found = predict(*arguments, **how)
        times["prediction"].append((time.monotonic_ns() - before) * 1e-9)
        return found

    def watched_load(*arguments, **how):
        before = time.monotonic_ns()
        model = load(*arguments, **how)
        took = time.monotonic_ns() - before
        times[f"load, {'cached' if model.load_label == 'cached' else 'uncached'}"].append(took * 1e-9)
        return model

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(pippin.Model, "predict", watched_predict))
        stack.enter_context(mock.patch("pippin.reporting.measure.load", watched_load))
        result = measure(path, HOW, None, EFFORT, lambda what, share: None)
    found = {
        "prediction": result.prediction,
        "load, cached": result.load_cached,
        "load, uncached": result.load_uncached,
    }
    own = {
        "prediction": times["prediction"][: len(result.prediction.values)],
        "load, cached": times["load, cached"][: EFFORT.cached],
        "load, uncached": times["load, uncached"][1 : 1 + EFFORT.uncached],  # the first one fills the cache
    }
    return {name: one.median for name, one in found.items()}, {n: statistics.median(t) for n, t in own.items()}


def looped(call: Callable[[], object]) -> float:
    """Median time of a plain loop."""
    times, end = [], time.perf_counter() + EFFORT.seconds
    while time.perf_counter() < end and len(times) < EFFORT.most:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    for network in networks.prepared(*NAMES):
        path = network.package("float32")
        rounds = [watched(path) for _ in range(ROUNDS)]
        for name in rounds[0][0]:
            report, own = (statistics.median(row[side][name] for row in rounds) for side in (0, 1))
            told(network.name, name, report, own, "stopwatch around the same calls")
        with pippin.load(path, HOW, cache=False) as model:
            features = example_features(model.description.function())
            turns = []
            for number in range(2 * ROUNDS):
                pair = {}
                for which in ("report", "loop") if number % 2 else ("loop", "report"):
                    if which == "loop":
                        pair[which] = looped(partial(model.predict, features))
                    else:
                        pair[which] = timed(predictor(model, features), EFFORT, time.perf_counter).median
                turns.append(pair)
        report, loop = (statistics.median(pair[which] for pair in turns) for which in ("report", "loop"))
        told(network.name, "prediction", report, loop, "plain loop")


def told(network: str, name: str, report: float, other: float, what: str) -> None:
    times = f"report {report * 1e3:8.3f} ms, {what} {other * 1e3:8.3f} ms"
    print(f"{network:13} {name:15} {times}: {report / other - 1:+.1%}", flush=True)


if __name__ == "__main__":
    main()
