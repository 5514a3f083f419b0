"""Rates: how fast an engine computes each kind of operation on this CPU, in float32; measured once, kept on disk."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ...engines import Engine, Settings
from ...errors import EngineError
from ...support.atomic_write import atomic_write
from ...support.regular_files import read_regular

_ROUNDS = 4
_CHAIN = 24
_SIDE = 40  # of a picture


@dataclass(frozen=True, slots=True)
class Rates:
    """Work per second, by kind of operation. The defaults are those of two cores of a server, of no engine in
    particular."""

    dense: float = 8e10
    """Multiply-adds of convolutions."""
    depthwise: float = 2.5e10
    transposed: float = 2.5e10
    product: float = 8e10
    """Multiply-adds of matrix products of many rows."""
    recurrent: float = 8e9
    """Multiply-adds of recurrent layers, where each step waits for the one before."""
    simple: float = 2e10
    """Elements that one vector instruction each computes."""
    memory: float = 2e10
    """Bytes, beyond the cache of a core: what a product of one row is bound by."""
    launch: float = 0.0
    """Seconds to start a node; 0: the engine's habit."""
    start: float = 0.0
    """Seconds to start a prediction."""


TYPICAL = Rates()
_measured: dict[str, Rates] = {}
"""What this process has measured."""
# Of two cores of a Sapphire Rapids Xeon (AVX-512), for machines whose rates are not known.
_TYPICAL = {
    "onnxruntime": Rates(1.1e11, 2e10, 6.5e10, 1.2e11, 3.7e10, 1.4e10, 3e10, 3.5e-7, 3e-6),
    "openvino": Rates(9.8e10, 8e9, 3.7e10, 1.1e11, 3.2e10, 8e9, 2.9e10, 1e-6, 1.2e-5),
}


def typical_rates(engine: str) -> Rates:
    return _TYPICAL.get(engine, _TYPICAL["openvino"])


def rates_of(
    engines: Sequence[Engine], file: Path | None, processor: str, is_busy: Callable[[], bool]
) -> dict[str, Rates]:
    """The rates of engines, by name, from `file`. Missing ones are measured (in some 0.2 s for each engine) and stored,
    unless the machine is busy: then they are missing. Any process may write the file; the last one wins."""
    known = _read(file)
    names = {engine.name: f"{processor}, {engine.name} {engine.version}" for engine in engines}
    missing = [engine for engine in engines if names[engine.name] not in known]
    if missing and file is not None and not is_busy():
        # Those whose threads spin come last.
        new = [e for e in missing if names[e.name] not in _measured]
        measured = {names[e.name]: measured_rates(e) for e in sorted(new, key=lambda engine: engine.spins)}
        if not (new and is_busy()):  # nor was it meanwhile
            _measured.update(measured)
            measured = {names[e.name]: _measured[names[e.name]] for e in missing}
            known |= measured
            with suppress(OSError), atomic_write(file) as temporary:
                temporary.touch(mode=0o600)
                temporary.write_text(json.dumps({key: asdict(rates) for key, rates in known.items()}), encoding="utf-8")
    return {name: known[stored] for name, stored in names.items() if stored in known}


def _read(file: Path | None) -> dict[str, Rates]:
    """Nothing if the file is missing or invalid, since measuring again is cheap."""
    if file is not None:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            found = {name: Rates(**fields) for name, fields in json.loads(read_regular(file)).items()}
            numbers = [number for rates in found.values() for number in asdict(rates).values()]
            if all(isinstance(number, float) and 0 < number < math.inf for number in numbers):
                return found
    return {}


def measured_rates(engine: Engine) -> Rates:
    """Time small models of one kind of operation each. What an engine cannot run keeps the typical rate."""
    once = max(_seconds(engine, *_sines(4)), 1e-7)
    found = {"start": once, "launch": max((_seconds(engine, *_chain()) - once) / (_CHAIN - 1), 1e-8)}
    for kind, (work, model, shape) in _models().items():
        with suppress(EngineError):
            found[kind] = work / max(_seconds(engine, model, shape) - once, 1e-7)
    return Rates(**found)


def _models() -> Mapping[str, tuple[float, bytes, tuple[int, ...]]]:
    """By kind: its work, a model of one operation, and the shape of its input."""
    picture, steps, hidden, wide = (1, 64, _SIDE, _SIDE), 32, 128, 1536
    pixels, elements = _SIDE * _SIDE, 1 << 18
    recurrent = ("LSTM", {"w": (1, 4 * hidden, hidden), "r": (1, 4 * hidden, hidden)}, {"hidden_size": hidden})
    return {
        "dense": (64 * 64 * 9 * pixels, *_one("Conv", picture, {"w": (64, 64, 3, 3)}, {"pads": [1] * 4})),
        "depthwise": (64 * 9 * pixels, *_one("Conv", picture, {"w": (64, 1, 3, 3)}, {"pads": [1] * 4, "group": 64})),
        "transposed": (8192 * pixels, *_one("ConvTranspose", picture, {"w": (64, 32, 2, 2)}, {"strides": [2, 2]})),
        "product": (192 * 384 * 384, *_one("MatMul", (192, 384), {"w": (384, 384)}, {})),
        "memory": (4 * wide * wide, *_one("MatMul", (1, wide), {"w": (wide, wide)}, {})),
        "recurrent": (steps * 8 * hidden * hidden, *_one(recurrent[0], (steps, 1, hidden), *recurrent[1:])),
        "simple": (20.0 * elements, *_sines(elements)),
    }  # fmt: skip


def _sines(elements: int) -> tuple[bytes, tuple[int, ...]]:
    return _one("Sin", (elements,), {}, {})


def _chain() -> tuple[bytes, tuple[int, ...]]:
    """Nodes in sequence that no engine fuses, and that have next to nothing to compute."""
    names = ["x", *(f"v{number}" for number in range(1, _CHAIN)), "y"]
    return _model([helper.make_node("Softmax", [a], [b]) for a, b in pairwise(names)], (4, 4), {}), (4, 4)


def _one(
    kind: str, shape: tuple[int, ...], weights: Mapping[str, tuple[int, ...]], attributes: Mapping[str, Any]
) -> tuple[bytes, tuple[int, ...]]:
    return _model([helper.make_node(kind, ["x", *weights], ["y"], **attributes)], shape, weights), shape


def _model(nodes: list[Any], shape: tuple[int, ...], weights: Mapping[str, tuple[int, ...]]) -> bytes:
    random = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(random.standard_normal(each, np.float32) * np.float32(0.01), name)
        for name, each in weights.items()
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "rates", [x], [y], tensors)
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    return bytes(made.SerializeToString())


def _seconds(engine: Engine, model: bytes, shape: tuple[int, ...]) -> float:
    """The least of a few runs after a warm-up run: on a busy machine, what it could do."""
    compiled, x = engine.compile(model, Settings()), np.full(shape, 0.5, np.float32)
    compiled.run({"x": x})
    times = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        compiled.run({"x": x})
        times.append(time.perf_counter() - started)
    return min(times)
