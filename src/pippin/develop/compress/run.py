"""Compress: measures how much each weight minds being stored smaller, searches, builds the best few, measures these."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...configuration import Configuration
from ...errors import ConfigurationError
from ...format.asset import Asset
from ...format.mlpackage import write_package
from ...program.opening import open_model
from ...reporting import report
from ...runtime.model import Model
from ...runtime.session import Session
from ...specialization.sample_inputs import example_features
from ..compare import Source
from ..data import Dataset, open_dataset
from ..evaluate import evaluate
from ..evaluate.answers import features_of
from .compression import Compression, Trial
from .methods import methods
from .search import KEEP, Option, cheapest
from .sensitivity import SensitivityFile, noise, sensitivities
from .swapped_graph import Inputs, SwappedGraph
from .target import Target, parse_seconds, parse_share, parse_target
from .weights import Weight, compressed, compressible, float32_bytes, is_ios18, weight_bytes

_SAMPLES = 16
_SHARE_OF_SENSITIVITY = 0.6  # of the budget
_POINTS = (1.0, 0.9, 0.8)  # of the bytes that a size allows
_RATIOS = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 11.0)  # that are tried for a latency or a memory
_ROUNDS = 3  # in which the weights that lose most are put back
_REACHES = "reaches the target"
_PUT_BACK = 8.0  # times the noise that they seemed to make
Progress = Callable[[str, float], object]
"""Called with what is being done and the share done, 0 to 1."""


def compress(
    model: Source,
    target: str,
    data: Any = None,
    metric: str | Callable[[Any, Any], float] = "auto",
    *,
    max_drop: float | str = 0.01,
    budget: float | str = "10 min",
    output: str | os.PathLike[str] | None = None,
    label: str | None = None,
    resume: str | os.PathLike[str] | None = None,
    function: str | None = None,
    progress: Progress | None = None,
) -> Compression:
    """Store a model's weights smaller, until it has a size, a latency or a memory, and lose as little as possible.

    `target` is "size=4x" (bytes of all weights against float32), "size=12MB", "latency=5ms" or "memory=200MB". With
    `data` (what `evaluate` takes) the best few are evaluated, and `metric` may lose `max_drop`; without, the noise of
    the outputs on seeded inputs is held under it. Tried for each weight are 8 bits, 4 bits in blocks, palettes of 8 to
    1 bits, in groups of channels too, and sparse weights, as the model's deployment target allows; each by itself, in
    one compiled graph. Those that lose too much are put back. `output` is the package to write. With `resume`, the
    measurements are kept in that file. Only ML Programs can be compressed.

    Raises ConfigurationError, UnsupportedModelError, DataError, and what loading and predicting raise.

    found = pippin.compress("model.mlpackage", "size=4x", "photos/", output="small.mlpackage")
    """
    wanted, most, seconds = parse_target(target), parse_share(max_drop), parse_seconds(budget)
    if output is not None and Path(output).exists():
        raise ConfigurationError(f"{output} already exists; name another package")
    asset = open_model(model)
    opened = None if data is None else open_dataset(data, label)
    search = _Search(asset, opened, metric, most, function, progress or (lambda stage, share: None))
    return search.run(wanted, time.monotonic() + seconds, None if resume is None else Path(resume), output)


@dataclass
class _Search:
    asset: Asset
    data: Dataset | None
    metric: Any
    most: float
    function: str | None
    progress: Progress

    def run(self, target: Target, deadline: float, resume: Path | None, output: Any) -> Compression:
        weights = compressible(self.asset)
        graph = SwappedGraph(self.asset, weights, self.function)
        inputs, others = self._inputs(graph)
        sensitivity_ends = time.monotonic() + (deadline - time.monotonic()) * _SHARE_OF_SENSITIVITY
        known = SensitivityFile(resume, _key(self.asset, inputs), len(weights))
        found = sensitivities(
            graph,
            weights,
            inputs,
            is_ios18(self.asset),
            known,
            sensitivity_ends,
            lambda s, x: self.progress(s, 0.7 * x),
        )
        options = {w.name: _options(w, found.get(w.name, {})) for w in weights}
        with tempfile.TemporaryDirectory(prefix="pippin-compress-") as folder:
            built = _Built(self, graph, weights, others, Path(folder))
            trials = list(built.searched(target, options, deadline))
            chosen = _chosen(trials, self.most)
            path = None
            if chosen is not None and output is not None:
                path = Path(output)
                write_package(path, *built.made(chosen.choices))
        skipped = tuple(w.name for w in weights if w.name not in graph.swappable)
        listed = tuple(replace(trial, note=_note(trial, chosen, self.most)) for trial in trials)
        return Compression(
            self.asset.name, path, target.text, weight_bytes(self.asset), built.metric_name, built.metric, listed,
            {name: {method: n for method, (_, n) in each.items()} for name, each in found.items()}, skipped,
        )  # fmt: skip

    def _inputs(self, graph: SwappedGraph) -> tuple[Inputs, Inputs]:
        """The inputs to measure sensitivity with, and others to verify with where there are no data."""
        described = self.asset.description.function(self.function)
        session = Session(described, graph.lowered, Model, self.asset.name, ())  # type: ignore[arg-type]
        if self.data is None:
            seeded = [session.tensors(example_features(described, seed)) for seed in range(2 * _SAMPLES)]
            return seeded[:_SAMPLES], seeded[_SAMPLES:]
        examples = [example for _, example in zip(range(_SAMPLES), self._spread(), strict=False)]
        return [session.tensors(features_of(described, example)) for example in examples], []

    def _spread(self) -> Iterator[Any]:
        """Examples from all over the data, since those of a class lie together."""
        assert self.data is not None
        step = max(1, (self.data.count or 1) // _SAMPLES)
        for number, example in enumerate(self.data):
            if number % step == 0:
                yield example


def _key(asset: Asset, inputs: Inputs) -> str:
    """What the measurements belong to: the program, its weights, and the inputs."""
    import hashlib

    digest = hashlib.sha256(asset.specification.SerializeToString(deterministic=True))
    for weight in compressible(asset):
        digest.update(weight.array.tobytes())
    for each in inputs:
        for name in sorted(each):
            digest.update(np.ascontiguousarray(each[name]).tobytes())
    return digest.hexdigest()


def _options(weight: Weight, found: Mapping[str, tuple[int, float]]) -> list[Option]:
    return [Option(KEEP, weight.bytes, 0.0), *(Option(method, size, n) for method, (size, n) in found.items())]


@dataclass
class _Built:
    """Builds and measures ways to store all weights."""

    search: _Search
    graph: SwappedGraph
    weights: list[Weight]
    others: Inputs
    folder: Path
    metric_name: str = "noise"
    metric: float | None = None
    more_is_better: bool = True

    def __post_init__(self) -> None:
        self._by_name = {weight.name: weight for weight in self.weights}
        self._methods = methods(is_ios18(self.search.asset))
        self._all = float32_bytes(self.search.asset)
        self._rest = weight_bytes(self.search.asset) - sum(weight.bytes for weight in self.weights)
        self._right = self.graph.run(self.others)
        if self.search.data is not None:
            self.metric_name, self.metric = self._evaluated(self.search.asset)
        self._count = 0

    def made(self, choices: Mapping[str, str]) -> tuple[Any, Any]:
        """The specification and the weight files."""
        stored = {}
        for name, method in choices.items():
            weight = self._by_name[name]
            found = self._methods[method](weight.array, weight.dtype)
            assert found is not None
            stored[name] = found
        return compressed(self.search.asset, stored)

    def searched(self, target: Target, options: dict[str, list[Option]], deadline: float) -> Iterator[Trial]:
        """The trials for a target, the largest first."""
        if target.kind != "size":
            sizes: Sequence[float] = [self._all / ratio for ratio in _RATIOS]
        else:
            most = self._all / target.amount if target.is_ratio else target.amount
            sizes = [most * point for point in _POINTS]
        seen: set[tuple[tuple[str, str], ...]] = set()
        for number, size in enumerate(sizes):
            self.search.progress("build and measure", 0.7 + 0.3 * number / len(sizes))
            if number and time.monotonic() > deadline:
                return
            yield from self._put_back(options, size, seen, deadline, target)

    def _put_back(
        self, options: dict[str, list[Option]], size: float, seen: set[Any], deadline: float, target: Target
    ) -> Iterator[Trial]:
        """A trial of this size; if it loses too much, others in which the weights that cost most count for more."""
        current = options
        for _ in range(_ROUNDS):
            chosen = cheapest(current, size - self._rest)
            if chosen is None:
                return
            choices = {name: option.method for name, option in chosen.items() if option.method != KEEP}
            key = tuple(sorted(choices.items()))
            if key in seen:
                return
            seen.add(key)
            trial = self._measured(choices, target)
            yield trial
            if trial.drop <= self.search.most or time.monotonic() > deadline or not choices:
                return
            worst = max(chosen, key=lambda name: chosen[name].noise)
            current = {
                name: [replace(o, noise=o.noise * _PUT_BACK) for o in each] if name == worst else each
                for name, each in current.items()
            }

    def _measured(self, choices: Mapping[str, str], target: Target) -> Trial:
        """Write the package, open it again, and measure what it is."""
        self._count += 1
        path = self.folder / f"{self._count}.mlpackage"
        write_package(path, *self.made(choices))
        written = open_model(path)
        size = weight_bytes(written)
        metric: float | None = None
        if self.search.data is not None:
            _, metric = self._evaluated(written)
            drop = self._lost(metric)
        else:
            drop = self._noise(written)
        seconds = memory = None
        if target.kind != "size":
            result = report(path, seconds=0.5).results[0]
            seconds, memory = result.prediction.median, result.memory.steady if result.memory else None
        note = self._missed(target, size, seconds, memory)
        return Trial(dict(choices), size, self._all / size, metric, drop, seconds, note)

    def _missed(self, target: Target, size: int, seconds: float | None, memory: int | None) -> str:
        """Why a trial does not reach the target."""
        value = {"size": size, "latency": seconds, "memory": memory}[target.kind]
        most = self._all / target.amount if target.is_ratio else target.amount
        return _REACHES if value is not None and value <= most else f"does not reach {target.text}"

    def _evaluated(self, model: Any) -> tuple[str, float]:
        found = evaluate(
            model, self.search.data, self.search.metric, costs=False,
            configuration=Configuration(function_name=self.search.function, engine="onnxruntime", precision="float32"),
        )  # fmt: skip
        name, figure = next(iter(found.variants[0].figures.items()))
        self.more_is_better = figure.more_is_better
        return name, figure.value

    def _lost(self, metric: float) -> float:
        assert self.metric is not None
        return self.metric - metric if self.more_is_better else metric - self.metric

    def _noise(self, written: Asset) -> float:
        """The noise of the written model on inputs that the search has not seen."""
        again = SwappedGraph(written, [], self.search.function)
        return noise(again, self.others, self._right, {})


def _chosen(trials: Sequence[Trial], most: float) -> Trial | None:
    """Of those that reach the target and do not lose too much, the one that loses least; the smallest of equal ones."""
    good = (trial for trial in trials if trial.note == _REACHES and trial.drop <= most)
    return min(good, key=lambda trial: (trial.drop, trial.weight_bytes), default=None)


def _note(trial: Trial, chosen: Trial | None, most: float) -> str:
    if trial is chosen:
        return ""
    if trial.note != _REACHES:
        return trial.note
    return "loses too much" if trial.drop > most else "another loses less, or is smaller"
