"""Suite: coremltools' test folders and the sampling of test cases."""

from __future__ import annotations

import hashlib
import importlib.util
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDERS = {
    "ops": "converters/mil/mil/ops/tests",
    "passes": "converters/mil/mil/passes/tests",
    "torch": "converters/mil/frontend/torch/test",
    "ml_program": "test/ml_program",
    "api": "test/api",
    "optimize": "test/optimize",
    "blob": "test/blob",
    "modelpackage": "test/modelpackage",
    "neural_network": "test/neural_network",
    "backend_nn": "converters/mil/backend/nn",
    "sklearn": "test/sklearn_tests",
    "xgboost": "test/xgboost_tests",
    "pipeline": "test/pipeline",
}
"""Test folders of the suite by their command-line name."""


@dataclass(frozen=True)
class Selection:
    """Options of a run; each selection has its own results file."""

    folders: tuple[str, ...]
    only: str
    cases: int
    total: int
    seed: int
    strict: bool

    @property
    def name(self) -> str:
        folders = () if len(self.folders) == len(FOLDERS) else self.folders
        only = (hashlib.sha256(self.only.encode()).hexdigest()[:8],) if self.only else ()
        numbers = (f"cases{self.cases}", f"total{self.total}", f"seed{self.seed}")
        return "-".join((*folders, *numbers, *only, *(("strict",) if self.strict else ())))

    @property
    def options(self) -> list[str]:
        """Command-line options for pytest with the plugin."""
        numbers = {"cases": self.cases, "total": self.total, "seed": self.seed}
        options = [f"--conformance-{name}={number}" for name, number in numbers.items()]
        return [*options, *(["--conformance-strict"] if self.strict else []), *(["-k", self.only] if self.only else [])]


def root() -> Path:
    """Folder of the installed coremltools, found without importing it."""
    spec = importlib.util.find_spec("coremltools")
    if spec is None or spec.origin is None:
        raise SystemExit("coremltools is not installed; run `make setup`")
    return Path(spec.origin).parent


def folder_of(node: str) -> str:
    """Name of the folder that contains a test."""
    return next((name for name, path in FOLDERS.items() if node.startswith(path)), "")


def function_of(node: str) -> str:
    """Test name without parameters: file::Class::function."""
    return node.partition("[")[0]


def choose(nodes: Sequence[str], cases: int, total: int, seed: int) -> set[str]:
    """Tests to run: `cases` of each test function, then `total` of these; 0 means all.

    Both are sampled evenly over the collection order; the seed sets the offset.
    """
    if cases:
        functions: dict[str, list[str]] = {}
        for node in nodes:
            functions.setdefault(function_of(node), []).append(node)
        nodes = [node for name, group in functions.items() for node in _evenly(group, cases, f"{seed}:{name}")]
    return set(_evenly(nodes, total, str(seed)) if total else nodes)


def _evenly(nodes: Sequence[str], count: int, seed: str) -> Iterable[str]:
    if len(nodes) <= count:
        return nodes
    start = random.Random(seed).random()
    return [nodes[int((i + start) * len(nodes) / count)] for i in range(count)]
