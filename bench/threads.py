"""Threads: two models, each predicting in a thread of its own through coremltools, against one of them alone.

PIPPIN_THREADS=1 python bench/threads.py [PREDICTIONS]

A prediction gets one thread here, so that two of them have a core each. Rounds of both contestants alternate; the
ratio of their medians says how far the predictions overlap: 1 is side by side, 2 is one after the other.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from threading import Barrier, Thread

os.environ.setdefault("PIPPIN_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import pippin.coremltools  # noqa: F401, I001  installs itself, and so stands first
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
    """Until each of the models has predicted, all at once."""
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
    print(f"cores {os.cpu_count()}, threads of a prediction {os.environ['PIPPIN_THREADS']}")
    print(f"one model alone      {1e3 * alone / PREDICTIONS:8.2f} ms a prediction")
    print(f"two models at once   {1e3 * together / PREDICTIONS:8.2f} ms for one of each")
    print(f"ratio                {together / alone:8.2f}")


main()
