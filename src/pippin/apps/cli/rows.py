"""Rows: the predictions of one command: one, or one for each file of an image input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError, FeatureValueError
from ...features.image_input import Resize
from ...format.description import FunctionDescription, Image
from .parse_inputs import read_inputs, read_value

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, slots=True)
class Rows:
    """The inputs that all predictions share, and the files of the image input that has several."""

    shared: dict[str, Any]
    image: str = ""
    files: tuple[Path, ...] = ()

    def features(
        self, function: FunctionDescription, resize: Resize | None, notice: Callable[[str], object]
    ) -> Iterator[tuple[Path | None, dict[str, Any]]]:
        """The file, if there are several, and the features of each prediction, read when it is its turn."""
        if not self.image:
            yield None, self.shared
        (feature,) = (f for f in function.inputs if f.name == self.image) if self.image else (None,)
        for file in self.files:
            assert feature is not None
            value = read_value(str(file), feature, resize, partial(_named, notice, file.name))
            yield file, self.shared | {self.image: value}


def read_rows(
    given: list[str], function: FunctionDescription, resize: Resize | None, notice: Callable[[str], object]
) -> Rows:
    """Parse the arguments; an image input that is given several times, or as a folder, has several files. Raises what
    `read_inputs` raises, and ConfigurationError if several inputs have several files."""
    images = {feature.name for feature in function.inputs if isinstance(feature.type, Image)}
    texts: dict[str, list[str]] = {}
    for argument in given:
        name, separator, text = argument.partition("=")
        texts.setdefault(name if separator and name in images else "", []).append(text if name in images else argument)
    others = texts.pop("", [])
    many = {name: files for name, found in texts.items() if (files := _files(name, found))}
    if len(many) > 1:
        raise ConfigurationError(f"only one --input can have several files, got {', '.join(many)}")
    others += [f"{name}={text}" for name, found in texts.items() if name not in many for text in found]
    shared = read_inputs(others, function, resize, notice)
    for name, files in many.items():
        return Rows(shared, name, files)
    return Rows(shared)


def _named(notice: Callable[[str], object], file: str, text: str) -> None:
    notice(f"{file}: {text}")


def _files(name: str, texts: list[str]) -> tuple[Path, ...]:
    """The files of an input; none if it is a single file or value. Raises FeatureValueError for a missing file."""
    folders = [Path(text).expanduser().is_dir() for text in texts]
    if len(texts) == 1 and not folders[0]:
        return ()
    found: list[Path] = []
    for text, is_folder in zip(texts, folders, strict=True):
        path = Path(text).expanduser()
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in _PICTURES) if is_folder else [path]
        if not inside:
            raise FeatureValueError(f"'{name}': no pictures in the folder {path}")
        missing = next((p for p in inside if not p.is_file()), None)
        if missing is not None:
            raise FeatureValueError(f"'{name}': file not found: {missing}")
        found += inside
    return tuple(found)
