"""Trial: one candidate of a specialization, with what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..engines import Compiled, Engine, Settings
from . import contention
from .compute_plan import Candidate


@dataclass(slots=True)
class Trial:
    """A candidate with its measurements."""

    engine: Engine
    settings: Settings
    compiled: Compiled | None = None
    compilation: float | None = None
    times: list[float] = field(default_factory=list)
    throughput: float | None = None
    artifact: Path | None = None
    """The folder its engine may write to."""
    noise: dict[str, float] = field(default_factory=dict)
    note: str = ""
    estimated: float | None = None
    """Seconds of a prediction, from those of another engine, if there was no time to run it."""
    unmeasured: bool = False
    """Not run for lack of time, or stopped."""
    short: bool = False
    """Whether a run was so short that further ones need not be stoppable, which would take some of their time."""
    unchecked: str = ""
    """Why it could not be compared with a reference; "" if it was, or need not be."""

    @property
    def seconds(self) -> float | None:
        return contention.typical_time(self.times) if self.times else None

    def described(self) -> Candidate:
        s = self.settings
        return Candidate(
            self.engine.name, s.device, s.precision, s.threads, self.seconds, self.throughput, self.compilation,
            {name: min(value, 999.0) for name, value in self.noise.items()}, self.note, s.streams,
            spread=contention.spread(self.times) if self.times else None,
        )  # fmt: skip
