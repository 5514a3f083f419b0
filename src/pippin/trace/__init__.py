"""Trace: what happened when: loads, predictions, their data and compute, memory and CPU, of the whole process.

with pippin.trace.record("t.json"):         # any thread, any task; opens in Perfetto and chrome://tracing
    model.predict(features)

Nothing measurable is paid while nobody records. `docs/trace.md` tells what the lanes mean.
"""

from .program import record_program as _record_program
from .recorder import counter as counter
from .recorder import span as span
from .recording import Event as Event
from .recording import Recording as Recording
from .recording import record as record

_record_program()


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
