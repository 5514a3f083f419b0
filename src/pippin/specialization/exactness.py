"""Exactness: what each engine needs so that NaN and infinity come out right, and a compilation that is exact itself."""

from __future__ import annotations

from typing import Any, Literal

import onnx

from ..engines import Compiled, Engine, Settings, engine_named, python_engine
from ..lowering.external_data import readable
from ..lowering.intervals import Intervals
from ..lowering.lowered_model import PYTHON, Lowered
from ..passes.exact_forms import exact
from ..passes.nonfinite import PROBE, Exposure, exposure, probed, with_moderate_quotients
from .artifacts import CompiledSegment, join_segments
from .nonfinite import EXACT, Guard
from .segment import cut


def refusals(found: Exposure, engine: Engine) -> dict[str, str]:
    """The nodes that an engine must not run, because neither a check nor a probe helps: {node name: reason}."""
    if found.hidden and engine.name != EXACT:
        return {
            name: f"{operator} in a loop or branch in which NaN can arise: {engine.name} makes a number of it"
            for name, operator in found.hidden
        }
    if (found.nan or found.infinite) and engine.misjudges("ReduceSum", "NaN"):
        name = (*found.nan, *found.infinite)[0]
        return {name: f"'{name}' can be NaN or infinite, of which {engine.name} makes another number"}
    return {}


def guarded_model(
    model: onnx.ModelProto, known: Intervals, engine: Engine, pixels: set[str], quantizes: bool = False
) -> tuple[onnx.ModelProto, Guard]:
    """The model with the probe that an engine needs, and what is checked. `quantizes`: products may quantize
    their operands, and make numbers of NaN and infinity."""

    def misjudges(operator: str, kind: Literal["NaN", "infinity"]) -> bool:
        return (quantizes and operator in ("Conv", "Gemm", "MatMul")) or engine.misjudges(operator, kind)

    found = exposure(model.graph, known, misjudges, pixels)
    if found.hidden and engine.name == EXACT:
        return exact(model), Guard()
    found = with_moderate_quotients(model.graph, found, known, engine.misjudges, pixels)
    made = probed(model, found)
    return made, Guard(found.inputs, PROBE if made is not model else "")


def compile_exact(lowered: Lowered) -> Compiled:
    """The exact compilation of a lowered model."""
    engine: Any = engine_named(EXACT)
    model = exact(lowered.model)
    python = [node.domain == PYTHON for node in model.graph.node]

    def compiled(part: onnx.ModelProto, in_python: bool) -> Compiled:
        with readable(part if in_python else engine.prepared(part)) as source:
            made: Compiled = python_engine().compile(source) if in_python else engine.compile_plainly(source)
            return made

    if not any(python):
        return compiled(model, False)
    parts = [
        (CompiledSegment(EXACT, Settings(), part.inputs, part.outputs), compiled(part.model, bool(part.unit)))
        for part in cut(model, [int(each) for each in python])
    ]
    return join_segments(parts, [info.name for info in model.graph.output])
