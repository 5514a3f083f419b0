"""Harness: a behaviour of a MIL operation is a row; each row runs on every engine and in every float type.

    case("leaky_relu", x=f32(2, 3), alpha=const(0.1), expect=lambda x, alpha: np.where(x > 0, x, alpha * x))

Arrays are inputs of the program; `const(...)`, numbers, strings and lists are constants in it. The program is built
and type-checked by coremltools, written as protobuf, read, lowered, compiled and run. `expect` is a function of the
arguments (float16 ones widened to float32) or the expected arrays: numpy, scipy or torch, never our own engine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import pytest
from coremltools.converters.mil.backend.mil.load import MILProtoExporter
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol, types

import coremltools as ct
from pippin.engines import Compiled, Settings, all_engines
from pippin.errors import CompilationError
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.lowering.lowered_model import Lowered, refuse_outside
from pippin.program.protobuf_reader import read_program
from pippin.specialization.reference import prepared

ENGINES = ("openvino", "onnxruntime")
# Why some rows of an operation are not given to OpenVINO, or not compiled by it; any other refusal fails.
_REFUSED = {
    "conv_transpose": ("NullNode operation with dynamic rank",),  # computed weights
    "fill": ("Broadcast operation with dynamic rank",),
    "floor_div": ("Floor of a quotient",),
    "gru": ("Unsupported activation function",),
    "lstm": (
        "LSTM with peepholes",
        "Unsupported activation function",
        "ConvertLSTMSequenceToTensorIterator",
        "failed for: Scan",
    ),
    "mod": ("Floor of a quotient",),
    "reshape": ("Reshape operation with dynamic rank",),
    "rnn": ("Unsupported activation function", "ConvertRNNSequenceToTensorIterator"),
}
_TARGETS = {15: ct.target.iOS15, 16: ct.target.iOS16, 17: ct.target.iOS17, 18: ct.target.iOS18}


@dataclass(frozen=True)
class Const:
    """An array that is a constant of the program."""

    value: Any


@dataclass(frozen=True)
class Dynamic:
    """An input some of whose sizes (all, by default) the program does not know."""

    value: np.ndarray
    axes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Case:
    op: str
    arguments: dict[str, Any]
    expect: Any
    opset: int = 15
    dtypes: tuple[str, ...] = ("fp32", "fp16")
    rtol: float = 1e-4
    atol: float = 1e-5
    label: str = ""
    engines: tuple[str, ...] = ENGINES
    build: Callable[..., Any] | None = field(default=None, compare=False)

    @property
    def floats(self) -> bool:
        return any(_array(v).dtype == np.float32 for v in self.arguments.values() if not _is_plain(v))


def case(
    op: str,
    *,
    expect: Any,
    opset: int = 15,
    dtypes: Sequence[str] = ("fp32", "fp16"),
    rtol: float = 1e-4,
    atol: float = 1e-5,
    label: str = "",
    engines: Sequence[str] = ENGINES,
    build: Callable[..., Any] | None = None,
    **arguments: Any,
) -> Case:
    """One row. `build(mb, **values)` replaces the single operation where a row needs several.

    `opset` is the iOS release of the operation set; `dtypes` the float types in which the row runs; `engines` is for
    a row that an engine is known to get wrong, with a comment that says how.
    """
    return Case(op, arguments, expect, opset, tuple(dtypes), rtol, atol, label, tuple(engines), build)


def rows(cases: Sequence[Case]) -> Callable[[Any], Any]:
    """Parametrize a test with every case, engine and float type: `def test_x(row, engine, dtype)`."""
    parameters = []
    for number, row in enumerate(cases):
        dtypes = row.dtypes if row.floats else ("fp32",)
        label = row.label or "-".join(f"{k}={_brief(v)}" for k, v in row.arguments.items())[:60]
        for engine in row.engines:
            for dtype in dtypes:
                name = f"{row.op}-{number}-{label}-iOS{row.opset}-{engine}-{dtype}"
                parameters.append(pytest.param(row, engine, dtype, id=name))
    return pytest.mark.parametrize(("row", "engine", "dtype"), parameters)


def check(row: Case, engine: str, dtype: str) -> None:
    """Run a row and compare every output with what is expected."""
    arguments = {name: _as(value, dtype) for name, value in row.arguments.items()}
    expected = row.expect(**{k: _plain(v) for k, v in arguments.items()}) if callable(row.expect) else row.expect
    expected = expected if isinstance(expected, tuple | list) else (expected,)
    found = run(row, arguments, engine)
    assert len(found) == len(expected), f"{len(found)} outputs, {len(expected)} expected"
    for number, (value, want) in enumerate(zip(found, expected, strict=True)):
        want = np.asarray(want)
        assert value.shape == want.shape, f"output {number}: shape {value.shape}, expected {want.shape}"
        np.testing.assert_allclose(
            value.astype(np.float64), want.astype(np.float64), rtol=row.rtol, atol=row.atol, err_msg=f"output {number}"
        )


def compiled_on(engine: str, lowered: Lowered) -> Compiled:
    """A lowered model on one engine, in float32, on one thread."""
    unnamed = [node.op_type for node in every_node(lowered.model.graph) if node.input and not node.input[-1]]
    assert not unnamed, f"OpenVINO takes an input that is omitted at the end as given: {unnamed}"
    found = all_engines()[engine]
    return found.compile(prepared(found, lowered.model).SerializeToString(), Settings(threads=1))


def every_node(graph: Any) -> Iterator[Any]:
    """The nodes of an ONNX graph, and those of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_node(attribute.g)


def refused(row: Case, engine: str, reason: str) -> NoReturn:
    """Skip a row that OpenVINO is known not to run, for a reason that is known; fail for any other."""
    assert engine == "openvino", f"ONNX Runtime must run everything: {reason}"
    assert any(known in reason for known in _REFUSED.get(row.op, ())), reason
    pytest.skip(reason)


def run(row: Case, arguments: dict[str, Any], engine: str) -> list[np.ndarray]:
    """The outputs of the row's program, in the program's order."""
    inputs = {name: v for name, v in arguments.items() if isinstance(v, np.ndarray | Dynamic)}
    with tempfile.TemporaryDirectory(prefix="pippin-test-") as folder:
        lowered = lower(read_program(open_asset(program_of(row, arguments, inputs, folder), weights=folder)), "main")
    chosen = all_engines()[engine]
    reasons = chosen.declined(lowered)
    if reasons:
        refused(row, engine, "; ".join(reasons.values()))
    try:
        compiled = compiled_on(engine, lowered)
    except CompilationError as error:
        refused(row, engine, str(error))
    dtypes = {port.name: port.dtype for port in lowered.inputs}
    values = {name: np.ascontiguousarray(_array(v).astype(dtypes[name])) for name, v in inputs.items()}
    values = {name: v.reshape(_array(inputs[name]).shape) for name, v in values.items()}
    refuse_outside([check for check in lowered.index_checks if check.before], values)
    outputs = compiled.run(values)
    refuse_outside([check for check in lowered.index_checks if not check.before], outputs)
    return [np.asarray(outputs[port.name]) for port in lowered.outputs]


def program_of(row: Case, arguments: dict[str, Any], inputs: dict[str, Any], folder: str) -> Any:
    """The row as a Model protobuf; its weights are written into the folder."""
    specs = {
        name: mb.TensorSpec(_shape(v), types.numpy_type_to_builtin_type(_array(v).dtype)) for name, v in inputs.items()
    }
    constants = {n: v.value if isinstance(v, Const) else v for n, v in arguments.items() if n not in inputs}

    def body(**values: Any) -> Any:
        values = values | constants
        return row.build(mb, **values) if row.build else getattr(mb, row.op)(**values)

    parameters = ", ".join(specs)
    scope: dict[str, Any] = {"body": body}
    exec(f"def main({parameters}): return body({', '.join(f'{n}={n}' for n in specs)})", scope)
    target = _TARGETS[row.opset]
    program = mb.program(input_specs=list(specs.values()), opset_version=target)(scope["main"])
    exported = MILProtoExporter(program, folder, specification_version=int(target)).export()
    return ct.proto.Model_pb2.Model(specificationVersion=int(target), mlProgram=exported)


def f32(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """A seeded float32 array, uniform between low and high."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def i32(*shape: int, seed: int = 0, low: int = -10, high: int = 10) -> np.ndarray:
    """A seeded int32 array, uniform in [low, high)."""
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(np.int32)


def booleans(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(0, 2, shape).astype(bool)


def const(value: Any) -> Const:
    return Const(value)


def float_of(x: Any) -> type:
    """The float type of a value of the program, for a constant beside it."""
    return np.float16 if x.dtype.__type_info__().name == "fp16" else np.float32


def dynamic(value: np.ndarray, *axes: int) -> Dynamic:
    return Dynamic(value, axes or None)


def _array(v: Any) -> np.ndarray:
    return np.asarray(v.value if isinstance(v, Const | Dynamic) else v)


def _is_plain(v: Any) -> bool:
    """A number, string or list as given; the builder of coremltools decides its type."""
    return not isinstance(v, Const | Dynamic | np.ndarray | np.generic)


def _shape(v: Any) -> tuple[Any, ...]:
    shape = _array(v).shape
    if not isinstance(v, Dynamic):
        return shape
    axes = range(len(shape)) if v.axes is None else [a % len(shape) for a in v.axes]
    return tuple(get_new_symbol() if i in axes else d for i, d in enumerate(shape))


def _as(v: Any, dtype: str) -> Any:
    """A float argument in the float type of the run."""
    if dtype == "fp32":
        return v
    if isinstance(v, float):
        return np.float16(v)
    if _is_plain(v):
        return v
    array = _array(v)
    if array.dtype != np.float32:
        return v
    half = array.astype(np.float16)
    if isinstance(v, Dynamic):
        return Dynamic(half, v.axes)
    return Const(half if half.shape else half[()]) if isinstance(v, Const) else half[()]


def _plain(v: Any) -> Any:
    v = v.value if isinstance(v, Const | Dynamic) else v
    return v.astype(np.float32) if isinstance(v, np.ndarray | np.generic) and v.dtype == np.float16 else v


def _brief(v: Any) -> str:
    v = v.value if isinstance(v, Const | Dynamic) else v
    return "x".join(map(str, v.shape)) if isinstance(v, np.ndarray) and v.size > 4 else str(v).replace("\n", "")
