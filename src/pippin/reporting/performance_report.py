"""Performance report: results of one or more models. Written as JSON, CSV and HTML; read back from JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ReportError, ReportNotFoundError
from ..support.atomic_write import atomic_write
from ..support.html_table import html_table
from ..support.regular_files import read_regular
from ..support.units import format_bytes, format_duration
from ..support.visible_text import quoted
from .results import Memory, Numerics, Operation, Result, Statistics

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Report:
    results: tuple[Result, ...]
    machine: Mapping[str, str] = field(default_factory=dict)
    """The machine and the versions that it was measured with."""

    def __repr__(self) -> str:
        found = (f"{quoted(r.title)} on {r.engine}: {format_duration(r.prediction.median)}" for r in self.results)
        return f"<Report of {'; '.join(found) or 'nothing'}>"

    def _repr_html_(self) -> str:
        """For notebooks: a row for each result; `to_html` makes the whole page."""
        columns = ("model", "engine", "prediction", "p95", "load, cached", "load, uncached", "memory")
        return html_table("Medians", columns, map(_row, self.results))

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    def to_csv(self) -> str:
        """One line per figure: model, configuration, figure, value, unit."""
        from .csv_table import as_csv

        return as_csv(self.results)

    def to_html(self, baseline: Report | None = None) -> str:
        """A self-contained page that loads nothing from the network, with a comparison if `baseline` is passed."""
        from .html_page import page

        return page(self.results, self.machine, baseline.results if baseline else ())

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write JSON for `read_report` and `--baseline`."""
        _write(path, self.to_json())

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `to_csv`."""
        _write(path, self.to_csv())

    def write_html(self, path: str | os.PathLike[str], baseline: Report | None = None) -> None:
        """Write `to_html`."""
        _write(path, self.to_html(baseline))


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read what `write_json` wrote. Raises ReportError."""
    name = os.fspath(path)
    try:
        found = json.loads(read_regular(path).decode())
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ReportError(f"{name} is not a report of this version (format {FORMAT})")
        return Report(tuple(_result(one) for one in found["results"]), found["machine"])
    except FileNotFoundError as error:
        raise ReportNotFoundError(f"{name}: cannot be read: {error.strerror}", name) from None
    except OSError as error:
        raise ReportError(f"{name}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReportError(f"{name} is not a report: {type(error).__name__}: {error}") from None


def _row(result: Result) -> tuple[str, ...]:
    cached, memory = result.load_cached, result.memory
    return (
        result.title,
        result.engine,
        format_duration(result.prediction.median),
        format_duration(result.prediction.p95),
        "" if cached is None else format_duration(cached.median),
        format_duration(result.load_uncached.median),
        "" if memory is None else format_bytes(memory.steady),
    )


def _result(found: dict[str, Any]) -> Result:
    for name in ("prediction", "load_cached", "load_uncached", "compilation"):
        if found[name] is not None:
            found[name] = Statistics(**found[name] | {"values": tuple(found[name]["values"])})
    found["operations"] = tuple(
        Operation(**one | {"supported": tuple(one["supported"])}) for one in found["operations"]
    )
    found["memory"] = Memory(**found["memory"]) if found["memory"] is not None else None
    found["numerics"] = Numerics(**found["numerics"])
    found["candidates"] = tuple(found["candidates"])
    return Result(**found)


def _write(path: str | os.PathLike[str], text: str) -> None:
    target = Path(path)
    try:
        with atomic_write(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{target}: cannot be written: {error.strerror}") from None
