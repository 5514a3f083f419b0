"""Table rows: the inputs of one prediction for each row of a CSV file, a JSON list or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigurationError, FeatureError, FeatureValueError
from ...features.files import fitted
from ...format.description import Double, FeatureDescription, FunctionDescription, Int64, MultiArray, String
from ...support.regular_files import read_regular
from .standard_input import shown

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")

Read = Callable[[str, FeatureDescription], Any]
"""Reads the value of an input from the text of a cell: a file or a literal."""


def is_table(path: Path) -> bool:
    """Whether a file holds rows, and not the inputs of a single prediction."""
    suffix = path.suffix.lower()
    return suffix in TABLES or (suffix == ".json" and isinstance(_json_values(path), list))


def table_rows(
    path: Path, function: FunctionDescription, read: Read, notice: Callable[[str], object]
) -> list[dict[str, Any]]:
    """The inputs in each row. Columns have the names of inputs; an array has one column with a JSON list, or a column
    `name_0`, `name_1`, ... for each number. Raises FeatureValueError with the row and the column."""
    if path.suffix.lower() in (".csv", ".tsv"):
        header, rows = _csv_table(path)
        cells = _columns(path, header, function, notice)
        return [
            _of_row(path, number, cells, dict(zip(header, row, strict=True)), read)
            for number, row in enumerate(rows, 1)
        ]
    records = _records(path)
    names = {name for record in records for name in record}
    _say_unused(path, [name for name in names if name not in {f.name for f in function.inputs}], function, notice)
    return [_of_record(path, number, record, function, read) for number, record in enumerate(records, 1)]


def _csv_table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        text = read_regular(path).decode("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FeatureValueError(f"{shown(path)} is not a CSV file: {error}") from None
    if len(rows) < 2:
        raise FeatureValueError(
            f"{shown(path)} must have a header with the names of inputs, and rows; it has {len(rows)} lines"
        )
    header = [name.strip() for name in rows[0]]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise FeatureValueError(f"{shown(path)}: the column '{twice}' is there twice")
    for number, row in enumerate(rows[1:], 1):
        if len(row) != len(header):
            raise FeatureValueError(f"{shown(path)}, row {number}: {len(row)} cells under {len(header)} columns")
    return header, rows[1:]


Cells = list[tuple[FeatureDescription, tuple[str, ...]]]
"""Inputs, each with its columns."""


def _columns(
    path: Path, header: Sequence[str], function: FunctionDescription, notice: Callable[[str], object]
) -> Cells:
    found: Cells = []
    for feature in function.inputs:
        if feature.name in header:
            found.append((feature, (feature.name,)))
        elif isinstance(feature.type, MultiArray) and f"{feature.name}_0" in header:
            numbered = {name for name in header if _number_after(name, feature.name) is not None}
            names = tuple(f"{feature.name}_{number}" for number in range(len(numbered)))
            missing = [name for name in names if name not in numbered]
            if missing:
                raise FeatureValueError(
                    f"{shown(path)}: the column '{missing[0]}' is missing among those of '{feature.name}'"
                )
            found.append((feature, names))
    used = {name for _, names in found for name in names}
    _say_unused(path, [name for name in header if name not in used], function, notice)
    return found


def _number_after(column: str, name: str) -> int | None:
    start, _, number = column.rpartition("_")
    return int(number) if start == name and number.isdecimal() else None


def _say_unused(
    path: Path, unused: Sequence[str], function: FunctionDescription, notice: Callable[[str], object]
) -> None:
    if unused:
        inputs = ", ".join(feature.name for feature in function.inputs)
        notice(f"{shown(path)}: not inputs, and not used: {', '.join(sorted(unused))} (inputs: {inputs or 'none'})")


def _of_row(path: Path, number: int, cells: Cells, row: Mapping[str, str], read: Read) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for feature, names in cells:
        texts = [row[name].strip() for name in names]
        empty = next((name for name, text in zip(names, texts, strict=True) if not text), None)
        if empty is not None:
            if feature.optional and not any(texts):
                continue
            if not isinstance(feature.type, String):
                raise FeatureValueError(f"{shown(path)}, row {number}: '{empty}' is empty")
        with _in_row(path, number):
            features[feature.name] = _of_cells(feature, names, texts, read)
    return features


def _of_cells(feature: FeatureDescription, names: Sequence[str], texts: Sequence[str], read: Read) -> Any:
    if len(names) == 1 and names[0] == feature.name:
        return _value(texts[0], feature, read)
    array = np.array([_as_number(text, name) for text, name in zip(texts, names, strict=True)])
    assert isinstance(feature.type, MultiArray)
    return fitted(array, feature.type)


def _value(given: Any, feature: FeatureDescription, read: Read) -> Any:
    """A value from the text of a cell, or as JSON has it."""
    match feature.type:
        case Int64() if isinstance(given, str):
            number = _as_number(given, feature.name)
            if not math.isfinite(number) or number != int(number):
                raise FeatureValueError(f"'{feature.name}' must be an integer, got {given}")
            return int(number)
        case Double() if isinstance(given, str):
            return float(_as_number(given, feature.name))
        case String():
            return given
    value = read(given, feature) if isinstance(given, str) else read(json.dumps(given), feature)
    return fitted(np.asarray(value), feature.type) if isinstance(feature.type, MultiArray) else value


def _as_number(text: str, column: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise FeatureValueError(f"'{column}': '{text}' is not a number") from None


def _records(path: Path) -> list[dict[str, Any]]:
    values = _json_values(path)
    if not isinstance(values, list) or not values or not all(isinstance(value, dict) for value in values):
        raise ConfigurationError(
            f"{shown(path)} must hold JSON objects of input name to value: a list, or one on each line"
        )
    return values


def _json_values(path: Path) -> Any:
    """What a JSON file holds; a list for one of several lines of JSON. None if it is neither."""
    try:
        text = read_regular(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise FeatureValueError(f"{shown(path)} cannot be read: {error}") from None
    try:
        value = json.loads(text)
        return [value] if path.suffix.lower() in TABLES and isinstance(value, dict) else value
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return None


def _of_record(
    path: Path, number: int, record: Mapping[str, Any], function: FunctionDescription, read: Read
) -> dict[str, Any]:
    features = {}
    for feature in function.inputs:
        if record.get(feature.name) is not None:
            with _in_row(path, number):
                features[feature.name] = _value(record[feature.name], feature, read)
    return features


class _in_row:
    """Adds the row to an error."""

    def __init__(self, path: Path, number: int) -> None:
        self._where = f"{shown(path)}, row {number}"

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, at: object) -> None:
        if isinstance(error, FeatureError):
            raise type(error)(f"{self._where}: {error}") from None
