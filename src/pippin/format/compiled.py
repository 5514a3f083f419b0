"""Compiled: the `.mlmodelc` folder that Pippin writes: what a model needs to be loaded, without its package.

model.mlmodel     the specification, as it was
model.mil         an ML Program as MIL text, for people and for tools that read it
weights/...       the weight files, under the names that the program calls them by
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from .blob import BlobFile

_SPECIFICATION = "model.mlmodel"


def open_compiled(path: Path) -> Path | None:
    """The specification in a folder that `write_compiled` made; None for any other folder."""
    file = path / _SPECIFICATION
    return file if path.suffix == ".mlmodelc" and file.is_file() else None


def write_compiled(path: Path, specification: Any, weights: Mapping[str, BlobFile], text: str | None) -> None:
    """Write the folder `path`, which must not exist yet; `weights` by their paths inside it."""
    aside = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        aside.mkdir(parents=True)
        (aside / _SPECIFICATION).write_bytes(specification.SerializeToString())
        if text is not None:
            (aside / "model.mil").write_text(text, encoding="utf-8")
        for relative, blob in weights.items():
            file = aside / relative
            file.parent.mkdir(parents=True, exist_ok=True)
            blob.save(file)
        aside.rename(path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
