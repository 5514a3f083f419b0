"""Trace: what happened when: loads, predictions, their data and compute, memory and CPU, of the whole process.

with pippin.trace.record("t.json"):         # any thread, any task; opens in Perfetto and chrome://tracing
    model.predict(features)

Nothing measurable is paid while nobody records. `docs/trace.md` tells what the lanes mean.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .recorder import counter as counter
from .recorder import span as span

if TYPE_CHECKING:  # whoever records nothing need not import it
    from .events import Event as Event
    from .recording import Recording as Recording

if os.environ.get("PIPPIN_TRACE"):
    from .record_program import record_program as _record_program

    _record_program()


def record(path: str | os.PathLike[str] | None = None, *, sample: float = 0.02, limit: int = 1_000_000) -> Recording:
    """Record what the process does, in every thread and task.

    with pippin.trace.record("t.json") as recorded:
        model.predict(features)
    print([(event.name, event.label, event.seconds) for event in recorded.events])

    `path` is where the trace is written at the end. Memory and CPU use are sampled every `sample` seconds (0: never).
    The newest `limit` records are kept; a prediction with its data and compute events is one record.
    """
    from .recording import Recording

    return Recording(path, sample, limit)


def instrument(tracer_provider: object = None) -> None:
    """Emit every event as an OpenTelemetry span, from now on, by this provider or the global one.

    Needs the extra `pippin[otel]`. Raises ConfigurationError without it.
    """
    from .opentelemetry import instrument

    instrument(tracer_provider)


def uninstrument() -> None:
    """Undo `instrument`."""
    from .opentelemetry import uninstrument

    uninstrument()
