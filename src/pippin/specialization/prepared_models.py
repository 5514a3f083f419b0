"""Prepared models: a lowered model after the passes of each engine, as bytes or as a file that the engine reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock

import onnx

from ..devices import cpu
from ..engines import Engine
from ..lowering.external_data import readable


def prepared(engine: Engine, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model after the passes that an engine needs on this processor."""
    return engine.prepared(model, cpu.saturates())


@contextmanager
def sources(
    model: onnx.ModelProto, engines: Sequence[Engine], models: Mapping[str, onnx.ModelProto] | None = None
) -> Iterator[Mapping[str, bytes | Path]]:
    """The model as each engine reads it, by engine name, after the passes the engine needs. `models` has those of
    engines that read another one."""
    with ExitStack() as stack:
        yield _Sources({e.name: (e, (models or {}).get(e.name, model)) for e in engines}, stack)


class _Sources(Mapping[str, "bytes | Path"]):
    """Made when an engine asks: one that is never compiled costs nothing. Thread-safe."""

    def __init__(self, given: Mapping[str, tuple[Engine, onnx.ModelProto]], stack: ExitStack) -> None:
        self._given, self._stack, self._lock = given, stack, Lock()
        self._made: list[tuple[onnx.ModelProto, bytes | Path]] = []
        self._by_engine: dict[str, bytes | Path] = {}

    def __getitem__(self, name: str) -> bytes | Path:
        with self._lock:
            if name not in self._by_engine:
                made = prepared(*self._given[name])
                known = next((source for other, source in self._made if other is made), None)
                if known is None:
                    known = self._stack.enter_context(readable(made))
                    self._made.append((made, known))
                self._by_engine[name] = known
            return self._by_engine[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)
