"""Records: a file of answers, one JSON line each, from which an interrupted evaluation goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError, StateError
from ...runtime.model import Model
from ..data import Dataset

_FORMAT = "pippin answers 1"


def _content(model: Model) -> str:
    try:
        return model.content
    except StateError:  # made in memory
        return ""


class AnswerFile:
    """Answers by model and example. A line that was cut off when the process died is dropped.

    The first line says what the answers belong to; a file of other models or data is refused.
    """

    def __init__(self, path: Path | None, data: Dataset, models: Sequence[Model], names: Sequence[str]) -> None:
        self._path = path
        self._known: dict[tuple[int, str], Any] = {}
        self._file: Any = None
        self._header = {
            "format": _FORMAT,
            "data": data.name,
            "count": data.count,
            "models": [[name, _content(model)] for name, model in zip(names, models, strict=True)],
        }

    def __enter__(self) -> AnswerFile:
        if self._path is not None:
            end = self._read(self._path)
            self._file = self._path.open("r+b" if self._path.exists() else "wb")
            self._file.seek(end)
            self._file.truncate()
            if not end:
                self._write(self._header)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()

    def known(self, model: int, example: str) -> Any:
        return self._known.get((model, example))

    def add(self, model: int, example: str, answer: Any) -> None:
        if self._file is not None:
            self._write([model, example, answer])

    def _write(self, line: Any) -> None:
        try:
            self._file.write(json.dumps(line, default=str).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise DataError(f"{self._path} cannot be written: {error}") from None

    def _read(self, path: Path) -> int:
        """Read the whole lines; returns where they end."""
        if not path.exists() or not path.stat().st_size:
            return 0
        end = 0
        with path.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                    if number:
                        self._known[entry[0], entry[1]] = entry[2]
                except (ValueError, LookupError, TypeError):
                    raise DataError(
                        f"{path}, line {number + 1}: not an answer; remove the file to begin anew"
                    ) from None
                if not number and entry != self._header:
                    raise DataError(f"{path} holds answers of other models or other data; name another file")
                end += len(line)
        return end
