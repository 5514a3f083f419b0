"""Prepared models: a lowered model after the passes of each engine, as bytes or as a file that the engine reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import RLock

import onnx

from ..devices import cpu
from ..engines import Engine
from ..lowering.external_data import readable
from ..support.memory import give_back
from .weight_storage import LARGE, main_type, weight_bytes


def prepared(engine: Engine, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model after the passes that an engine needs on this processor."""
    return engine.prepared(model, cpu.saturates())


class Sources(Mapping[str, "bytes | Path"]):
    """The model as each engine reads it, by engine name, made when an engine asks: one that is never compiled costs
    nothing. Of a large model nothing but a file is kept. Thread-safe."""

    def __init__(
        self, model: onnx.ModelProto, engines: Sequence[Engine], models: Mapping[str, onnx.ModelProto], stack: ExitStack
    ) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._models = {name: models.get(name, model) for name in self._engines}
        self._stack, self._lock = stack, RLock()
        self._made: dict[str, bytes | Path] = {}
        self._known: list[tuple[onnx.ModelProto, bytes | Path]] = []
        self._large = weight_bytes(model) >= LARGE
        self.types: dict[str, str] = {}
        """The element type of most weights, by engine name, of what was made."""

    def __getitem__(self, name: str) -> bytes | Path:
        with self._lock:
            if name not in self._made:
                self._make(name)
            return self._made[name]

    def _make(self, name: str) -> None:
        model = prepared(self._engines[name], self._models[name])
        known = next((source for other, source in self._known if other is model), None)
        if known is None:
            known = self._stack.enter_context(readable(model))
            if sum(len(tensor.raw_data) for tensor in model.graph.initializer) < LARGE:
                self._known.append((model, known))
        self._made[name], self.types[name] = known, main_type(model)
        del model
        if self._large:
            give_back()

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)


@contextmanager
def sources(
    model: onnx.ModelProto, engines: Sequence[Engine], models: Mapping[str, onnx.ModelProto] | None = None
) -> Iterator[Sources]:
    """The model as each engine reads it, by engine name, after the passes the engine needs. `models` has those of
    engines that read another one."""
    with ExitStack() as stack:
        yield Sources(model, engines, models or {}, stack)
