"""Calibrate: how fast the units of this machine are, by a few small measurements that are kept on disk."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from ..engines import Engine, Settings, all_engines
from .cost import Unit

_WIDE, _LONG, _CHAIN = 384, 1 << 20, 32
_ROUNDS = 5
_MEASURED = ("arithmetic", "bandwidth", "launch", "transfer", "latency")


@dataclass(frozen=True, slots=True)
class Machine:
    """The measured units: those of the CPU first."""

    units: tuple[Unit, ...]


def machine(devices: Mapping[str, Mapping[str, str]], kept: Path | None = None, processor: str = "") -> Machine:
    """Measure every engine of every device: {device kind: {engine: version}}. Takes about 0.1 s for each, once.

    Three models are timed: a product of two matrices, a sum of two long vectors, and a chain of tiny sums. What was
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
    aside = kept.with_name(f".{kept.name}-{os.getpid()}")
    try:
        aside.touch(mode=0o600)
        aside.write_text(json.dumps({name: asdict(unit) for name, unit in units.items()}), encoding="utf-8")
        aside.replace(kept)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@cache
def _unit(name: str, device: str) -> Unit:
    engine = all_engines()[name]
    settings = Settings(device=device)
    product = _seconds(engine, settings, _model([("MatMul", ["x", "x"])], (_WIDE, _WIDE)), (_WIDE, _WIDE))
    long = _seconds(engine, settings, _model([("Sin", ["x"])], (_LONG,)), (_LONG,))
    one = _seconds(engine, settings, _model([("Sin", ["x"])], (4,)), (4,))
    chain = _seconds(engine, settings, _model([("Sin", ["x"])] * _CHAIN, (4,)), (4,))
    launch = max((chain - one) / (_CHAIN - 1), 1e-8)
    bandwidth = 2 * 4 * _LONG / max(long - one, 1e-6)
    return Unit(
        engine.name,
        device,
        arithmetic=_WIDE**3 / max(product - one, 1e-7),
        bandwidth=bandwidth,
        launch=launch,
        transfer=bandwidth,
        latency=max(one - launch, 1e-7),
    )


def _model(steps: list[tuple[str, list[str]]], shape: tuple[int, ...]) -> bytes:
    nodes, before = [], "x"
    for number, (kind, inputs) in enumerate(steps):
        after = "y" if number == len(steps) - 1 else f"v{number}"
        nodes.append(helper.make_node(kind, [before] * len(inputs), [after]))
        before = after
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "calibration", ports[:1], ports[1:])
    return bytes(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    )


def _seconds(engine: Engine, settings: Settings, model: bytes, shape: tuple[int, ...]) -> float:
    compiled, x = engine.compile(model, settings), np.ones(shape, np.float32)
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
