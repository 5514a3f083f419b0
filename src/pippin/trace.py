"""Trace: what happened when. Spans cost nothing measurable while nobody records."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Span:
    """One event: from `start` to `end` in seconds of a monotonic clock, with the spans inside it as `children`."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    """What kind of event it turned out to be: a load is "cached" or "prepare and cache"."""
    start: float = 0.0
    end: float = 0.0
    children: list[Span] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.end - self.start


_parent: ContextVar[Span | None] = ContextVar("pippin_span", default=None)
_nobody = nullcontext(Span("nobody records"))


def span(name: str, **arguments: Any) -> AbstractContextManager[Span]:
    """An event as long as the block, inside the one that is open in this thread or task."""
    parent = _parent.get()
    return _nobody if parent is None else _open(parent, name, arguments)


@contextmanager
def _open(parent: Span, name: str, arguments: dict[str, Any]) -> Iterator[Span]:
    made = Span(name, arguments, start=time.perf_counter())
    parent.children.append(made)
    token = _parent.set(made)
    try:
        yield made
    finally:
        made.end = time.perf_counter()
        _parent.reset(token)


@contextmanager
def record() -> Iterator[Span]:
    """Record what this thread (or task, and the threads it hands its context to) does inside the block.

    with pippin.trace.record() as recorded:
        pippin.load("model.mlpackage")
    print([(span.name, span.label, span.seconds) for span in recorded.children])
    """
    root = Span("recorded", start=time.perf_counter())
    token = _parent.set(root)
    try:
        yield root
    finally:
        root.end = time.perf_counter()
        _parent.reset(token)
