"""Bases: the valid models that the fuzzer changes: the rows of the tests' tables, small folders, and the shared models."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.proto import Model_pb2

from pippin.errors import ProgramError
from pippin.format.asset import open_asset
from pippin.program import mil_text, open_model, read_program
from pippin.program.infer_description import describe
from pippin.program.save import save_compiled, save_package

TESTS = Path(__file__).parents[1]
SHARED = Path(os.environ.get("PIPPIN_SHARED_MODELS") or Path(__file__).parents[3] / "shared" / "models")
LARGE = 1_200_000  # bytes; larger shared models take a second to load, and are tried rarely
HUGE = 4_000_000  # bytes; never tried


@dataclass
class Base:
    """A model to change: a message with its weight files, or the files of a folder (or of one file)."""

    name: str
    message: Any = None
    weights: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    main: str = ""
    """What to open in the folder of the files: a file, or "" for the folder itself."""
    suffix: str = ""
    quick: bool = False
    """Whether only to load it quickly and to predict once, because it is large."""


@cache
def _program_rows() -> list[Any]:
    modules = sorted((TESTS / "lowering").glob("test_*.py"))
    return [row for path in modules for row in getattr(import_module(f"lowering.{path.stem}"), "CASES", [])]


@cache
def _layer_rows() -> list[Any]:
    modules = sorted((TESTS / "lowering" / "layers").glob("test_*.py"))
    return [row for path in modules for row in getattr(import_module(f"lowering.layers.{path.stem}"), "ROWS", [])]


@cache
def _shared_paths() -> list[tuple[Path, bool]]:
    """The shared models that are not huge, and whether they are large."""
    if not SHARED.is_dir():
        return []
    found = []
    folders = [path for path in sorted(SHARED.rglob("*")) if path.suffix in (".mlpackage", ".mlmodelc")]
    files = [path for path in sorted(SHARED.rglob("*.mlmodel")) if not any(p in path.parents for p in folders)]
    for path in folders + files:
        if any(other in path.parents for other in folders):
            continue
        size = sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())
        if size < HUGE:
            found.append((path, size > LARGE))
    return found


def warm() -> None:
    """Import and read what every run needs, before the first fork. Nothing here may start an engine."""
    from . import small

    _program_rows()
    _layer_rows()
    _shared_paths()
    small.classical()
    open_model(small.classical()["glm"])
    for make in (_program, _layer, _compiled):  # coremltools fills its registries at the first use
        make(np.random.default_rng(0))


def pick(random: np.random.Generator) -> Base:
    """A base, of a kind that is drawn first: most are small."""
    kinds = [kind for kind in _KINDS if kind is not _shared or _shared_paths()]
    shares = np.array([_KINDS[kind] for kind in kinds])
    chosen: Callable[[np.random.Generator], Base] = kinds[random.choice(len(kinds), p=shares / shares.sum())]
    return chosen(random)


def _one(rows: Any, random: np.random.Generator) -> Any:
    return rows[int(random.integers(len(rows)))]


def _program(random: np.random.Generator) -> Base:
    """A row of the operations' tables, as a program with a description."""
    from lowering.harness import Dynamic, program_of

    while True:
        row = _one(_program_rows(), random)
        half = random.random() < 0.2
        given = {name: _half(value) if half else value for name, value in row.arguments.items()}
        inputs = {name: value for name, value in given.items() if isinstance(value, np.ndarray | Dynamic)}
        with tempfile.TemporaryDirectory() as folder:
            try:
                message = program_of(row, given, inputs, folder)
                read = read_program(open_asset(message, weights=folder))
                describe(read, message)
            except (ProgramError, ValueError, TypeError, AttributeError):  # an input that no feature can be, no float16
                continue
            weights = {f"weights/{file.name}": file.read_bytes() for file in Path(folder).iterdir()}
        return Base(f"program {row.op}{' fp16' if half else ''}", message, weights)


def _half(value: Any) -> Any:
    return value.astype(np.float16) if isinstance(value, np.ndarray) and value.dtype == np.float32 else value


def _layer(random: np.random.Generator) -> Base:
    from lowering.layers.layer_harness import specification

    row = _one(_layer_rows(), random)
    return Base(f"layer {row.layer}", specification(row))


def _network(random: np.random.Generator) -> Base:
    from . import small

    return Base("network", _copied(small.network()))


def _classical(random: np.random.Generator) -> Base:
    from . import small

    name = _one(sorted(small.classical()), random)
    return Base(f"classical {name}", _copied(small.classical()[name]))


def _copied(message: Any) -> Any:
    copy = Model_pb2.Model()
    copy.CopyFrom(message)
    return copy


def _text(random: np.random.Generator) -> Base:
    base = _program(random)
    asset = open_model(base.message, base.weights)
    text = mil_text(read_program(asset)).encode()
    return Base(f"text of {base.name}", files={"model.mil": text, **base.weights}, main="model.mil")


def _package(random: np.random.Generator) -> Base:
    base = _one((_program, _layer, _classical), random)(random)
    return _saved(base, "mlpackage", save_package)


def _compiled(random: np.random.Generator) -> Base:
    from . import small

    if random.random() < 0.4:
        return Base("compiled network", files=small.compiled_network(), suffix=".mlmodelc")
    return _saved(_program(random), "mlmodelc", save_compiled)


def _saved(base: Base, suffix: str, save: Callable[[Any, Path], None]) -> Base:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model.{suffix}"
        save(open_model(base.message, base.weights), path)
        return Base(f"{suffix} of {base.name}", files=files_of(path), suffix=f".{suffix}")


def _shared(random: np.random.Generator) -> Base:
    paths = _shared_paths()
    shares = np.array([0.1 if large else 1.0 for _, large in paths])
    path, large = paths[int(random.choice(len(paths), p=shares / shares.sum()))]
    name = f"shared {path.relative_to(SHARED)}"
    if random.random() < 0.5 and path.suffix != ".mlmodelc":
        message, weights = Model_pb2.Model(), {}
        specification = path if path.is_file() else next(path.rglob("*.mlmodel"))
        message.ParseFromString(specification.read_bytes())
        for file in path.rglob("weights/*"):
            weights[f"weights/{file.name}"] = file.read_bytes()
        return Base(name, message, weights, quick=large)
    if path.is_file():
        return Base(name, files={path.name: path.read_bytes()}, main=path.name, quick=large)
    return Base(name, files=files_of(path), suffix=path.suffix, quick=large)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def written(files: Mapping[str, bytes], folder: Path, name: str) -> Path:
    """The files as a folder."""
    root = folder / name
    shutil.rmtree(root, ignore_errors=True)
    for relative, data in files.items():
        (root / relative).parent.mkdir(parents=True, exist_ok=True)
        (root / relative).write_bytes(data)
    return root


_KINDS: dict[Callable[[np.random.Generator], Base], float] = {
    _program: 0.38,
    _layer: 0.16,
    _network: 0.05,
    _classical: 0.12,
    _text: 0.08,
    _package: 0.06,
    _compiled: 0.07,
    _shared: 0.08,
}
