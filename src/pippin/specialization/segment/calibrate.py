"""Calibrate: measures the speed of this machine's units with a few small models, and caches the results on disk."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from ...engines import Engine, Settings, all_engines
from ...support.atomic_write import atomic_write
from ...support.regular_files import read_regular
from .cost_model import Unit

# Matrix side and vector length: large enough to take longer than a launch, small enough to be quick.
_WIDE = {"cpu": 384, "gpu": 2048, "neuralEngine": 1024}
_LONG = {"cpu": 1 << 20, "gpu": 1 << 22, "neuralEngine": 1 << 20}
_CHAIN = 32
_ROUNDS = 5
_MEASURED = ("arithmetic", "bandwidth", "launch", "transfer", "latency")


@dataclass(frozen=True, slots=True)
class Machine:
    """The measured units, in the order of the devices."""

    units: tuple[Unit, ...]


def machine(devices: Mapping[str, Mapping[str, str]], file: Path | None = None, processor: str = "") -> Machine:
    """Measure every engine of every device: {device kind: {engine: version}}. Each takes about 0.1 s, once.

    Times matrix products, sines of long vectors, and chains of sines of tiny vectors. The results are kept in `file` by
    `processor`, device, engine and engine version. Any process may write the file; the last write wins.
    """
    known = _read(file)
    units, names = [], []
    for kind, engines in devices.items():
        for name, version in engines.items():
            names.append(f"{processor}, {kind}, {name} {version}")
            units.append(known.get(names[-1]) or _unit(name, kind))
    measured = dict(zip(names, units, strict=True))
    if file is not None and not measured.keys() <= known.keys():
        _write(file, known | measured)
    return Machine(tuple(units))


def _read(file: Path | None) -> dict[str, Unit]:
    """The stored units; none if the file is missing or invalid, since measuring again is cheap."""
    if file is None:
        return {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        units = {name: Unit(**fields) for name, fields in json.loads(read_regular(file)).items()}
        numbers = [getattr(unit, name) for unit in units.values() for name in _MEASURED]
        if all(isinstance(number, float) and 0 < number < float("inf") for number in numbers):
            return units
    return {}


def _write(file: Path, units: Mapping[str, Unit]) -> None:
    with suppress(OSError), atomic_write(file) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps({name: asdict(unit) for name, unit in units.items()}), encoding="utf-8")


@cache
def _unit(name: str, device: str) -> Unit:
    engine, wide, length = all_engines()[name], _WIDE[device], _LONG[device]

    def seconds(kind: str, shape: tuple[int, ...], count: int = 1) -> float:
        return _seconds(engine, Settings(device=device), _chain(kind, shape, count), shape)

    def per_operation(kind: str, shape: tuple[int, ...], once: float) -> float:
        """Seconds of one more operation in a chain, which adds no transfers."""
        return (seconds(kind, shape, _CHAIN) - once) / (_CHAIN - 1)

    one, long, product = seconds("Sin", (4,)), seconds("Sin", (length,)), seconds("MatMul", (wide, wide))
    launch = max(per_operation("Sin", (4,), one), 1e-8)
    moved = 2 * 4 * length
    if device == "cpu":  # a chain would be fused into one pass over memory
        bandwidth = transfer = moved / max(long - one, 1e-6)
    else:
        product, passed = per_operation("MatMul", (wide, wide), product), per_operation("Sin", (length,), long)
        bandwidth = moved / max(passed - launch, 1e-6)
        transfer = moved / max(long - one - passed, 1e-6)
    return Unit(
        engine.name,
        device,
        arithmetic=wide**3 / max(product - (one if device == "cpu" else launch), 1e-7),
        bandwidth=bandwidth,
        launch=launch,
        transfer=transfer,
        latency=max(one - launch, 1e-7),
    )


def _chain(kind: str, shape: tuple[int, ...], count: int) -> bytes:
    """A model of `count` operations in sequence; a MatMul multiplies its input by itself."""
    inputs = 2 if kind == "MatMul" else 1
    values = ["x", *(f"v{number}" for number in range(1, count)), "y"]
    nodes = [helper.make_node(kind, [before] * inputs, [after]) for before, after in pairwise(values)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "calibration", ports[:1], ports[1:])
    return bytes(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    )


def _seconds(engine: Engine, settings: Settings, model: bytes, shape: tuple[int, ...]) -> float:
    # These values are a fixed point of the products.
    compiled, x = engine.compile(model, settings), np.full(shape, 1 / shape[0], np.float32)
    return median_seconds(lambda: compiled.run({"x": x}), _ROUNDS)


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of `rounds` runs after a warm-up run."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
