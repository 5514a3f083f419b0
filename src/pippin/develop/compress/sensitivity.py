"""Sensitivity: the noise that each way to store each weight makes in the outputs, by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from .methods import stored_ways
from .swapped_graph import Inputs, SwappedGraph
from .weights import Weight

_FORMAT = "pippin sensitivity 1"


def sensitivities(
    graph: SwappedGraph, weights: list[Weight], inputs: Inputs, ios18: bool, known: SensitivityFile, deadline: float,
    progress: Callable[[str, float], object],
) -> dict[str, dict[str, tuple[int, float]]]:  # fmt: skip
    """{weight: {method: (bytes, noise)}}. What the deadline does not leave time for is left out."""
    right = graph.run(inputs)
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for number, weight in enumerate(weights):
        progress(weight.name, number / len(weights))
        if weight.name not in graph.swappable:
            continue
        if weight.name in known.found:
            found[weight.name] = known.found[weight.name]
            continue
        if time.monotonic() > deadline:
            break
        found[weight.name] = {
            stored.method: (stored.bytes, noise(graph, inputs, right, {weight.name: stored.values}))
            for stored in stored_ways(weight.array, weight.dtype, ios18)
            if stored.bytes < weight.bytes
        }
        known.add(weight.name, found[weight.name])
    return found


def noise(
    graph: SwappedGraph, inputs: Inputs, right: Sequence[Mapping[str, Any]], values: Mapping[str, np.ndarray]
) -> float:
    """What the outputs differ by if these weights have other values: of probabilities the Kullback-Leibler divergence
    in nats, of other floats the squared error over the square; the mean over the outputs."""
    labels = graph.lowered.labels
    found = graph.run(inputs, values)
    sums = []
    for port in graph.lowered.outputs:
        pairs = [(np.asarray(r[port.name], np.float64), np.asarray(f[port.name], np.float64))
                 for r, f in zip(right, found, strict=True) if np.asarray(r[port.name]).dtype.kind == "f"]  # fmt: skip
        if pairs and labels is not None and port.name == labels.probabilities:
            sums.append(float(np.mean([_divergence(r, f) for r, f in pairs])))
        elif pairs:
            square = sum(float(np.square(r).sum()) for r, _ in pairs)
            error = sum(float(np.square(r - f).sum()) for r, f in pairs)
            sums.append(error / square if square else error)
    return float(np.mean(sums)) if sums else 0.0


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    p, q = np.clip(p, 1e-12, None), np.clip(q, 1e-12, None)
    return max(float((p * np.log(p / q)).sum()), 0.0)


class SensitivityFile:
    """The sensitivities in a file, one JSON line for each weight, from which an interrupted search goes on."""

    def __init__(self, path: Path | None, content: str, count: int) -> None:
        self._path = path
        self.found: dict[str, dict[str, tuple[int, float]]] = {}
        header = [_FORMAT, content, count]
        if path is None:
            return
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        if lines and any(lines):
            self._read(path, lines, header)
        whole = [header, *([name, found] for name, found in self.found.items())]
        path.write_text("".join(json.dumps(line) + "\n" for line in whole))

    def _read(self, path: Path, lines: list[bytes], header: list[Any]) -> None:
        try:
            if json.loads(lines[0]) != header:
                raise DataError(f"{path} holds the search of another model or other data; name another file")
            for line in lines[1:-1]:  # the last one was cut off, or is empty
                name, found = json.loads(line)
                self.found[name] = {method: (int(size), float(noise)) for method, (size, noise) in found.items()}
        except (ValueError, TypeError, AttributeError):
            raise DataError(f"{path} is not the file of a search; remove it to begin anew") from None

    def add(self, name: str, found: Mapping[str, tuple[int, float]]) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps([name, found]) + "\n")
