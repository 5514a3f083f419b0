"""Threads: benchmarks two models predicting concurrently through coremltools, one thread each, against one model alone.

PIPPIN_THREADS=1 python bench/threads.py [PREDICTIONS]

Each prediction uses one thread, so two predictions can have a core each. Rounds of both contestants alternate. The
ratio of their medians shows the overlap: 1 is fully parallel, 2 is serial.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from threading import Barrier, Thread

os.environ.setdefault("PIPPIN_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import pippin.coremltools  # noqa: F401, I001  installs itself on import, so it must come first
import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder as mb

PREDICTIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
ROUNDS = 7
random = np.random.default_rng(0)


def convolutions() -> ct.models.MLModel:
    weights = [random.standard_normal((64, 64, 3, 3)).astype(np.float32) / 24 for _ in range(4)]

    @mb.program(input_specs=[mb.TensorSpec((1, 64, 56, 56))])
    def program(x):
        for weight in weights:
            x = mb.relu(x=mb.conv(x=x, weight=weight, pad_type="same"))
        return x

    return ct.convert(program, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32)


def seconds(models: list[ct.models.MLModel], x: np.ndarray) -> float:
    """Seconds until all models have finished their predictions, running concurrently."""
    ready = Barrier(len(models) + 1)

    def work(model: ct.models.MLModel) -> None:
        ready.wait()
        for _ in range(PREDICTIONS):
            model.predict({"x": x})

    threads = [Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    ready.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started


def main() -> None:
    models = [convolutions(), convolutions()]
    x = random.standard_normal((1, 64, 56, 56)).astype(np.float32)
    seconds(models, x)
    one, two = [], []
    for _ in range(ROUNDS):
        one.append(seconds(models[:1], x))
        two.append(seconds(models, x))
    alone, together = statistics.median(one), statistics.median(two)
    print(f"cores {os.cpu_count()}, threads per prediction {os.environ['PIPPIN_THREADS']}")
    print(f"one model            {1e3 * alone / PREDICTIONS:8.2f} ms per prediction")
    print(f"two models           {1e3 * together / PREDICTIONS:8.2f} ms per pair of predictions")
    print(f"ratio                {together / alone:8.2f}")


main()
