"""Prepared models: a lowered model after the passes of each engine, as bytes or as a file that the engine reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

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
) -> Iterator[dict[str, bytes | Path]]:
    """The model as each engine reads it, by engine name, after the passes the engine needs. `models` has those of
    engines that read another one."""
    with ExitStack() as stack:
        prepared_sources: list[tuple[onnx.ModelProto, bytes | Path]] = []
        by_engine = {}
        for engine in engines:
            made = prepared(engine, (models or {}).get(engine.name, model))
            known = next((source for other, source in prepared_sources if other is made), None)
            if known is None:
                known = stack.enter_context(readable(made))
                prepared_sources.append((made, known))
            by_engine[engine.name] = known
        yield by_engine
