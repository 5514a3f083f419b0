"""OpenTelemetry: emits every event as a span of the program's own traces, when it ends.

A span is a child of the current span of the event's thread or task, for example a request's.
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
    """Raises ConfigurationError if the package is not installed."""
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
    """A sink. Inner spans end first, so they wait for the outermost one."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._epoch = time.time() - time.perf_counter()
        self._lock = Lock()
        self._waiting: dict[int, list[Record]] = {}
        """Records by the number of the enclosing span."""

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
            for event in events(sorted([*inside, record], key=lambda item: item[2])):
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
