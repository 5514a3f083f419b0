"""CSV table: converts results to comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from ..support.visible_text import spreadsheet_cell
from .results import Result, figures

_COLUMNS = ("model", "configuration", "figure", "value", "unit")


def as_csv(results: Sequence[Result]) -> str:
    """One line per figure, then one per operation, for each result."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for result in results:
        for figure, value, unit in (*figures(result), *_operations(result)):
            model = spreadsheet_cell(result.model)
            writer.writerow((model, result.configuration, figure, repr(value), unit))
    return text.getvalue()


def _operations(result: Result) -> Iterator[tuple[str, float, str]]:
    for operation in result.operations:
        yield f"operation {operation.name}.estimated", operation.estimated, "s"
        if operation.measured is not None:
            yield f"operation {operation.name}.measured", operation.measured, "s"
