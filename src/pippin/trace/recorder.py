"""Recorder: where events go while somebody records. Whoever has an event reads `recorder.sink` once, and is done where
it is None: that is all that is paid while nobody records.

A record is a tuple of numbers, strings and tuples of these: it is made in a quarter of a microsecond, and the garbage
collector soon forgets it. The third element is always the time (seconds of `time.perf_counter`):

    (SPAN, name, start, end, thread, label, lane, model, number, parent, details)
    (PREDICTION, subject, start, end, thread, encoded, computed, marks, bytes)
    (FAILURE, subject, start, end, thread, error)
    (COUNTS, model, time, waiting, cancelled, dropped, rejected)
    (SAMPLE, "", time, resident bytes, busy cores)
    (COUNTER, name, time, value)

The subject of a prediction is (number, model name, function name, ((device, engine, precision) of each segment)), its
marks are the end of each segment but the last one.
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
"""Takes a record; None while nobody records."""

numbers = itertools.count(1)
"""Numbers of spans and of the models that are predicted with; `next` is atomic."""

_sinks: tuple[Sink, ...] = ()
_lock = Lock()


def connect(new: Sink) -> None:
    """Send the records there too."""
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
    """A child that was forked records nothing: the threads that would are its parent's."""
    global _lock
    _lock = Lock()
    _send_to(())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Span:
    """An event that is under way. `label` says what kind it turned out to be: a load is "cached" or "prepare and
    cache"; `model` is the number or the name of the model that it belongs to."""

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
_nobody = nullcontext(Span("nobody records", "", "", {}))


def span(name: str, *, model: str = "", lane: str = "activity", **details: Any) -> AbstractContextManager[Span]:
    """An event as long as the block, inside the one that is open in this thread or task.

    `model` names the subtrack that it stands on, `details` (numbers and strings) are shown with it.
    """
    return _nobody if sink is None else Span(name, lane, model, details)


def within(work: Callable[P, T]) -> Callable[P, T]:
    """`work` for another thread, there inside what is open in this thread or task."""
    return work if sink is None else partial(copy_context().run, work)


def counter(name: str, value: float) -> None:
    """Note the value of a counter, now."""
    send = sink
    if send is not None:
        send((COUNTER, name, perf_counter(), value))
