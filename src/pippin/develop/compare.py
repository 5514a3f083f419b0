"""Compare: where the numbers of two models, engines or precisions part, operation by operation.

The truth is a float64 run of the first model. For each operation, the noise is what the other run's result differs by;
it is *created* as far as a float64 evaluation of the operation on the other run's own operands differs from its result,
and *inherited* as far as that evaluation differs from the truth.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from ..configuration import Configuration
from ..engines import Settings, all_engines
from ..errors import ConfigurationError, UnsupportedModelError
from ..lowering.lowered_model import Lowered
from ..lowering.onnx_nodes import values_read
from ..program.opening import open_model
from ..runtime.model import Model
from ..specialization.precision import signal_to_noise
from ..specialization.sample_inputs import example_features
from ..specialization.specializer import lower_function
from .float64 import Float64
from .operations import Operation, Results, declared_float16, operations, results, rounded

if TYPE_CHECKING:
    from ..format.asset import Asset

Arithmetic: TypeAlias = Literal["declared", "float16", "bfloat16", "float32"]
"""How the other run computes: each result rounded to the type that the program declares for it, as Apple's devices may
do; every result and weight rounded to a 16-bit type; or in float32."""
Source: TypeAlias = "str | os.PathLike[str] | Asset | Any"

_MATCHING = 30.0  # dB: results of two models with different names that are taken for the same
_NONE = float("inf")


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one operation's results are from the truth: signal-to-noise ratios in dB, infinite if equal, -infinite
    where one is NaN or infinite and the other is not, or integers differ."""

    name: str
    kind: str
    total: float
    created: float | None
    """Without what its operands brought along; None if these are not known in the other run."""
    inherited: float | None
    counterpart: str = ""
    """Its name in the other model, if it differs."""

    @property
    def origin(self) -> bool:
        """Whether more of the noise is made here than brought along."""
        return self.created is not None and (self.inherited is None or self.created <= self.inherited)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of all operations that both runs have, in the order of the program."""

    first: str
    second: str
    differences: tuple[Difference, ...]
    outputs: Mapping[str, float]
    """The signal-to-noise ratio of each output in dB. Outputs match by name, the rest in their order."""
    unmatched: tuple[str, ...] = ()
    """Operations of the first model that the other one has not."""
    in_float32: tuple[str, ...] = ()
    """Operators that the truth computes in float32."""

    def worst(self, count: int) -> list[Difference]:
        """The operations that create most of the noise."""
        known = [d for d in self.differences if d.created is not None and d.created < _NONE]
        return sorted(known, key=lambda d: d.created or 0.0)[:count]

    def first_under(self, bound: float) -> Difference | None:
        """The first operation under `bound` dB that makes more noise than it is given; else the first under it."""
        under = [d for d in self.differences if d.total < bound]
        return next((d for d in under if d.origin), under[0] if under else None)


@dataclass(frozen=True, slots=True)
class Subject:
    """A lowered model, the arrays it is run with, and what its outputs are called."""

    lowered: Lowered
    arrays: Mapping[str, np.ndarray]
    name: str


def subject(model: Source, features: Mapping[str, Any] | None = None, function: str | None = None) -> Subject:
    """Open and lower a model; `features` as `Model.predict` takes them, seeded random values by default."""
    from ..runtime.session import Session

    asset = open_model(model)
    lowered = lower_function(asset, Configuration(function_name=function))
    described = asset.description.function(lowered.name)
    given = example_features(described) if features is None else features
    session = Session(described, lowered, Model, asset.name, ())  # type: ignore[arg-type]
    return Subject(lowered, session.tensors(given), asset.name)


def compare(
    a: Source,
    b: Source | None = None,
    features: Mapping[str, Any] | None = None,
    *,
    arithmetic: Arithmetic = "declared",
    engine: str | None = None,
    function: str | None = None,
) -> Comparison:
    """Compare two models operation by operation, or one with itself in another arithmetic or on an engine.

    `features` are the inputs, as `Model.predict` takes them; seeded random values by default. With `b`, its run in
    float32 is compared with a float64 run of `a`; operations match by name, else by their values. Without it, `a` is
    run in `arithmetic`, or by `engine` in float32 ("bfloat16" and "float16" ask the engine for that precision). All
    results stay in memory. Raises what `pippin.load` and `Model.predict` raise, ConfigurationError for an unknown word.

    found = pippin.compare("model.mlpackage", arithmetic="float16")
    print(found.first_under(40))
    """
    if arithmetic not in get_args(Arithmetic):
        raise ConfigurationError(f"arithmetic must be one of {', '.join(get_args(Arithmetic))}, got {arithmetic!r}")
    if engine is not None and engine not in all_engines():
        raise ConfigurationError(f"engine must be one of {', '.join(all_engines())}, got {engine!r}")
    mine = subject(a, features, function)
    if b is None:
        other = mine
        found, outputs = results(
            changed(a, mine, arithmetic, engine, function), mine.arrays, engine, _settings(arithmetic)
        )
        label = " ".join(filter(None, (engine, arithmetic)))
    else:
        other = subject(b, features, function)
        found, outputs = results(other.lowered, other.arrays, engine)
        label = other.name
    return _compared(mine, other, found, outputs, label)


def changed(
    source: Source, mine: Subject, arithmetic: Arithmetic, engine: str | None, function: str | None,
    kept: Sequence[str] = (),
) -> Lowered:  # fmt: skip
    """The model that computes in another arithmetic, but for the operations that are `kept` in float32."""
    if engine is not None or arithmetic == "float32":
        return mine.lowered
    if arithmetic != "declared":
        everything = [operation.name for operation in operations(mine.lowered)]
        return rounded(mine.lowered, arithmetic, everything, True, kept)
    return rounded(mine.lowered, "float16", declared_float16(open_model(source), function), False, kept)


def _settings(arithmetic: Arithmetic) -> Settings:
    return Settings(precision=arithmetic) if arithmetic in ("float16", "bfloat16") else Settings()


def _compared(
    mine: Subject, other: Subject, found: Results, outputs: Mapping[str, np.ndarray], label: str
) -> Comparison:
    listed = operations(mine.lowered)
    evaluator = Float64(mine.lowered.model)
    truth = evaluator.run(mine.lowered.model.graph.node, mine.arrays)
    pairs = _matched(listed, truth, mine, other, found)
    known = {
        name: found[pairs[operation.name], number]
        for operation in listed
        if operation.name in pairs
        for number, name in enumerate(operation.results)
        if (pairs[operation.name], number) in found and found[pairs[operation.name], number].shape == truth[name].shape
    } | dict(mine.arrays)
    differences = tuple(
        _difference(operation, pairs[operation.name], truth, known, evaluator)
        for operation in listed
        if operation.name in pairs and any(name in known for name in operation.results)
    )
    ports = {port.name: port.tensor for port in mine.lowered.outputs}
    right = {name: truth[tensor] for name, tensor in ports.items() if tensor in truth}
    made = _named_alike(right, outputs)
    noise = signal_to_noise({name: right[name] for name in made}, made, list(made))
    missing = tuple(o.name for o in listed if o.name not in pairs and o.results)
    return Comparison(mine.name, label, differences, noise, missing, tuple(sorted(evaluator.in_float32)))


def _named_alike(right: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other model's outputs by the first one's names; those that only one of them has are paired in their order."""
    made = {name: found[name] for name in right if name in found}
    rest = [array for name, array in found.items() if name not in made]
    for (name, mine), array in zip([each for each in right.items() if each[0] not in made], rest, strict=False):
        if mine.size == array.size and mine.dtype.kind == array.dtype.kind:
            made[name] = array.reshape(mine.shape)
    return made


def _difference(
    operation: Operation,
    counterpart: str,
    truth: Mapping[str, np.ndarray],
    known: Mapping[str, np.ndarray],
    evaluator: Float64,
) -> Difference:
    names = [name for name in operation.results if name in known]
    made = {name: known[name] for name in names}
    total = _worst(truth, made, names)
    own = {name for node in operation.nodes for name in node.output}
    read = {name for node in operation.nodes for name in values_read(node)} - own
    created = inherited = None
    if all(name in known or evaluator.weight(name) is not None for name in read):
        exact = evaluator.run(operation.nodes, known)
        created, inherited = _worst(exact, made, names), _worst(truth, exact, names)
    other = counterpart if counterpart != operation.name else ""
    return Difference(operation.name, operation.kind, total, created, inherited, other)


def _worst(right: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray], names: list[str]) -> float:
    return min(signal_to_noise(right, found, names).values(), default=_NONE)


def _matched(
    listed: Sequence[Operation], truth: Mapping[str, np.ndarray], mine: Subject, other: Subject, found: Results
) -> dict[str, str]:
    """{operation of the first model: that of the other one}: by name, the rest in order by shape and values."""
    theirs = [operation.name for operation in operations(other.lowered) if (operation.name, 0) in found]
    pairs = {o.name: o.name for o in listed if (o.name, 0) in found}
    if other is mine:
        return pairs
    free = [name for name in theirs if name not in pairs]
    for operation in listed:
        if operation.name in pairs or not operation.results or not free:
            continue
        right = truth[operation.results[0]]
        for place, name in enumerate(free):
            value = found[name, 0]
            if value.size == right.size and value.dtype.kind == right.dtype.kind == "f":
                noise = signal_to_noise({"": right.reshape(-1)}, {"": value.reshape(-1)}, [""])[""]
                if noise >= _MATCHING:
                    pairs[operation.name] = name
                    free = free[place + 1 :]
                    break
    if not pairs:
        raise UnsupportedModelError(f"{mine.name} and {other.name} have no operation in common, by name or by values")
    return pairs
