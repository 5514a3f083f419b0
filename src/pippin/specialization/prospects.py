"""Prospects: which candidates can win, estimated from the machine's rates before anything is compiled.

A second engine costs as much to compile as the first. It is compiled only if the estimates leave room for it to be much
faster; and where there is no time to run it, the estimates choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from ..devices import ComputeDevice
from ..devices.cpu import instruction_sets
from ..engines import Engine
from ..lowering.onnx_nodes import bodies
from ..passes.eight_bit import quantizes_activations
from . import contention
from .segment import estimates
from .segment.rates import rates_of, typical_rates
from .trial import Trial

AT_STAKE = 1.3
"""A candidate that may be this many times as fast is never left out, and never loses to another that loads faster."""
# How far the proportion of two estimates may be off (docs/notes/specialization.md): for networks of large convolutions
# and products alone, and for those without; more with the rates of a like machine, and with those of another kind.
_ERROR_OF_PRODUCTS, _ERROR, _MORE_ON_A_LIKE_MACHINE, _ERROR_ELSEWHERE = 1.05, 1.9, 0.3, 2.5
_ALIKE = "AVX-512"  # the instruction set of the typical rates
_FEW = 64  # nodes; the first stage of a progressive specialization has no time to look at more
_WORTH_MEASURING = 5e-3  # seconds of a prediction; such a model takes longer to compile than the rates to be measured


@dataclass(frozen=True, slots=True)
class Prospects:
    """The estimated seconds of a prediction in float32 by engine, and how far their proportion may be off."""

    seconds: Mapping[str, float]
    error: float

    def may_win(self, engine: str, against: str) -> bool:
        """Whether an engine may be faster than another by a factor that is worth its compilation."""
        if engine not in self.seconds or against not in self.seconds:
            return True
        return self.seconds[against] * self.error > AT_STAKE * self.seconds[engine]

    def best(self, engines: Sequence[Engine]) -> Engine:
        """The engine to compile first: of those near the fastest the one that loads faster."""
        least = min(self.seconds[engine.name] for engine in engines)
        near = [engine for engine in engines if self.seconds[engine.name] <= least * AT_STAKE / self.error]
        return min(near or [e for e in engines if self.seconds[e.name] == least], key=lambda engine: engine.load_rank)


def prospects(
    model: onnx.ModelProto, engines: Sequence[Engine], devices: Sequence[ComputeDevice], file: Path | None,
    at_once: bool = False,
) -> Prospects | None:  # fmt: skip
    """The prospects of a whole model on the CPU; None if they cannot be estimated from its shapes, or not `at_once`."""
    if len(engines) < 2 or not _is_plain(model) or (at_once and len(model.graph.node) > _FEW):
        return None
    work = estimates(model, {engine.name: typical_rates(engine.name) for engine in engines})
    large = not at_once and min(each.seconds for each in work.values()) >= _WORTH_MEASURING
    measured = rates_of(engines, file, devices[0].name, contention.is_contended if large else lambda: True)
    known = len(measured) == len(engines)
    work = estimates(model, measured) if known else work
    share = min(each.products / each.seconds for each in work.values())
    error = _ERROR - share * (_ERROR - _ERROR_OF_PRODUCTS)
    if not known:
        error = error + _MORE_ON_A_LIKE_MACHINE if _ALIKE in instruction_sets() else _ERROR_ELSEWHERE
    return Prospects({name: each.seconds for name, each in work.items()}, error)


def _is_plain(model: onnx.ModelProto) -> bool:
    """Whether shapes tell the time: without flexible sizes, loops, branches and 8-bit arithmetic."""
    dims = [dim for info in model.graph.input for dim in info.type.tensor_type.shape.dim]
    return (
        all(dim.HasField("dim_value") for dim in dims)
        and not any(bodies(node) for node in model.graph.node)
        and not quantizes_activations(model)
    )


def waves(trials: Sequence[Trial], known: Prospects | None) -> list[list[Trial]]:
    """The candidates in the order in which they are compiled: each wave only if those before leave room for it.

    A 16-bit precision is faster than float32 on the same engine, which is then needed only if its noise is too high;
    the float32 run that it is compared with is another engine's, if there is one.
    """
    single = [trial for trial in trials if trial.settings.precision == "float32"]
    half = [trial for trial in trials if trial.settings.precision != "float32"]
    if not half:
        if known is None or len(single) < 2:
            return [list(trials)]
        first = known.best([trial.engine for trial in single])
        early = [t for t in single if t.engine is first or known.may_win(t.engine.name, first.name)]
        return [early, [t for t in single if t not in early]]
    ahead = list({trial.engine.name: trial for trial in reversed(half)}.values())
    others = [trial for trial in single if all(trial.engine is not other.engine for other in ahead)]
    early = [*(others or single), *ahead]
    return [early, [t for t in half if t not in ahead], [t for t in single if t not in early]]


def left_out(trial: Trial, best: Trial | None, known: Prospects | None) -> str:
    """Why a candidate was not compiled."""
    if trial.settings.precision != "float32":
        return "not compiled: another 16-bit precision keeps 40 dB"
    if best is None or known is None or best.settings.precision != "float32":
        return "not compiled: a faster precision keeps 40 dB"
    times = known.seconds[trial.engine.name] / known.seconds[best.engine.name]
    return f"not compiled: estimated to take {times:.2f} times as long as {best.engine.name}"


def has_room(
    wave: Sequence[Trial], usable: Sequence[Trial], best: Trial | None, known: Prospects | None
) -> list[Trial]:
    """Those of a later wave that are still worth compiling."""
    if best is None:
        return list(wave)
    if best.settings.precision != "float32":
        return []
    accurate = any(trial.settings.precision != "float32" for trial in usable)

    def worth(trial: Trial) -> bool:
        if trial.settings.precision != "float32":
            return not accurate
        return known is None or known.may_win(trial.engine.name, best.engine.name)

    return [trial for trial in wave if worth(trial)]


def to_compare_with(usable: Sequence[Trial], trials: Sequence[Trial]) -> list[Trial]:
    """The float32 candidates still to be compiled, if a 16-bit one has none to be compared with."""
    if not usable or any(trial.settings.precision == "float32" for trial in usable):
        return []
    left = (trial for trial in trials if trial.compilation is None and not trial.note)
    return [trial for trial in left if trial.settings.precision == "float32" and not trial.engine.thorough]


def estimated(trial: Trial, measured: Trial, known: Prospects | None) -> float | None:
    """The seconds of a trial that was not run, from those of one that was; None if nothing is known."""
    if (
        known is None
        or measured.seconds is None
        or not {trial.engine.name, measured.engine.name} <= known.seconds.keys()
    ):
        return None
    return measured.seconds * known.seconds[trial.engine.name] / known.seconds[measured.engine.name]
