"""Measure: times loads and predictions with an injected clock. In: model files. Out: a `Report`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import TYPE_CHECKING, Any

from .. import trace
from ..configuration import Configuration
from ..errors import UnsupportedError
from ..runtime.model import Model, load
from ..specialization.sample_inputs import example_features
from .memory import resident
from .performance_report import Report
from .results import Numerics, Operation, Result, Statistics

if TYPE_CHECKING:
    from ..specialization.compute_plan import ComputePlan

Clock = Callable[[], float]
Tell = Callable[[str, float], object]

_IN_FLIGHT = (1, 2, 4, 8)
_MOST_AT_ONCE = 50_000


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure."""

    seconds: float = 2.0
    """Seconds of predictions; the throughput takes as long again."""
    least: int = 5
    most: int = 2000
    """Bounds on the number of predictions."""
    cached: int = 5
    uncached: int = 3
    memory: bool = True
    """Whether to measure memory in a child process."""


def measure_all(
    models: Sequence[str | os.PathLike[str]],
    configurations: Sequence[Configuration],
    inputs: Mapping[str, Any] | None,
    effort: Effort,
    progress: Tell | None = None,
    clock: Clock = time.perf_counter,
) -> Report:
    """Measure each model in each configuration. Raises what loads and predictions raise."""
    rows = [(Path(model), configuration) for model in models for configuration in configurations]
    results = []
    for number, (model, configuration) in enumerate(rows):

        def tell(what: str, share: float, number: int = number, name: str = model.name) -> None:
            if progress is not None:
                progress(f"{name}: {what}", (number + share) / len(rows))

        results.append(measure(model, configuration, inputs, effort, tell, clock))
    if progress is not None:
        progress("done", 1.0)
    return Report(tuple(results), machine())


def measure(
    path: Path,
    configuration: Configuration,
    inputs: Mapping[str, Any] | None,
    effort: Effort,
    tell: Tell,
    clock: Clock = time.perf_counter,
) -> Result:
    """Measure one model in one configuration, with a private cache."""
    with tempfile.TemporaryDirectory(prefix="pippin-report-") as folder:
        cache = Path(folder) / "cache"
        tell("specialize", 0.0)
        with load(path, configuration, cache=cache) as first:  # warm-up: the first load also imports the engines
            first.specialized.wait()
        tell("load, uncached", 0.1)
        uncached, compilation, plan = _uncached(path, configuration, Path(folder), effort.uncached, clock)
        tell("load, cached", 0.3)
        cached = _cached(path, configuration, cache, effort.cached, clock)
        with load(path, configuration, cache=cache) as model:
            function = model.description.function(model.function_name)
            features = dict(inputs) if inputs is not None else example_features(function)
            tell("predictions", 0.4)
            prediction = timed(predictor(model, features), effort, clock)
            tell("throughput", 0.6)
            rates = throughput(model, features, prediction.median, effort.seconds, clock)
            tell("operations", 0.8)
            operations, unnamed = _operations(model, features, prediction.median)
            kind, engine, name = model.description.kind, model.engine, model.function_name
        tell("memory", 0.9)
        memory = resident(path, configuration, cache, features) if effort.memory else None
    return Result(
        model=path.name,
        configuration=described(configuration),
        function=name,
        kind=kind,
        engine=engine,
        size=_size(path),
        prediction=prediction,
        load_cached=cached,
        load_uncached=uncached,
        compilation=compilation,
        stages=dict(plan.stages),
        operations=operations,
        unnamed=unnamed,
        throughput=rates,
        memory=memory,
        numerics=_numerics(plan),
        candidates=tuple(f"{one}: {one.note or 'chosen'}{one.held and f' ({one.held})'}" for one in plan.candidates),
    )


def predictor(model: Model, features: Mapping[str, Any]) -> Callable[[], object]:
    """A function that predicts, with its own state if the model is stateful."""
    function = model.description.function(model.function_name)
    if not function.states:
        return partial(model.predict, features)
    return partial(model.predict, features, state=model.make_state())


def timed(call: Callable[[], object], effort: Effort, clock: Clock) -> Statistics:
    """Call and time until the time is up. The first call counts too."""
    times: list[float] = []
    begun = clock()
    while len(times) < effort.least or (clock() - begun < effort.seconds and len(times) < effort.most):
        before = clock()
        call()
        times.append(clock() - before)
    return Statistics.of(times)


def throughput(
    model: Model, features: Mapping[str, Any], median: float, seconds: float, clock: Clock
) -> dict[str, float]:
    """Predictions per second by number of threads, each with one prediction in flight."""
    whole = max(4, min(_MOST_AT_ONCE, int(seconds / len(_IN_FLIGHT) / max(median, 1e-7))))
    return {str(count): _rate(model, features, count, max(1, whole // count), clock) for count in _IN_FLIGHT}


def _rate(model: Model, features: Mapping[str, Any], count: int, rounds: int, clock: Clock) -> float:
    """Start `count` threads simultaneously; each predicts `rounds` times."""
    started: list[float] = []
    begin = Barrier(count, lambda: started.append(clock()))

    def work(call: Callable[[], object]) -> None:
        try:
            call()  # warm-up: the first call of a thread allocates what it needs
        except BaseException:
            begin.abort()
            raise
        begin.wait()
        for _ in range(rounds):
            call()

    with ThreadPoolExecutor(count) as pool:
        working = [pool.submit(work, predictor(model, features)) for _ in range(count)]
        wait(working)
        took = clock() - started[0] if started else 0.0
        for future in working:
            with suppress(BrokenBarrierError):  # the thread that failed raises the reason
                future.result()
    return count * rounds / took if took > 0 else 0.0


def _uncached(
    path: Path, configuration: Configuration, folder: Path, count: int, clock: Clock
) -> tuple[Statistics, Statistics | None, ComputePlan]:
    times, compiled = [], []
    for number in range(count):
        before = clock()
        model = load(path, configuration, cache=folder / f"uncached{number}")
        times.append(clock() - before)
        plan = model.compute_plan
        model.close()
        if "compile" in plan.stages:
            compiled.append(plan.stages["compile"])
    return Statistics.of(times), Statistics.of(compiled) if compiled else None, plan


def _cached(path: Path, configuration: Configuration, cache: Path, count: int, clock: Clock) -> Statistics | None:
    """None if the model cannot be cached."""
    times = []
    for _ in range(count):
        before = clock()
        model = load(path, configuration, cache=cache)
        took = clock() - before
        if model.load_label == "cached":
            times.append(took)
        model.close()
    return Statistics.of(times) if times else None


def _operations(model: Model, features: Mapping[str, Any], median: float) -> tuple[tuple[Operation, ...], float | None]:
    call = predictor(model, features)
    with trace.record(sample=0) as recorded:
        call()
    ran = {event.details["segment"]: event.details["device"] for event in recorded.events if event.name == "compute"}
    try:
        plan = model.measured_plan(features)
    except UnsupportedError:  # Python code, or inputs that cannot be generated
        plan = model.compute_plan
    rows = tuple(
        Operation(
            op.name, op.kind, op.segment, op.engine, op.device, ran.get(op.segment, ""), op.cost, op.cost * median,
            plan.measured.get(op.name), tuple(op.supported), dict(op.reasons), plan.fused.get(op.name, ""),
        )
        for op in plan.operations
        if op.device
    )  # fmt: skip
    return rows, plan.measured.get("") if plan.measured else None


def _numerics(plan: ComputePlan) -> Numerics:
    chosen = [one for one in plan.candidates if not one.note]
    noise = {name: value for one in chosen for name, value in one.signal_to_noise.items()}
    used = "+".join(dict.fromkeys(segment.precision for segment in plan.segments))
    return Numerics(used, plan.precision, noise)


def described(configuration: Configuration) -> str:
    """The non-default settings of a configuration, human-readable."""
    default = Configuration()
    found = [configuration.function_name] if configuration.function_name else []
    if configuration.compute_units is not default.compute_units:
        found.append(configuration.compute_units.name)
    found += [
        str(getattr(configuration, name))
        for name in ("precision", "engine")
        if getattr(configuration, name) != getattr(default, name)
    ]
    if configuration.threads is not None:
        found.append(f"{configuration.threads} threads")
    if configuration.hints.specialization_strategy != default.hints.specialization_strategy:
        found.append(configuration.hints.specialization_strategy)
    return ", ".join(found)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def machine() -> dict[str, str]:
    """The machine and the versions that a report was measured with."""
    import platform

    from ..devices.detect import available_compute_devices
    from ..engines import all_engines
    from ..version import __version__

    devices = available_compute_devices()
    engines = ", ".join(f"{name} {engine.version}" for name, engine in all_engines().items() if engine.installed)
    return {
        "measured": time.strftime("%Y-%m-%d %H:%M %Z"),
        "devices": ", ".join(f"{d.name} ({d.cores} cores)" if d.cores else d.name for d in devices),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "pippin": __version__,
        "engines": engines,
    }
