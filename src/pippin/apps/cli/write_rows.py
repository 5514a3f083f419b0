"""Row writer: the results of many predictions as CSV or JSON lines, each written when it is known."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from ...format.description import FunctionDescription, MultiArray
from ...support.visible_text import spreadsheet_cell
from .print_outputs import as_json, is_probable, summary

Format = Literal["text", "json", "jsonl", "csv"]
_COLUMNS = 64  # an array of at most as many numbers has a column for each
_CLASSES = 100  # a dictionary of at most as many keys has a column for each
_IN_CELL = 1000  # numbers of an array in one cell


class JsonLines:
    """One JSON object on each line."""

    def __init__(self, stream: io.TextIOBase | TextIO, function: FunctionDescription) -> None:
        self._stream = stream

    def write(self, facts: Mapping[str, Any], outputs: Mapping[str, Any], written: dict[str, Path]) -> None:
        row = {**facts, "outputs": as_json(dict(outputs), written)}
        self._stream.write(json.dumps(row, allow_nan=False) + "\n")
        self._stream.flush()


class CsvRows:
    """A line for each prediction; its columns are those of the first one: what tells it from the others, then the
    outputs. An array whose shape the model declares has the columns `name_0`, `name_1`, ..., which are also columns of
    an input; another array is a JSON list in one cell."""

    def __init__(self, stream: io.TextIOBase | TextIO, function: FunctionDescription) -> None:
        self._stream, self._rows = stream, csv.writer(stream, lineterminator="\n")
        self._shapes = {f.name: f.type.shape for f in function.outputs if isinstance(f.type, MultiArray)}
        self._header: list[str] = []

    def write(self, facts: Mapping[str, Any], outputs: Mapping[str, Any], written: dict[str, Path]) -> None:
        cells: dict[str, Any] = dict(facts)
        for name, value in outputs.items():
            cells |= self._cells(name, value)
        if not self._header:
            self._header = list(cells)
            self._rows.writerow([spreadsheet_cell(name) for name in self._header])
        self._rows.writerow([_cell(cells.get(name, "")) for name in self._header])
        self._stream.flush()

    def _cells(self, name: str, value: Any) -> dict[str, Any]:
        if isinstance(value, dict) and len(value) <= _CLASSES:
            return {f"{name}.{key}": number for key, number in value.items()}
        if isinstance(value, dict):
            best = sorted(value.items(), key=lambda item: -item[1])[:5] if is_probable(value) else list(value.items())
            return {name: json.dumps({str(key): number for key, number in best})}
        if not isinstance(value, np.ndarray):
            return {name: json.dumps(value) if isinstance(value, list) else _shown(value)}
        if value.size == 1:
            return {name: value.reshape(-1)[0].item()}
        if self._shapes.get(name) is not None and value.size <= _COLUMNS:
            return {f"{name}_{number}": each for number, each in enumerate(value.reshape(-1).tolist())}
        listed = as_json({name: value}, {})[name]
        return {name: json.dumps(listed) if value.size <= _IN_CELL else summary(value)}


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else summary(value)


def _cell(value: Any) -> str:
    """The text of a cell: no name or label of a model is a formula."""
    return spreadsheet_cell(str(value))
