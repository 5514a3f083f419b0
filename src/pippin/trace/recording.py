"""Recording: collects the events of every thread and task of the process over a period of time."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any

from . import recorder
from .events import Event, events, with_children
from .recorder import Record


class Recording:
    """Returned by `pippin.trace.record`. Records between `start` and `stop`, or in a `with` block.

    Any thread may start, stop and read it, even while it records.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, sample: float = 0.02, limit: int = 1_000_000
    ) -> None:
        self.path = path
        self._sample = sample
        self._records: deque[Record] = deque(maxlen=limit)
        self._append = self._records.append  # kept: `disconnect` compares by identity
        self._sampler: Any = None
        self.started = time.perf_counter()
        """Start time by `time.perf_counter`."""
        self.time = time.time()
        """Start time in seconds since 1970."""

    def start(self) -> Recording:
        from .sampler import Sampler

        self.started, self.time = time.perf_counter(), time.time()
        if self._sample:
            self._sampler = Sampler(self._append, self._sample)
            self._sampler.start()
        recorder.connect(self._append)
        return self

    def stop(self) -> None:
        """Stop recording, and write the trace if it has a path."""
        recorder.disconnect(self._append)
        sampler, self._sampler = self._sampler, None
        if sampler is not None:
            sampler.stop()
        if self.path is not None:
            self.write(self.path)

    __enter__ = start

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def full(self) -> bool:
        """Whether the limit is reached; older records may have been dropped."""
        return len(self._records) == self._records.maxlen

    def records(self) -> list[Record]:
        """The records, sorted by time."""
        while True:
            try:
                return sorted(self._records, key=lambda record: record[2])
            except RuntimeError:  # a record was added during the sort
                continue

    @property
    def children(self) -> list[Event]:
        """The top-level events, sorted by start."""
        return list(events(self.records()))

    @property
    def events(self) -> list[Event]:
        """All events, each before its children."""
        return [event for top in self.children for event in with_children(top)]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write Chrome trace JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open."""
        from .chrome_json import write

        write(self.records(), path, self.time - self.started)

    def __repr__(self) -> str:
        return f"<pippin.trace.Recording of {len(self._records)} records>"
