"""Expected failures: reads `expected.toml`, the list of known failing tests with their reasons."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KINDS = {
    "coremltools": "a bug in coremltools or its test",
    "torch": "torch changed after the newest release that coremltools 9 was tested with",
    "apple": "needs Apple's systems or expects an error message of Core ML",
    "data": "needs data from the network",
    "pippin": "not supported by Pippin yet",
}


@dataclass(frozen=True)
class Expected:
    """Expected failure of the tests whose names start with `test` and whose parameters match `cases`."""

    test: str
    kind: str
    reason: str
    cases: str = ""

    def covers(self, node: str) -> bool:
        name, _, parameters = node.partition("[")
        fits = name == self.test or name.startswith((f"{self.test}::", f"{self.test}/"))
        return fits and re.search(self.cases, parameters) is not None


@cache
def expectations(strict: bool = False) -> tuple[Expected, ...]:
    """All entries; with `strict` also the tests that fail only with Pippin's tolerances."""
    table = tomllib.loads((Path(__file__).parent / "expected.toml").read_text())
    entries = table.get("expected", []) + (table.get("strict", []) if strict else [])
    found = tuple(Expected(**entry) for entry in entries)
    unknown = {entry.kind for entry in found} - KINDS.keys() - {"tolerance"}
    if unknown:
        raise SystemExit(
            f"expected.toml: unknown kinds {', '.join(sorted(unknown))}; known kinds are {', '.join(KINDS)}"
        )
    return found


def expectation(node: str, strict: bool = False) -> Expected | None:
    """Entry that covers a test; None if the test should pass."""
    return next((entry for entry in expectations(strict) if entry.covers(node)), None)
