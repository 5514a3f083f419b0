"""Catalogue: what a MIL operation makes of an edge is a row; each row runs with each engine and with none named.

    edge("relu", lambda x: mb.relu(x=x), lambda x: np.where(x < 0, 0, x), x=FLOATS)

The arrays of a row are inputs of its program, and each is a list: a row is loaded once and predicts each of its sets.
What is expected is a function of the same arguments, by numpy or torch, or by the definition where it says otherwise. A
row with floats runs on what the caller gives and on what arises in the program by a division; with `halves`, in float16.
Booleans and integers of less than 32 bits, which are no features of a model, are cast at both ends of the program.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import pytest
from coremltools.converters.mil.backend.mil.load import MILProtoExporter
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol, types

import coremltools as ct
import pippin
from pippin.engines import all_engines
from pippin.errors import UnsupportedOperationError
from pippin.format.asset import open_asset
from pippin.program.infer_description import describe
from pippin.program.protobuf_reader import read_program

ENGINES = ("onnxruntime", "openvino", "mnn", None)
_TARGETS = {15: ct.target.iOS15, 16: ct.target.iOS16, 17: ct.target.iOS17, 18: ct.target.iOS18}
_FEATURES = (np.float32, np.float16, np.int32)

QUOTIENT = "of a quotient: OpenVINO multiplies by the reciprocal"
"""Why OpenVINO declines what is cut to an integer after a division, as which values arise."""


@dataclass(frozen=True)
class Edge:
    operation: str
    build: Callable[..., Any]
    expect: Any
    sets: tuple[dict[str, np.ndarray], ...]
    label: str = ""
    opset: int = 17
    rtol: float = 0.0
    atol: float = 0.0
    signs: bool = False
    """Whether the sign of a zero is compared. MNN loses it, and so does ONNX Runtime's Where."""
    arises: bool = True
    """Whether it also runs on floats that arise in the program."""
    halves: bool = False
    """Whether it also runs in float16, which is computed in float32 and rounded at the ends."""
    flexible: tuple[int, ...] | None = None
    """The axes whose sizes the program does not know."""
    raises: str = ""
    """What the error says, where the prediction is refused."""
    without: dict[str, str] = field(default_factory=dict)
    """Engines that decline the row: part of what the error says, by name."""

    @property
    def name(self) -> str:
        return f"{self.operation} {self.label}".strip().replace(" ", "_")


def edge(operation: str, build: Callable[..., Any], expect: Any = None, *, label: str = "", **how: Any) -> Edge:
    """One row. Keywords that are no fields of `Edge` are its inputs: an array, or a list of arrays, one for each set."""
    fields = {name: how.pop(name) for name in tuple(how) if name in Edge.__dataclass_fields__}
    lists = {name: value if isinstance(value, list) else [value] for name, value in how.items()}
    count = max((len(each) for each in lists.values()), default=1)
    sets = tuple({name: each[i % len(each)] for name, each in lists.items()} for i in range(count))
    return Edge(operation, build, expect, sets, label, **fields)


def edges(rows: Sequence[Edge]) -> Callable[[Any], Any]:
    """Parametrize a test with each row, engine and source of its values: `def test_x(row, engine, source)`."""
    names = [row.name for row in rows]
    assert len(set(names)) == len(names), f"two rows of the same name: {[n for n in names if names.count(n) > 1]}"
    parameters = []
    for row in rows:
        floats = any(map(_floats, row.sets[0].values()))
        sources = {"given": True, "arising": floats and row.arises, "float16": floats and row.halves}
        for source in (name for name, wanted in sources.items() if wanted):
            # MNN has no float16, and is not given an operation whose operand can become NaN.
            for engine in ENGINES if source == "given" else ("onnxruntime", "openvino"):
                name = f"{row.name}-{engine or 'default'}-{source}"
                parameters.append(pytest.param(row, engine, source, id=name))
    return pytest.mark.parametrize(("row", "engine", "source"), parameters)


def check(row: Edge, engine: str | None, source: str, folder: Any) -> None:
    """Load a row, predict each of its sets and compare. That a named engine declines the row, and says why, is right
    too."""
    if source == "float16":
        row = _in_float16(row)
    model = _loaded(row, engine, source == "arising", str(folder))
    if model is None:
        return
    for arrays in row.sets:
        given = _given(arrays, source == "arising")
        if row.raises:
            with pytest.raises(pippin.PippinError, match=row.raises):
                model.predict(given)
            continue
        found = list(model.predict(given).values())
        with np.errstate(all="ignore"):
            expected = row.expect(**arrays) if callable(row.expect) else row.expect
        expected = expected if isinstance(expected, tuple) else (expected,)
        assert len(found) == len(expected), f"{len(found)} outputs, {len(expected)} expected"
        for own, right in zip(found, expected, strict=True):
            problem = difference(np.asarray(own), np.asarray(right), row, signs=row.signs and engine != "mnn")
            assert not problem, f"{problem}\nof {_shown(arrays)}"


def _in_float16(row: Edge) -> Edge:
    with np.errstate(over="ignore"):
        sets = tuple({n: a.astype(np.float16) if _floats(a) else a for n, a in each.items()} for each in row.sets)

    def expect(**arrays: np.ndarray) -> Any:
        return row.expect(**{n: a.astype(np.float32) if _floats(a) else a for n, a in arrays.items()})

    return replace(row, sets=sets, expect=expect, rtol=max(row.rtol, 1e-3), atol=max(row.atol, 1e-7))


def _loaded(row: Edge, engine: str | None, arising: bool, folder: str) -> Any:
    """The model; None if the engine declines the row."""
    if engine is not None and not all_engines()[engine].installed:
        pytest.skip(f"{engine} is not installed")
    hints = pippin.Hints(specialization_strategy="default" if engine is None else "fast_load")
    configuration = pippin.Configuration(engine=engine, hints=hints)
    try:
        return pippin.load(program_of(row, arising, folder), configuration, weights=folder, cache=False)
    except UnsupportedOperationError as error:
        if engine in (None, "onnxruntime"):
            raise
        assert str(error).startswith(f"{engine} cannot run this model: "), str(error)
        # MNN is offered little. OpenVINO runs all but what its row says.
        known = (QUOTIENT, row.without.get(engine, QUOTIENT))
        assert engine == "mnn" or any(reason in str(error) for reason in known), str(error)
        return None


def difference(own: np.ndarray, right: np.ndarray, row: Edge, signs: bool) -> str:
    """How a result differs from what is expected; "" if it does not."""
    if own.shape != right.shape:
        return f"the shape is {own.shape}, expected {right.shape}"
    if own.dtype.kind != (right.dtype.kind if right.dtype.kind == "f" else "i"):
        return f"the type is {own.dtype}, expected {right.dtype}"
    wide, expected = own.astype(np.float64), right.astype(own.dtype).astype(np.float64)
    same = np.isclose(wide, expected, row.rtol, row.atol, equal_nan=True)
    if signs:
        same &= (np.signbit(wide) == np.signbit(expected)) | (wide != 0) | np.isnan(wide)
    if same.all():
        return ""
    where = [tuple(map(int, place)) for place in np.argwhere(~same)]
    return "; ".join(f"{list(place)}: {own[place]}, expected {right[place]}" for place in where[:6])


def _floats(array: np.ndarray) -> bool:
    return bool(array.dtype.kind == "f")


def _shown(arrays: dict[str, np.ndarray]) -> str:
    return ", ".join(f"{name} = {array.tolist()}" for name, array in arrays.items())


# The program


def program_of(row: Edge, arising: bool, folder: str) -> Any:
    """The row as a specification; its weights are written into the folder."""
    specs = dict(_inputs(row, arising))

    def body(**values: Any) -> Any:
        made = {}
        for name, array in row.sets[0].items():
            made[name] = mb.real_div(x=values[name], y=values[f"{name}_by"]) if f"{name}_by" in values else values[name]
            if array.dtype.type not in _FEATURES:
                made[name] = mb.cast(x=made[name], dtype=array.dtype.name)
        results = row.build(**made)
        results = results if isinstance(results, tuple | list) else (results,)
        return tuple(_feature(result, f"y{number}") for number, result in enumerate(results))

    scope: dict[str, Any] = {"body": body}
    exec(f"def main({', '.join(specs)}): return body({', '.join(f'{n}={n}' for n in specs)})", scope)
    target = _TARGETS[row.opset]
    program = mb.program(input_specs=list(specs.values()), opset_version=target)(scope["main"])
    exported = MILProtoExporter(program, folder, specification_version=int(target)).export()
    model = ct.proto.Model_pb2.Model(specificationVersion=int(target), mlProgram=exported)
    describe(read_program(open_asset(model, weights=folder)), model)
    return model


def _inputs(row: Edge, arising: bool) -> Iterator[tuple[str, Any]]:
    for name, array in row.sets[0].items():
        dtype = array.dtype.type if array.dtype.type in _FEATURES else np.int32
        shape = tuple(get_new_symbol() if i in (row.flexible or ()) else d for i, d in enumerate(array.shape))
        for each in (name, f"{name}_by") if arising and _floats(array) else (name,):
            yield each, mb.TensorSpec(shape, types.numpy_type_to_builtin_type(dtype))


def _feature(result: Any, name: str) -> Any:
    if result.dtype in (types.fp32, types.int32, types.fp16):
        return mb.identity(x=result, name=name)
    return mb.cast(x=result, dtype="int32", name=name)


def _given(arrays: dict[str, np.ndarray], arising: bool) -> dict[str, np.ndarray]:
    """What the prediction takes: the arrays, or finite dividends and divisors of them."""
    found = {}
    for name, array in arrays.items():
        if not (arising and _floats(array)):
            found[name] = array.astype(array.dtype if array.dtype.type in _FEATURES else np.int32)
            continue
        wild = ~np.isfinite(array)
        found[name] = np.where(np.isnan(array), 0, np.where(wild, np.copysign(1, array), array)).astype(array.dtype)
        found[f"{name}_by"] = np.where(wild, 0, 1).astype(array.dtype)
    return found
