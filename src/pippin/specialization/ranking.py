"""Ranking: the best of the candidates by their times, measured or estimated, and why the others lost."""

from __future__ import annotations

from .prospects import AT_STAKE
from .trial import Trial


def best_of(trials: list[Trial], tolerance: float) -> Trial:
    """Of those near the fastest, the one that loads faster."""
    timed = {id(trial): trial.seconds or trial.estimated for trial in trials}
    known = [trial for trial in trials if timed[id(trial)] is not None]
    if not known:
        return trials[0]
    first = min(known, key=lambda trial: timed[id(trial)] or 0.0)

    def allowed(trial: Trial) -> float:  # an estimate is too coarse for a narrow tie
        estimate = any(t.seconds is None for t in (trial, first))
        return (timed[id(first)] or 0.0) * (AT_STAKE if estimate else 1 + tolerance)

    near = [trial for trial in known if (timed[id(trial)] or 0.0) <= allowed(trial)]
    # A candidate of which nothing is known counts as tied if it computes in the same precision.
    same = {trial.settings.precision for trial in near}
    near += [t for t in trials if t.unmeasured and t.estimated is None and {t.settings.precision} == same]
    return min(near, key=lambda trial: (trial.engine.load_rank, trial.compilation or 0.0))


def reason(trial: Trial, best: Trial, tolerance: float) -> str:
    """Why a candidate was not chosen."""
    if trial.estimated or best.estimated:
        times = (trial.seconds or trial.estimated or 0.0) / (best.seconds or best.estimated or 1.0)
        return f"no time to run every engine; estimated at {times:.2f} times {best.engine.name}'s time"
    if trial.unmeasured or best.unmeasured:
        return f"no time to measure every engine; {best.engine.name} loads faster or was faster"
    if trial.seconds is None or best.seconds is None:
        return "not measured; another engine has priority"
    if trial.seconds <= best.seconds * (1 + tolerance):
        return f"tied with {best.engine.name}, which loads faster"
    return f"takes {trial.seconds / best.seconds:.2f} times as long as {best.engine.name} {best.settings.precision}"
