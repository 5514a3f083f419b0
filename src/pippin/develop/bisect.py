"""Bisect: the operation at which a model's numbers go wrong, and which operations to keep in float32 to mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..lowering.onnx_nodes import values_read
from ..specialization.precision import MIN_DB_16_BIT, signal_to_noise
from .compare import Arithmetic, Comparison, Difference, Source, Subject, changed, compare, subject
from .operations import operations, results

_GAIN = 3.0  # dB: what is worth keeping an operation in float32
_TRIES = 8  # growing sets of operations that are kept in float32


@dataclass(frozen=True, slots=True)
class Fix:
    """Operations that, computed in float32, mend the outputs or make them better."""

    keep: tuple[str, ...]
    before: float
    """The lowest signal-to-noise ratio of an output in dB."""
    after: float


@dataclass(frozen=True, slots=True)
class Bisection:
    """`first` is the first operation under `bound` dB that makes more noise than it is given; None if there is none."""

    bound: float
    first: Difference | None
    fix: Fix | None
    """None if nothing has to be mended, or keeping operations in float32 does not help."""
    comparison: Comparison

    @property
    def right(self) -> bool:
        """Whether all outputs are at `bound` dB or above; all operations, if the models have no output in common."""
        outputs = self.comparison.outputs.values()
        return min(outputs) >= self.bound if outputs else self.first is None


def bisect(
    model: Source,
    against: Source | None = None,
    features: Mapping[str, Any] | None = None,
    *,
    arithmetic: Arithmetic = "declared",
    engine: str | None = None,
    function: str | None = None,
    bound: float = MIN_DB_16_BIT,
) -> Bisection:
    """Find the operation at which a model's numbers fall under `bound` dB of signal to noise.

    The model is held to a float64 run of itself, or of the model `against`, which is taken for right. The other
    parameters and what is raised are those of `compare`. If float16 or bfloat16 is at fault, growing sets of operations
    are computed in float32, from the first one on towards the outputs, until the outputs are at `bound`.

    pippin.bisect("model.mlpackage").fix.keep
    """
    how: dict[str, Any] = {"arithmetic": arithmetic, "engine": engine, "function": function}
    if against is not None:
        comparison = compare(against, model, features, **how)
        return Bisection(bound, comparison.first_under(bound), None, comparison)
    comparison = compare(model, None, features, **how)
    first = comparison.first_under(bound)
    fix = None
    if first is not None and engine is None and arithmetic != "float32":
        fix = _fix(model, subject(model, features, function), comparison, first, arithmetic, function, bound)
    return Bisection(bound, first, fix, comparison)


def _fix(
    source: Source, mine: Subject, comparison: Comparison, first: Difference, arithmetic: Arithmetic,
    function: str | None, bound: float,
) -> Fix | None:  # fmt: skip
    """The smallest of the sets that were tried which brings the outputs to the bound, else the best of them."""
    _, right = results(mine.lowered, mine.arrays)
    before = min(comparison.outputs.values(), default=float("inf"))
    tried: list[Fix] = []
    keep = [first.name]
    for _ in range(_TRIES):
        lowered = changed(source, mine, arithmetic, None, function, keep)
        _, found = results(lowered, mine.arrays)
        tried.append(Fix(tuple(keep), before, min(signal_to_noise(right, found, list(found)).values(), default=before)))
        more = _readers(mine, keep)
        if tried[-1].after >= bound or not more:
            break
        keep += more
    best = tried[-1] if tried[-1].after >= bound else max(tried, key=lambda fix: fix.after)
    return best if best.after >= min(before + _GAIN, bound) else None


def _readers(mine: Subject, names: Sequence[str]) -> list[str]:
    """The operations that read a result of these and are not among them."""
    listed = operations(mine.lowered)
    made = {result for operation in listed if operation.name in names for result in operation.results}
    return [
        operation.name
        for operation in listed
        if operation.name not in names and any(name in made for node in operation.nodes for name in values_read(node))
    ]
