"""OpenTelemetry: every event as a span of the program's own traces, as soon as it is over.

A span stands in the one that is current in the thread or task that the event belongs to, a request's for example.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from . import recorder
from .events import Event, events
from .recorder import FAILURE, PREDICTION, SPAN, Record

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_active: list[_Exporter] = []


def instrument(tracer_provider: Any) -> None:
    """Raises ConfigurationError where the package is not installed."""
    try:
        from opentelemetry import trace as opentelemetry
    except ImportError:
        raise ConfigurationError("OpenTelemetry is not installed (pip install 'pippin[otel]')") from None
    from ..version import __version__

    uninstrument()
    exporter = _Exporter(opentelemetry.get_tracer("pippin", __version__, tracer_provider))
    _active.append(exporter)
    recorder.connect(exporter)


def uninstrument() -> None:
    while _active:
        recorder.disconnect(_active.pop())


class _Exporter:
    """A sink. Spans come before those that they stand in: they wait for them."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._epoch = time.time() - time.perf_counter()
        self._lock = Lock()
        self._waiting: dict[int, list[Record]] = {}
        """By the number of the span that they stand in."""

    def __call__(self, record: Record) -> None:
        if record[0] in (PREDICTION, FAILURE):
            self._emit(next(events([record])), None)
        elif record[0] == SPAN:
            number, parent = record[8], record[9]
            with self._lock:
                inside = self._waiting.pop(number, [])
                if parent:
                    self._waiting.setdefault(parent, []).extend([*inside, record])
                    return
            for event in events(sorted([*inside, record], key=lambda found: found[2])):
                self._emit(event, None)

    def _emit(self, event: Event, context: Any) -> None:
        from opentelemetry import trace as opentelemetry

        attributes = {f"pippin.{name}": value for name, value in event.details.items()}
        attributes |= {"pippin.lane": event.lane} | ({"pippin.label": event.label} if event.label else {})
        span = self._tracer.start_span(
            f"pippin {event.name}", context, attributes=attributes, start_time=self._nano(event.start)
        )
        if "error" in event.details:
            span.set_status(opentelemetry.StatusCode.ERROR, str(event.details["error"]))
        for child in event.children:
            self._emit(child, opentelemetry.set_span_in_context(span))
        span.end(self._nano(event.end))

    def _nano(self, seconds: float) -> int:
        return int((seconds + self._epoch) * 1e9)
