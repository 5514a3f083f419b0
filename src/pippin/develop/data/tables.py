"""Tables: CSV, Parquet and JSON, one example in each row."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...support.regular_files import open_regular, read_regular
from .dataset import Dataset, Example, Task
from .folders import PICTURES, SOUNDS

TABLES = (".csv", ".tsv", ".parquet", ".json", ".jsonl", ".ndjson")
_LABELS = ("label", "class", "target", "truth", "y", "annotation", "text")
_FEW = 50  # numbers: whole ones with at most so many values are labels


def table(path: Path, label: str | None = None, task: Task | None = None) -> Dataset:
    """The rows of a table. A column of files is relative to the folder of the table."""
    first = next(_rows(path), None)
    if first is None:
        raise DataError(f"{path}: the table has no rows")
    truth = label or next((name for name in _LABELS if name in first and len(first) > 1), list(first)[-1])
    if truth not in first:
        raise DataError(f"{path}: no column '{truth}' (columns: {', '.join(first)})")
    count = 0
    values: set[Any] = set()
    for row in _rows(path):
        count += 1
        if row[truth] is None or (isinstance(row[truth], float) and math.isnan(row[truth])):
            raise DataError(f"{path}, row {count}: '{truth}' is empty")
        if len(values) <= _FEW:
            values.add(row[truth])
    task = task or ("regression" if _is_quantity(values) else "classification")
    classes = tuple(sorted(map(str, values))) if task == "classification" else ()

    def examples() -> Iterator[Example]:
        for number, row in enumerate(_rows(path), 1):
            value = {name: _cell(path.parent, cell) for name, cell in row.items() if name != truth}
            answer = _cell(path.parent, row[truth]) if task in ("segmentation", "image") else row[truth]
            yield Example(f"row {number}", next(iter(value.values())) if len(value) == 1 else value, answer)

    return Dataset(path.name, task, classes, count, examples, path.parent)


def _is_quantity(values: set[Any]) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers and (len(values) > _FEW or any(float(value) != int(value) for value in values))


def _cell(folder: Path, cell: Any) -> Any:
    """The path of a file, if the cell names one; else the cell."""
    if isinstance(cell, str) and Path(cell).suffix.lower() in PICTURES | SOUNDS:
        return folder / cell
    return cell


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet(path)
    elif suffix in (".csv", ".tsv"):
        yield from _csv(path)
    elif suffix == ".json":
        content = read_json(path)
        if not isinstance(content, list):
            raise DataError(f"{path}: expected a list of objects, got {type(content).__name__}")
        yield from _objects(path, enumerate(content, 1))
    else:
        with open_regular(path) as file:
            yield from _objects(path, ((n, _line(path, n, line)) for n, line in enumerate(file, 1) if line.strip()))


def _objects(path: Path, numbered: Any) -> Iterator[Mapping[str, Any]]:
    for number, each in numbered:
        if not isinstance(each, dict):
            raise DataError(f"{path}, entry {number}: expected an object, got {type(each).__name__}")
        yield each


def _line(path: Path, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: {error}") from None


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    import io

    try:
        with open_regular(path) as opened, io.TextIOWrapper(opened, "utf-8-sig", newline="") as file:
            first = file.readline()
            header = next(csv.reader([first], delimiter=(delimiter := max(",;\t", key=first.count))), [])
            twice = next((name for name in header if header.count(name) > 1), None)
            if twice is not None:
                raise DataError(f"{path}: two columns are named '{twice}'")
            for number, row in enumerate(csv.reader(file, delimiter=delimiter), 2):
                if not any(row):
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"{path}, row {number}: {len(row)} cells, and the header has {len(header)}: {row[:3]}"
                    )
                yield {name: _number(cell) for name, cell in zip(header, row, strict=True)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file: {error}") from None


def _number(cell: str) -> Any:
    """An integer or a float, if the cell is one as it stands; 007 is a text."""
    text = cell.strip()
    if not text or (text.lstrip("+-")[:1] == "0" and text.lstrip("+-")[1:2].isdigit()):
        return text or None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return cell


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(f"{path}: Parquet needs pyarrow (pip install pyarrow)") from None
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(1024):
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a Parquet file: {error}") from None


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a JSON file: {error}") from None
