"""Trace cost: measures the overhead of tracing per prediction when not recording, and per event when recording.

python bench/trace_cost.py [ROUNDS]    (make bench-trace)

Runs the benchmark MLP on ONNX Runtime with one thread. Off: `Session.run` against a copy without the tracing code,
alternating, medians of batches; "bare again" shows the noise. On: predictions under `pippin.trace.record`, divided by
the four events of each. Then the same with an engine that takes no time, to expose small overheads.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

import networks
import numpy as np

import pippin
from pippin.runtime.session import Session

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 400
BATCH = 50
EVENTS = 4
"""Events per prediction: prediction, input copy, compute, output transformation."""


class Bare(Session):
    """Session without tracing code."""

    def run(self, features, state=None, stop=None, backings=None):
        arrays = self._compiled.run(self._encode(features), stop)
        return {name: decode(arrays) for name, decode in self._decoders.items()}


class Nothing:
    """Engine that takes no time."""

    def __init__(self, outputs):
        self.outputs = outputs

    def run(self, inputs, stop=None, into=None):
        return self.outputs


def batch(call: Callable[[], object]) -> float:
    call()
    started = time.perf_counter()
    for _ in range(BATCH):
        call()
    return (time.perf_counter() - started) / BATCH


def medians(contestants: dict[str, tuple[Callable[[], object], Callable[[], object], bool]]) -> dict[str, float]:
    """Median seconds per call by name. A contestant is (prepare, call, whether to record)."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(ROUNDS):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            prepare, call, recorded = contestants[name]
            prepare()
            with pippin.trace.record(sample=0) if recorded else nullcontext():
                times[name].append(batch(call))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    (network,) = networks.prepared("mlp")
    features = {"x": network.example().astype(np.float32)}
    how = pippin.Configuration(engine="onnxruntime", threads=1)
    model = pippin.load(network.package("float32"), how, cache=False)
    session = model._session

    def as_(kind: type[Session]) -> Callable[[], object]:
        return lambda: setattr(session, "__class__", kind)

    def predict() -> object:
        return model.predict(features)

    rows = {
        "bare": (as_(Bare), predict, False),
        "bare again": (as_(Bare), predict, False),
        "off": (as_(Session), predict, False),
        "on": (as_(Session), predict, True),
    }
    times = medians(rows)
    for name, took in times.items():
        print(f"{name:11} {took * 1e6:7.3f} us per prediction   {(took - times['bare']) * 1e9:+6.0f} ns against bare")
    print(f"on: {(times['on'] - times['off']) / EVENTS * 1e9:.0f} ns per event, {EVENTS} events per prediction")

    session._compiled = Nothing(session._compiled.run(features))
    times = medians(rows)
    print("with an engine that takes no time:")
    for name, took in times.items():
        print(f"{name:11} {took * 1e6:7.3f} us per prediction   {(took - times['bare']) * 1e9:+6.0f} ns against bare")
    print(f"on: {(times['on'] - times['off']) / EVENTS * 1e9:.0f} ns per event")

    def span() -> None:
        with pippin.trace.span("a stage"):
            pass

    for name, call in (("span", span), ("counter", lambda: pippin.trace.counter("c", 1))):
        times = medians({"off": (int, call, False), "on": (int, call, True)})
        print(f"pippin.trace.{name}: off {times['off'] * 1e9:.0f} ns, on {times['on'] * 1e9:.0f} ns per event")


if __name__ == "__main__":
    main()
