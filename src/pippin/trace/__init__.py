"""Trace: records loads, predictions, their data and compute stages, memory and CPU use of the whole process.

with pippin.trace.record("t.json"):         # any thread, any task; opens in Perfetto and chrome://tracing
    model.predict(features)

In: events of every thread and task. Out: Chrome trace JSON or OpenTelemetry spans. The cost while not recording is not
measurable. `docs/trace.md` describes the lanes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .recorder import counter as counter
from .recorder import span as span

if TYPE_CHECKING:  # not imported unless recording
    from .events import Event as Event
    from .recording import Recording as Recording

if os.environ.get("PIPPIN_TRACE"):
    from .autostart import record_program as _record_program

    _record_program()


def record(path: str | os.PathLike[str] | None = None, *, sample: float = 0.02, limit: int = 1_000_000) -> Recording:
    """Record the events of every thread and task of the process.

    with pippin.trace.record("t.json") as recorded:
        model.predict(features)
    print([(event.name, event.label, event.seconds) for event in recorded.events])

    The trace is written to `path` at the end. Memory and CPU use are sampled every `sample` seconds (0: never). The
    newest `limit` records are kept; a prediction with its data and compute events is one record.
    """
    from .recording import Recording

    return Recording(path, sample, limit)


def instrument(tracer_provider: object = None) -> None:
    """Emit every event from now on as an OpenTelemetry span, through this provider or the global one.

    Requires the extra `pippin[otel]`; raises ConfigurationError without it.
    """
    from .opentelemetry import instrument

    instrument(tracer_provider)


def uninstrument() -> None:
    """Undo `instrument`."""
    from .opentelemetry import uninstrument

    uninstrument()
