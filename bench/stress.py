"""Stress: runs 200,000 predictions from 32 tasks and 8 threads on models of several sizes. A third are cancelled at
random times, some have invalid input. Every result is checked, counters must add up, resident memory must stay flat.

python bench/stress.py [PREDICTIONS] [SEED]    (make stress; the test suite runs a short version)
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import pippin
from pippin.errors import FeatureShapeError, PredictionCancelled

TASKS, THREADS = 32, 8
SIZES = (8, 64, 256)  # of square matrices; the largest takes a few milliseconds
_OFTEN = (80, 19, 1)  # relative frequency of each size
CANCELLED, BAD = 0.45, 0.05  # some complete before they are cancelled, so about a third end cancelled
DEEP = 6


def models(folder: Path) -> list[pippin.Model]:
    """Models that multiply x by a permutation matrix six times and add one: exact in any summation order."""
    from coremltools.converters.mil.mil import Builder as mb

    import coremltools as ct

    def package(size: int) -> Any:
        matrix = np.eye(size, dtype=np.float32)[::-1].copy()

        @mb.program(input_specs=[mb.TensorSpec((size, size))], opset_version=ct.target.iOS17)
        def program(x):
            for _ in range(DEEP):
                x = mb.matmul(x=x, y=matrix)
            return mb.add(x=x, y=1.0, name="y")

        return program

    made = []
    for size in SIZES:
        path = folder / f"{size}.mlpackage"
        ct.convert(
            package(size),
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT32,
        ).save(str(path))
        flow = pippin.FlowControl(max_in_flight=2 + len(made))
        made.append(pippin.load(path, pippin.Configuration(precision="float32"), cache=False, flow=flow))
    return made


@dataclass
class Found:
    """Outcomes seen by one caller."""

    right: int = 0
    cancelled: int = 0
    bad: int = 0
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: Found) -> Found:
        return Found(
            self.right + other.right, self.cancelled + other.cancelled, self.bad + other.bad, self.wrong + other.wrong
        )

    @property
    def all(self) -> int:
        return self.right + self.cancelled + self.bad + len(self.wrong)


class Chance:
    """Seeded choice of predictions for one caller."""

    def __init__(self, seed: int, models: list[pippin.Model]) -> None:
        self._random = random.Random(seed)
        self._models = models

    def next(self) -> tuple[pippin.Model, dict[str, np.ndarray], bool, float | None]:
        """(model, features, whether the features are invalid, seconds until cancellation or None)"""
        (number,) = self._random.choices(range(len(SIZES)), _OFTEN)
        size, bad = SIZES[number], self._random.random() < BAD
        value = float(self._random.randrange(1000))
        x = np.full((1, 1) if bad else (size, size), value, np.float32)
        after = self._random.choice((0.0, 1e-5, 1e-4, 1e-3, 1e-2)) * self._random.random()
        return self._models[number], {"x": x}, bad, after if self._random.random() < CANCELLED else None


def check(found: Found, outputs: dict[str, Any], features: dict[str, np.ndarray], bad: bool) -> None:
    if bad or not np.array_equal(outputs["y"], features["x"] + 1):
        found.wrong.append(f"{features['x'].flat[0]} gave {outputs['y'].flat[0]}")
    else:
        found.right += 1


def thread(chance: Chance, more: Callable[[], bool], found: Found, timers: Timers) -> None:
    while more():
        model, features, bad, after = chance.next()
        cancellation = pippin.Cancellation()
        if after is not None:
            timers.call(after, cancellation.cancel)
        try:
            check(found, model.predict(features, cancellation=cancellation), features, bad)
        except PredictionCancelled:
            found.cancelled += 1
        except FeatureShapeError:
            found.bad += 1
        except Exception as error:
            found.wrong.append(repr(error))


async def task(chance: Chance, more: Callable[[], bool], found: Found) -> None:
    loop = asyncio.get_running_loop()
    while more():
        model, features, bad, after = chance.next()
        prediction = asyncio.ensure_future(model.predict_async(features))
        handle = loop.call_later(after, prediction.cancel) if after is not None else None
        try:
            check(found, await prediction, features, bad)
        except asyncio.CancelledError:
            found.cancelled += 1
        except FeatureShapeError:
            found.bad += 1
        except Exception as error:
            found.wrong.append(repr(error))
        if handle is not None:
            handle.cancel()


class Timers:
    """One thread that performs the cancellations of all callers."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def call(self, after: float, what: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(self._loop.call_later, after, what)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def resident() -> float:
    """Resident memory in megabytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def run(predictions: int, seed: int, watch: Callable[[int], object] = lambda done: None) -> tuple[Found, list[str]]:
    """Combined outcomes of the callers, and the list of errors."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = models(Path(folder))
    begun, lock = [0], threading.Lock()

    def more() -> bool:
        with lock:
            begun[0] += 1
            number = begun[0]
        watch(number)
        return number <= predictions

    founds = [Found() for _ in range(TASKS + THREADS)]
    chances = [Chance(seed * 1000 + number, loaded) for number in range(TASKS + THREADS)]
    timers = Timers()
    numbers = range(TASKS, TASKS + THREADS)
    pool = [threading.Thread(target=thread, args=(chances[n], more, founds[n], timers)) for n in numbers]
    for each in pool:
        each.start()

    async def tasks() -> None:
        await asyncio.gather(*(task(chances[n], more, founds[n]) for n in range(TASKS)))

    asyncio.run(tasks())
    for each in pool:
        each.join()
    timers.close()
    found = sum(founds, Found())
    wrong = [*found.wrong]
    if found.all != predictions:
        wrong.append(f"{predictions} predictions requested, {found.all} finished")
    submitted = completed = 0
    for model, size in zip(loaded, SIZES, strict=True):
        with contextlib.suppress(PredictionCancelled):  # waits for predictions cancelled while running
            for _ in range(8):
                outputs = model.predict({"x": np.zeros((size, size), np.float32)}, timeout=60)
                if not (outputs["y"] == 1).all():
                    wrong.append(f"after the run, the model of size {size} returns {outputs['y']}")
        now = model.statistics()
        ends = now.completed + now.failed + now.cancelled + now.dropped + now.rejected
        if ends != now.submitted - now.in_flight - now.waiting or now.waiting or now.in_flight or now.bytes_held:
            wrong.append(f"counters of the model of size {size} do not add up: {now}")
        submitted, completed = submitted + now.submitted - 8, completed + now.completed - 8
    # A task may be cancelled before it submits its prediction, and a prediction may complete before it is cancelled.
    if not found.right <= completed <= submitted <= predictions:
        wrong.append(f"{found.right} right, {completed} completed, {submitted} submitted, {predictions} requested")
    return found, wrong


def main() -> None:
    predictions = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    memory: list[float] = []

    def watch(done: int) -> None:
        if done % max(predictions // 40, 1) == 0:
            gc.collect()
            memory.append(resident())

    started = time.perf_counter()
    found, wrong = run(predictions, seed, watch)
    took = time.perf_counter() - started
    half = memory[len(memory) // 2 : 40]
    growth = (max(half) - min(half)) / min(half)
    print(f"{predictions} predictions in {took:.0f} s: {found.right} right, {found.cancelled} cancelled,"
          f" {found.bad} invalid, {len(found.wrong)} wrong")  # fmt: skip
    print(f"resident memory over the last half: {min(half):.1f} to {max(half):.1f} MB, {growth:.2%}   goal within 2 %")
    if wrong or growth > 0.02:
        raise SystemExit("\n".join(wrong[:20]) or "memory is not flat")


if __name__ == "__main__":
    main()
