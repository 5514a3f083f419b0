"""Trial: one run in a child: change a model, load it on each engine, predict, compare. Tells what it finds line by line."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pippin
from pippin.engines import all_engines
from pippin.errors import PippinError
from pippin.lowering import limits
from pippin.specialization import budget, candidates, contention, degenerate

from . import values
from .bases import Base, pick, written
from .mutations import mutate

Tell = Callable[[dict[str, Any]], None]
_INPUTS = 4
_TRIES = 4
_TIMEOUT = 2.0  # seconds
_SLACK = {"": 10.0, "mnn": 4.0}  # any precision; MNN approximates, and is compared at load
_SOURCE = str(Path(pippin.__file__).parent)


class Finding(Exception):
    """What must not be: its kind, and what it is grouped by."""

    def __init__(self, kind: str, group: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.group = kind, group


def small_budgets() -> None:
    """Measuring and sizes on the scale of the bounds: what a file may ask for by default is 2 GB."""
    contention.MAX_WAIT = 0.0
    budget._SECONDS.update(default=1.5, fast_prediction=1.5)
    budget._SECONDS_UNBOUNDED = budget._SECONDS_COMPARISON = 1.0
    candidates._TIME_LIMIT = 0.05
    degenerate._TIME_LIMIT = 1.0
    limits.TENSOR = limits.CONSTANTS = 1 << 24


def run(seed: int, folder: Path, tell: Tell) -> None:
    """One run: a changed model that some engine takes, or `_TRIES` that none takes. The last thing told is its outcome."""
    random = np.random.default_rng([seed, 20])
    try:
        for number in range(_TRIES):
            base = pick(random)
            tell({"base": base.name, "changes": [], "tries": number + 1})
            tell({"changes": mutate(base, random)})
            outcome = _outcome(base, folder, random, tell)
            if outcome["kind"] == "answered":
                break
        tell(outcome)
    except Finding as finding:
        tell({"kind": finding.kind, "group": finding.group, "detail": str(finding)})


def _outcome(base: Base, folder: Path, random: np.random.Generator, tell: Tell) -> dict[str, Any]:
    source, weights = _source(base, folder)
    names = [name for name, engine in all_engines().items() if engine.installed]
    if base.quick:
        names = [str(random.choice(names))]
    elif random.random() < 0.1:
        names.append("")  # the engine that is measured to be fastest
    answers: dict[str, list[Any]] = {}
    errors: dict[str, str] = {}
    features: list[values.Features] = []
    first: Any = None
    for name in sorted(names, key=lambda name: name != "onnxruntime"):
        model = _tried(lambda name=name: _loaded(source, weights, name, base.quick), f"load on {name}", tell)
        if isinstance(model, PippinError):
            errors[name] = type(model).__name__
            continue
        first = first or (name, model)
        features = features or values.inputs(model.description.function(), random, 1 if base.quick else _INPUTS)
        answers[name] = [
            _tried(lambda f=f, model=model: _predicted(model, f), f"predict on {name}", tell) for f in features
        ]
    if not first:
        return {"kind": "refused", "group": sorted(errors.values())[0] if errors else ""}
    _compare(first, answers, features, random)
    return {"kind": "answered", "group": " ".join(answers), "predictions": sum(map(len, answers.values()))}


def _source(base: Base, folder: Path) -> tuple[Any, Any]:
    if base.message is not None:
        return base.message.SerializeToString(), base.weights or None
    root = written(base.files, folder, f"model{base.suffix}")
    return root / base.main if base.main else root, None


def _loaded(source: Any, weights: Any, engine: str, quick: bool) -> Any:
    hints = pippin.Hints(specialization_strategy="fast_load" if quick else "default")
    # A 16-bit type may be wrong by 40 dB, so it is only compared where it is chosen by itself.
    precision: Any = "float32" if engine else "auto"
    configuration = pippin.Configuration(engine=engine or None, threads=1, hints=hints, precision=precision)
    return pippin.load(source, configuration, weights=weights, cache=False)


def _predicted(model: Any, features: values.Features) -> Any:
    """A network may have a loop of any number of turns, so it gets a timeout; a program says itself that it may not end."""
    timeout = _TIMEOUT if model.description.kind.startswith("neuralNetwork") or _loops(model) else None
    if model.description.function().states:
        return model.predict(features, state=model.make_state(), timeout=timeout)
    return model.predict(features, timeout=timeout)


def _loops(model: Any) -> bool:
    return any(operation.kind == "while_loop" for operation in model.compute_plan.operations)


def _tried(work: Callable[[], Any], stage: str, tell: Tell) -> Any:
    """The result, or the error of our tree. Anything else is a finding."""
    tell({"stage": stage})
    try:
        return work()
    except PippinError as error:
        if not str(error).strip():
            raise Finding("exception", f"{type(error).__name__} without a message", _trace(error)) from None
        if error.__cause__ is not None and not isinstance(error.__cause__, PippinError):
            tell({"boundary": _place(error.__cause__)})
        return error
    except Exception as error:
        raise Finding("exception", _place(error), f"{stage}: {_trace(error)}") from None


def _place(error: BaseException) -> str:
    """The innermost place of ours in a traceback, and the exception's type."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(_SOURCE)]
    where = f"{frames[-1].filename.removeprefix(_SOURCE)}:{frames[-1].lineno} {frames[-1].name}" if frames else "?"
    return f"{type(error).__name__} in {where}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-3000:]


def _compare(first: tuple[str, Any], answers: dict[str, list[Any]], features: list[Any], random: Any) -> None:
    """Every engine against the first one. Answers that change with a second run, or much with nearly the same inputs, are
    not compared."""
    name, model = first
    for number, given in enumerate(features):
        wanted = answers[name][number]
        for other, found in ((engine, answers[engine][number]) for engine in answers if engine != name):
            failed = [type(value).__name__ for value in (found, wanted) if isinstance(value, PippinError)]
            if len(failed) == 2 or "DeadlineExceeded" in failed:
                continue
            text = f"{failed[0]}: {found if isinstance(found, PippinError) else wanted}" if failed else ""
            text = text or values.difference(found, wanted, _SLACK.get(other, 1.0))
            if not text or _unstable(model, given, wanted, random):
                continue
            group = (
                f"{other or 'any'} {'fails' if isinstance(found, PippinError) else 'alone answers' if failed else ''}"
            )
            raise Finding(
                "difference", group.strip(), f"{other or 'any'} against {name}: {text[:800]}; inputs {_brief(given)}"
            )


def _unstable(model: Any, features: Any, wanted: Any, random: Any) -> bool:
    if isinstance(wanted, PippinError):
        return False
    for again in (features, *(values.perturbed(features, random, scale) for scale in (1e-6, 1e-6, 1e-5, 1e-5))):
        try:
            if values.difference(_predicted(model, again), wanted):
                return True
        except PippinError:
            return True
    return False


def _brief(features: Any) -> str:
    return "; ".join(f"{name}: {str(value)[:160]}" for name, value in features.items())
