"""Calibrate: how fast the units of this machine are, by a few small measurements that are kept on disk."""

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

from ..engines import Engine, Settings, all_engines
from ..support.atomic_write import atomic_write
from .cost_model import Unit

# The side of a product and the length of a vector: they must take longer than a launch, and no long time.
_WIDE = {"cpu": 384, "gpu": 2048, "neuralEngine": 1024}
_LONG = {"cpu": 1 << 20, "gpu": 1 << 22, "neuralEngine": 1 << 20}
_CHAIN = 32
_ROUNDS = 5
_MEASURED = ("arithmetic", "bandwidth", "launch", "transfer", "latency")


@dataclass(frozen=True, slots=True)
class Machine:
    """The measured units: those of the CPU first."""

    units: tuple[Unit, ...]


def machine(devices: Mapping[str, Mapping[str, str]], kept: Path | None = None, processor: str = "") -> Machine:
    """Measure every engine of every device: {device kind: {engine: version}}. Takes about 0.1 s for each, once.

    Products of two matrices, sines of long vectors, and a chain of sines of tiny ones are timed. What was
    measured is kept in the file `kept`, for the `processor` and the version of the engine; any process may write it,
    and the last one counts.
    """
    known = _read(kept)
    units, names = [], []
    for kind, engines in devices.items():
        for name, version in engines.items():
            names.append(f"{processor}, {kind}, {name} {version}")
            units.append(known.get(names[-1]) or _unit(name, kind))
    found = dict(zip(names, units, strict=True))
    if kept is not None and not found.keys() <= known.keys():
        _write(kept, known | found)
    return Machine(tuple(units))


def _read(kept: Path | None) -> dict[str, Unit]:
    """What is known; nothing where the file is missing or unsound: measuring again costs little."""
    if kept is None:
        return {}
    with suppress(OSError, ValueError, TypeError, AttributeError):
        found = {name: Unit(**fields) for name, fields in json.loads(kept.read_text(encoding="utf-8")).items()}
        numbers = [getattr(unit, name) for unit in found.values() for name in _MEASURED]
        if all(isinstance(number, float) and 0 < number < float("inf") for number in numbers):
            return found
    return {}


def _write(kept: Path, units: Mapping[str, Unit]) -> None:
    with suppress(OSError), atomic_write(kept) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps({name: asdict(unit) for name, unit in units.items()}), encoding="utf-8")


@cache
def _unit(name: str, device: str) -> Unit:
    engine, wide, length = all_engines()[name], _WIDE[device], _LONG[device]

    def seconds(kind: str, shape: tuple[int, ...], count: int = 1) -> float:
        return _seconds(engine, Settings(device=device), _chain(kind, shape, count), shape)

    def each(kind: str, shape: tuple[int, ...], once: float) -> float:
        """Of one more operation in a chain, which brings nothing to the device and back."""
        return (seconds(kind, shape, _CHAIN) - once) / (_CHAIN - 1)

    one, long, product = seconds("Sin", (4,)), seconds("Sin", (length,)), seconds("MatMul", (wide, wide))
    launch = max(each("Sin", (4,), one), 1e-8)
    moved = 2 * 4 * length
    if device == "cpu":  # where a chain would be fused to one pass over memory
        bandwidth = transfer = moved / max(long - one, 1e-6)
    else:
        product, passed = each("MatMul", (wide, wide), product), each("Sin", (length,), long)
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
    """So many operations in a row, each on the result of the one before (a product multiplies it by itself)."""
    inputs = 2 if kind == "MatMul" else 1
    values = ["x", *(f"v{number}" for number in range(1, count)), "y"]
    nodes = [helper.make_node(kind, [before] * inputs, [after]) for before, after in pairwise(values)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "calibration", ports[:1], ports[1:])
    return bytes(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    )


def _seconds(engine: Engine, settings: Settings, model: bytes, shape: tuple[int, ...]) -> float:
    compiled, x = engine.compile(model, settings), np.full(shape, 1 / shape[0], np.float32)  # products stay as they are
    return median_seconds(lambda: compiled.run({"x": x}), _ROUNDS)


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of some runs, after one that does not count."""
    work()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
