"""CSV rows: predicts the rows of a CSV file with a tabular model, one at a time or all together."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nicegui import ui

from ....errors import PippinError
from ....support.visible_text import spreadsheet_cell
from ..file_drop import file_drop
from ..widgets import busy, card, error_box, failing_into, hint
from ..widgets import table as table_of
from .input_controls import Control, NumberControl, TextControl
from .parse_values import row_features, table_rows
from .tab_session import Desk

_MOST = 5000  # rows read from a file
_PAGE = 10


class Table:
    """CSV card of one browser page."""

    def __init__(self, desk: Desk, controls: Mapping[str, Control]) -> None:
        self._desk, self._controls = desk, controls
        self._rows: list[dict[str, str]] = []
        self._found: list[dict[str, str]] = []
        with card("Rows", "A CSV file whose header names the inputs"):
            file_drop("Drop a .csv file here, or click", ".csv,text/csv", self._dropped)
            self._place = ui.element("div")

    async def _dropped(self, files: Sequence[Any]) -> None:
        (file,) = files
        data, name = await file.read(), file.name
        self._place.clear()
        with failing_into(self._place):
            self._rows = table_rows(data, name, self._desk.function.inputs)[:_MOST]
            self._found = []
            with self._place:
                with ui.element("div").classes("line"):
                    hint(f"{name}: {len(self._rows):,} rows; choose one to fill the fields")
                    ui.element("div").classes("grow")
                    button = ui.button("Predict all", icon="table_rows").props("unelevated no-caps")
                    button.on_click(lambda: self._all(button))
                self._shown = ui.element("div")
            self._show()

    def _show(self) -> None:
        inputs = [feature.name for feature in self._desk.function.inputs if feature.name in self._rows[0]]
        outputs = list(self._found[0]) if self._found else []
        columns = [("id", "row"), *((f"in {n}", n) for n in inputs), *((f"out {n}", n) for n in outputs)]
        rows = [
            {"id": index + 1} | {f"in {n}": row.get(n, "") for n in inputs} | {f"out {n}": v for n, v in found.items()}
            for index, (row, found) in enumerate(zip(self._rows, self._found or [{} for _ in self._rows], strict=True))
        ]
        self._shown.clear()
        with self._shown:
            table_of(columns, rows, per_page=_PAGE, chosen=self._fill)
            if self._found:
                ui.button("Download", icon="download", on_click=self._download).props("flat dense no-caps")

    def _fill(self, number: int) -> None:
        row = self._rows[number - 1]
        for name, control in self._controls.items():
            if name in row and isinstance(control, NumberControl | TextControl):
                control.fill(row[name])

    async def _all(self, button: Any) -> None:
        async with busy(button):
            try:
                inputs = self._desk.function.inputs
                features = await asyncio.to_thread(lambda: [row_features(row, inputs) for row in self._rows])
                outputs = await self._desk.batch(features)
            except Exception as error:
                self._shown.clear()
                with self._shown:
                    error_box(error)
                return
            names = [feature.name for feature in self._desk.function.outputs]
            self._found = [_texts(found, names) for found in outputs]
            self._show()

    def _download(self) -> None:
        text = io.StringIO()
        rows = [_cells(row | found) for row, found in zip(self._rows, self._found, strict=True)]
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
        ui.download.content(text.getvalue(), "predictions.csv", "text/csv")


def _cells(row: Mapping[str, str]) -> dict[str, str]:
    """A row for a spreadsheet, in which no name or label of a model is a formula."""
    return {spreadsheet_cell(name): spreadsheet_cell(text) for name, text in row.items()}


def _texts(outputs: Mapping[str, Any] | PippinError, names: Sequence[str]) -> dict[str, str]:
    """Outputs of a row as text, or the error in the first column."""
    if isinstance(outputs, BaseException):
        return dict.fromkeys(names, "") | {names[0]: str(outputs)}
    return {name: _word(outputs[name]) for name in names}


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v:.3f}" for k, v in sorted(value.items(), key=lambda item: -item[1])[:3])
    if isinstance(value, np.ndarray):
        return np.array2string(value.reshape(-1)[:6], precision=5, separator=", ")
    return f"{value:.6g}" if isinstance(value, float) else str(value)
