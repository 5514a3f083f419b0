"""Report: summarizes test results for the terminal and for docs/conformance.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .expected import KINDS, Expected, expectation
from .plugin import read_results
from .suite import FOLDERS, folder_of


@dataclass
class Row:
    """Results of the tests of one file or folder."""

    name: str
    collected: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def ran(self) -> int:
        return self.counts["passed"] + self.counts["failed"] + self.counts["skipped"]

    @property
    def share(self) -> float:
        """Fraction of the tests reaching a prediction that pass."""
        reached = self.counts["reached"]
        return self.counts["reached and passed"] / reached if reached else 1.0

    def add(self, result: Mapping[str, Any]) -> None:
        outcome = result["outcome"]
        self.counts[outcome] += 1
        if result["predicts"] and outcome != "skipped":
            self.counts["reached"] += 1
            self.counts[f"reached and {outcome}"] += 1

    def cells(self) -> list[str]:
        c = self.counts
        shown = f"{100 * self.share:.2f} %" if c["reached"] else ""
        return [*map(str, (self.collected, self.ran, c["passed"], c["failed"], c["skipped"], c["reached"])), shown]


@dataclass
class Summary:
    files: list[Row]
    folders: list[Row]
    expected: list[tuple[Expected, list[str]]]
    unexpected: list[tuple[str, str]]
    """Name and error of each failed test without an entry in expected.toml."""


HEADER = ["tests", "ran", "passed", "failed", "skipped", "reach a prediction", "of these passed"]


def summarize(collected: Mapping[str, int], results: Mapping[str, Mapping[str, Any]], strict: bool) -> Summary:
    files = {name: Row(name, count) for name, count in collected.items()}
    folders = {name: Row(name) for name in FOLDERS}
    for name, count in collected.items():
        folders.setdefault(folder_of(name), Row(folder_of(name))).collected += count
    expected: dict[Expected, list[str]] = {}
    unexpected = []
    for node, result in results.items():
        name = node.partition("::")[0]
        files.setdefault(name, Row(name)).add(result)
        folders.setdefault(folder_of(node), Row(folder_of(node))).add(result)
        if result["outcome"] == "failed":
            entry = expectation(node, strict)
            if entry is None:
                unexpected.append((node, result["error"]))
            else:
                expected.setdefault(entry, []).append(node)
    used = [row for row in folders.values() if row.ran or row.collected]
    return Summary(sorted(files.values(), key=lambda r: r.name), used, list(expected.items()), unexpected)


def show(summary: Summary) -> bool:
    """Print the folders and the unexpected failures; returns whether there are any."""
    console = Console()
    table = Table("folder", *HEADER, box=None)
    for row in summary.folders:
        table.add_row(row.name, *row.cells())
    console.print(table)
    for node, error in summary.unexpected:
        console.print(f"unexpected: {node}\n    {_first_line(error)}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{len(summary.unexpected)} unexpected, {sum(len(n) for _, n in summary.expected)} expected failures")
    return bool(summary.unexpected)


def write(path: Path, results: Path) -> None:
    """Write the report of all stored runs: those with coremltools' tolerances merged, then the strict ones."""
    loose = _merged(p for p in sorted(results.glob("*.jsonl")) if not p.stem.endswith("-strict"))
    strict = _merged(results.glob("*-strict.jsonl"))
    runs = [f"    {p.stem}" for p in sorted(results.glob("*.jsonl"))]
    lines = ["# Conformance", "", _INTRODUCTION, *runs, "", _versions(), "", "## With coremltools' tolerances", ""]
    lines += _tables(summarize(*loose, strict=False))
    if strict[1]:
        lines += ["## With Pippin's tolerances", "", _STRICT, ""]
        lines += _strict_lines(summarize(*strict, strict=True), loose[1])
    path.write_text("\n".join(lines) + "\n")


def _versions() -> str:
    names = ("coremltools", "torch", "openvino", "onnxruntime", "numpy")
    return f"Versions: {', '.join(f'{name} {version(name)}' for name in names)}."


def _merged(paths: Iterable[Path]) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
    collected: dict[str, int] = {}
    results: dict[str, dict[str, Any]] = {}
    for path in sorted(paths, key=lambda p: p.stat().st_mtime):
        found = read_results(path)
        collected |= found[0]
        results |= found[1]
    return collected, results


def _tables(summary: Summary) -> list[str]:
    lines = [*_markdown("folder", summary.folders), "", *_markdown("file", summary.files), ""]
    lines += ["### Expected failures", ""]
    lines += [f"- **{kind}**: {meaning}." for kind, meaning in KINDS.items()]
    lines += ["", "| tests | failed | kind | reason |", "|---|---|---|---|"]
    for entry, nodes in sorted(summary.expected, key=lambda item: item[0].test):
        where = f"`{entry.test}`" + (f" where `{_cell(entry.cases)}`" if entry.cases else "")
        lines.append(f"| {where} | {len(nodes)} | {entry.kind} | {entry.reason} |")
    if summary.unexpected:
        lines += ["", f"{len(summary.unexpected)} unexpected failures:", ""]
        lines += [f"- `{node}`" for node, _ in summary.unexpected]
    return [*lines, ""]


def _strict_lines(summary: Summary, loose: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = [
        *_markdown("folder", summary.folders),
        "",
        "| passes only with coremltools' tolerances | tests | cause |",
        "|---|---|---|",
    ]
    for entry, nodes in sorted(summary.expected, key=lambda item: item[0].test):
        only = [node for node in nodes if loose.get(node, {}).get("outcome", "passed") == "passed"]
        if only and entry.kind == "tolerance":
            where = f"`{entry.test}`" + (f" where `{_cell(entry.cases)}`" if entry.cases else "")
            lines.append(f"| {where} | {len(only)} | {entry.reason} |")
    if summary.unexpected:
        lines += ["", "Without a known cause:", "", *(f"- `{node}`" for node, _ in summary.unexpected)]
    return lines


def _markdown(first: str, rows: Iterable[Row]) -> list[str]:
    header = [first, *HEADER]
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * len(HEADER) + "|"]
    return lines + ["| " + " | ".join([row.name, *row.cells()]) + " |" for row in rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")[:240]


_INTRODUCTION = """\
The coremltools wheel includes its tests. Their expected values come from numpy, torch and scikit-learn. On a Mac they
are compared with Core ML's predictions; here `import pippin.coremltools` compares them with Pippin's.
`make conformance` runs a sample; `python -m conformance --help` shows how to run more. This page was generated by
`python -m conformance --write docs/conformance.md` from the results of these runs in `out/conformance`:
"""

_STRICT = """\
coremltools compares float16 results with an absolute tolerance of 0.5 and a relative tolerance of 0.05. This run uses
the same tests and expected values with 5e-3 for float16 and 1e-4 for float32, both absolute and relative:
"""
