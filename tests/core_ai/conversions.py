"""Conversions: the rows of `tests/lowering`, carried over to Core AI and run by Apple's runtime.

Many rows are functions of one asset, as each of Apple's processes takes seconds.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lowering import harness
from pippin.develop.to_coreai.build import build, run
from pippin.develop.to_coreai.emitter import Store
from pippin.develop.to_coreai.translate import translate
from pippin.errors import ConversionError, PippinError, UnsupportedOperationError
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program

FAMILIES = (
    "activation", "compression", "conv", "elementwise_binary", "elementwise_unary", "image_resizing", "linear",
    "normalization", "pool", "recurrent", "reduction", "scatter_gather", "slicing", "tensor_operation",
    "tensor_transformation", "transformers",
)  # fmt: skip
_TOGETHER = 60


@dataclass
class Conversion:
    """A row in one float type, and what Apple's runtime makes of it."""

    name: str
    row: harness.Case
    dtype: str
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    described: Any = None
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    refused: str = ""
    failed: str = ""
    outputs: list[np.ndarray] = field(default_factory=list)

    def arguments(self) -> dict[str, Any]:
        return {name: harness._as(value, self.dtype) for name, value in self.row.arguments.items()}

    def translate(self, number: int) -> None:
        arguments = self.arguments()
        inputs = {name: v for name, v in arguments.items() if isinstance(v, np.ndarray | harness.Dynamic)}
        precision = np.float16 if self.dtype == "fp16" else np.float32
        with tempfile.TemporaryDirectory(prefix="pippin-test-") as folder:
            asset = open_asset(harness.program_of(self.row, arguments, inputs, folder), weights=folder)
            lowered = lower(read_program(asset), "main", precision)
        dtypes = {port.name: port.dtype for port in lowered.inputs}
        self.inputs = {
            name: np.asarray(harness._array(v)).astype(dtypes[name]) for name, v in inputs.items() if name in dtypes
        }
        store = Store()
        try:
            made = translate(lowered, {name: x.shape for name, x in self.inputs.items()}, store)
        except UnsupportedOperationError as error:
            self.refused = str(error)
            return
        self.described = made | {"name": f"f{number}"}
        self.constants = store.arrays
        self.outputs_named = [port.name for port in lowered.outputs]

    def expected(self) -> list[np.ndarray]:
        plain = {name: harness._plain(value) for name, value in self.arguments().items()}
        found = self.row.expect(**plain) if callable(self.row.expect) else self.row.expect
        return [np.asarray(one) for one in (found if isinstance(found, tuple | list) else (found,))]


def conversions(families: Sequence[str] = FAMILIES) -> Iterator[Conversion]:
    """Every row once, in each of its float types."""
    for family in families:
        module = importlib.import_module(f"lowering.test_{family}")
        seen = set()
        for test in vars(module).values():
            for mark in getattr(test, "pytestmark", ()) if callable(test) else ():
                for parameter in mark.args[1] if mark.args and mark.args[0] == ("row", "engine", "dtype") else ():
                    row, _, dtype = parameter.values
                    if (id(row), dtype) not in seen:
                        seen.add((id(row), dtype))
                        name = f"{family}-{parameter.id}".replace("-onnxruntime-", "-").replace("-openvino-", "-")
                        yield Conversion(name, row, dtype)


def convert(python: Path, rows: Sequence[Conversion]) -> None:
    """Fill in what Apple's runtime makes of the rows; those that end its process fail alone."""
    for number, one in enumerate(rows):
        if one.described is None and not one.refused and not one.failed:
            try:
                one.translate(number)
            except PippinError as error:
                one.failed = f"{type(error).__name__}: {error}"
            except Exception as error:
                one.failed = f"{type(error).__name__}: {error}"
    left = [one for one in rows if one.described is not None]
    for start in range(0, len(left), _TOGETHER):
        _converted(python, left[start : start + _TOGETHER])


def _converted(python: Path, rows: Sequence[Conversion]) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="pippin-test-") as folder:
            _run(python, Path(folder), rows)
    except ConversionError as error:
        if len(rows) == 1:
            rows[0].failed = str(error)
            return
        half = len(rows) // 2
        _converted(python, rows[:half])
        _converted(python, rows[half:])


def _run(python: Path, folder: Path, rows: Sequence[Conversion]) -> None:
    constants: dict[str, np.ndarray] = {}
    functions = []
    for number, one in enumerate(rows):
        constants |= {f"{number}{name}": array for name, array in one.constants.items()}
        functions.append(_prefixed(one.described, str(number)))
    described = {"functions": functions, "about": {}, "custom": {}}
    target = folder / "rows.aimodel"
    build(python, folder, target, described, constants)
    runs = [{"function": one.described["name"], "calls": 1, "inputs": one.inputs, "states": {}} for one in rows]
    found = run(python, folder, target, runs)
    for number, one in enumerate(rows):
        one.outputs = [found[f"{number}/output/{name}"] for name in one.outputs_named]


def _prefixed(described: Any, prefix: str) -> Any:
    """The description with keys of constants that are its own."""
    if isinstance(described, dict):
        return {k: prefix + v if k == "stored" else _prefixed(v, prefix) for k, v in described.items()}
    return [_prefixed(one, prefix) for one in described] if isinstance(described, list) else described
