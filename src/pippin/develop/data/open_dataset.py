"""Opening data: finds out which layout a folder or file has, and hands it to its reader."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any

from ...errors import DataError
from .annotations import coco, create_ml, is_coco, is_create_ml, voc, yolo
from .dataset import Dataset, Example, Task
from .folders import class_folders, mask_folders
from .tables import TABLES, read_json, table


def open_dataset(source: Any, label: str | None = None, task: Task | None = None) -> Dataset:
    """Open labelled data.

    `source` is a folder with one folder for each class (images, sounds, texts); images with masks (`images/`,
    `masks/`); annotations of boxes by Create ML (JSON), COCO (JSON), Pascal VOC (`Annotations/*.xml`) or YOLO
    (`data.yaml`, or `images/` and `labels/`); a table (.csv, .tsv, .parquet, .json, .jsonl), whose truth is in the
    column `label` (by default one of label, class, target, truth, y, text, else the last one); or any iterable of
    (features, truth). `task` says what the truth is, where the data alone do not. Raises DataError.
    """
    if isinstance(source, Dataset):
        return source
    if not isinstance(source, str | os.PathLike):
        return _of_pairs(source, task)
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        return _of_folder(path, label, task)
    if path.suffix.lower() in (".yaml", ".yml"):
        return yolo(path.parent, path)
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if is_coco(content):
            return coco(path, content)
        if is_create_ml(content):
            return create_ml(path, content)
    if path.suffix.lower() in TABLES:
        return table(path, label, task)
    raise DataError(f"{path}: not a kind of data that is known (folders, {', '.join(TABLES)}, .yaml of YOLO)")


def _of_folder(path: Path, label: str | None, task: Task | None) -> Dataset:
    if (path / "data.yaml").is_file() or ((path / "images").is_dir() and (path / "labels").is_dir()):
        return yolo(path, path / "data.yaml" if (path / "data.yaml").is_file() else None)
    if (path / "Annotations").is_dir():
        return voc(path)
    if (path / "images").is_dir() and (path / "masks").is_dir():
        return mask_folders(path)
    inside = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    tables = [each for each in inside if each.is_file() and each.suffix.lower() in TABLES]
    if len(tables) == 1:
        return open_dataset(tables[0], label, task)
    if any(each.is_dir() for each in inside):
        return class_folders(path)
    raise DataError(
        f"{path}: no layout that is known; expected a folder for each class, images/ with masks/ or labels/,"
        " Annotations/, or one table or JSON file"
    )


def _of_pairs(source: Iterable[Any], task: Task | None) -> Dataset:
    """Pairs (features, truth); the task follows from the first truth."""
    try:
        pairs = iter(source)
    except TypeError:
        raise DataError(
            f"data must be a path or an iterable of (features, truth), got {type(source).__name__}"
        ) from None
    first = next(pairs, None)
    if first is None:
        raise DataError("the data has no examples")
    count = len(source) if isinstance(source, Sized) else None
    again = source if count is not None or iter(source) is not pairs else None

    def examples() -> Iterator[Example]:
        walked = iter(again) if again is not None else _chained(first, pairs)
        for number, pair in enumerate(walked):
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise DataError(f"example {number}: expected (features, truth), got {type(pair).__name__}")
            yield Example(str(number), *pair)

    return Dataset("data", task or _task_of(first[1]), (), count, examples)


def _chained(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


def _task_of(truth: Any) -> Task:
    import numpy as np

    if isinstance(truth, str | bool | int | np.integer):
        return "classification"
    if isinstance(truth, float | np.floating):
        return "regression"
    if isinstance(truth, np.ndarray):
        return "segmentation" if truth.ndim == 2 and truth.dtype.kind in "iub" else "regression"
    return "other"
