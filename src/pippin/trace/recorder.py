"""Recorder: passes events to the active recordings.

The only cost while not recording is one read of `recorder.sink` per event, which is then None.

A record is a tuple of numbers, strings and tuples of these: creating one takes 0.25 us, and the garbage collector soon
stops tracking it. The third element is always the time (seconds of `time.perf_counter`):

    (SPAN, name, start, end, thread, label, lane, model, number, parent, details)
    (PREDICTION, subject, start, end, thread, encoded, computed, marks, bytes)
    (FAILURE, subject, start, end, thread, error)
    (COUNTS, model, time, waiting, cancelled, dropped, rejected)
    (SAMPLE, "", time, resident bytes, busy cores)
    (COUNTER, name, time, value)

The subject of a prediction is (number, model name, function name, ((device, engine, precision) of each segment)). Its
marks are the end times of all segments but the last.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token, copy_context
from functools import partial
from threading import Lock, get_ident
from time import perf_counter
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

SPAN, PREDICTION, FAILURE, COUNTS, SAMPLE, COUNTER = range(6)

T = TypeVar("T")
P = ParamSpec("P")
Record = tuple[Any, ...]
Sink = Callable[[Record], object]
Subject = tuple[int, str, str, tuple[tuple[str, str, str], ...]]

sink: Sink | None = None
"""Takes a record; None while not recording."""

numbers = itertools.count(1)
"""Numbers for spans and models; `next` is atomic."""

_sinks: tuple[Sink, ...] = ()
_lock = Lock()


def connect(new: Sink) -> None:
    """Also send records to `new`."""
    with _lock:
        _send_to((*_sinks, new))


def disconnect(old: Sink) -> None:
    with _lock:
        _send_to(tuple(known for known in _sinks if known is not old))


def _send_to(sinks: tuple[Sink, ...]) -> None:
    global _sinks, sink

    def each(record: Record) -> None:
        for one in sinks:
            one(record)

    _sinks = sinks
    sink = None if not sinks else sinks[0] if len(sinks) == 1 else each


def _forked() -> None:
    """Stop recording in a forked child: the recording threads exist only in the parent."""
    global _lock
    _lock = Lock()
    _send_to(())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Span:
    """An open event. `label` is the kind it turns out to be: "cached" or "prepare and cache" for a load. `model` is the
    number or the name of the model it belongs to."""

    __slots__ = ("_parent", "_start", "_token", "details", "label", "lane", "model", "name", "number")

    def __init__(self, name: str, lane: str, model: int | str, details: dict[str, Any]) -> None:
        self.name = name
        self.lane = lane
        self.model = model
        self.label = ""
        self.details = details
        self.number = next(numbers)
        self._token: Token[int]

    def __enter__(self) -> Span:
        self._parent = _open.get()
        self._token = _open.set(self.number)
        self._start = perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        end = perf_counter()
        _open.reset(self._token)
        if kind is not None:
            self.details["error"] = kind.__name__
        send = sink
        if send is not None:
            details = tuple(self.details.items())
            send(
                (SPAN, self.name, self._start, end, get_ident(), self.label, self.lane, self.model, self.number,
                 self._parent, details)
            )  # fmt: skip


_open: ContextVar[int] = ContextVar("pippin_span", default=0)
_disabled = nullcontext(Span("not recording", "", "", {}))


def span(name: str, *, model: str = "", lane: str = "activity", **details: Any) -> AbstractContextManager[Span]:
    """Record the block as an event, inside the open event of this thread or task.

    `model` names its subtrack; `details` (numbers and strings) are shown with it.
    """
    return _disabled if sink is None else Span(name, lane, model, details)


def within(work: Callable[P, T]) -> Callable[P, T]:
    """Wrap `work` so that another thread runs it inside the open event of this thread or task."""
    return work if sink is None else partial(copy_context().run, work)


def counter(name: str, value: float) -> None:
    """Record the current value of a counter."""
    send = sink
    if send is not None:
        send((COUNTER, name, perf_counter(), value))
