"""Outputs: prints the outputs of a prediction as text or JSON, and writes them to files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigurationError
from ...support.atomic_write import atomic_write
from .terminal import console, styled, table

_WHOLE = 24  # arrays up to this size are printed in full
_IN_JSON = 1000  # longer arrays are not listed: JSON has their dtype, shape and file
_TOP = 5
_LONGEST = 100  # characters of a file name
_NEAR = 0.01  # values of a dictionary that sum to 1 within this tolerance are probabilities


def print_outputs(outputs: dict[str, Any], top: int = _TOP) -> None:
    """Print one block per output: an array in full or summarized, the most probable labels, the size of an image."""
    for name, value in outputs.items():
        if isinstance(value, dict):
            probable = is_probable(value)
            best = sorted(value.items(), key=lambda item: -item[1])[:top] if probable else list(value.items())[:_WHOLE]
            rows = table(name, "probability" if probable else "value")
            for label, number in best:
                rows.add_row(str(label), f"{number:.4f}" if probable else f"{number:.6g}")
            if not probable and len(value) > _WHOLE:
                rows.add_row(f"... ({len(value)} total)", "")
            console().print(rows)
        else:
            console().print(styled((name, "bold"), "  "), summary(value), sep="")


def is_probable(scores: dict[Any, float]) -> bool:
    """Whether the numbers of a dictionary are probabilities."""
    return abs(sum(scores.values()) - 1) < _NEAR and all(0 <= number <= 1 for number in scores.values())


def as_json(outputs: dict[str, Any], written: dict[str, Path]) -> dict[str, Any]:
    """Return what `--json` prints: values and arrays of up to 1,000 elements; for longer arrays dtype, shape and file.

    NaN and infinity, which JSON lacks, become the strings "nan", "inf" and "-inf".
    """
    return {name: _json_value(value, written.get(name)) for name, value in outputs.items()}


def make_folder(folder: Path) -> None:
    """Create a folder for outputs. Raises ConfigurationError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror or error}") from None


def write_outputs(outputs: dict[str, Any], folder: Path, kept: Collection[Path] = ()) -> dict[str, Path]:
    """Write arrays as .npy, images as .png and the rest as .json. Each file is written atomically; those in `kept`, the
    inputs, are not replaced.

    Raises ConfigurationError if the folder cannot be written.
    """
    written = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for (name, value), file in zip(outputs.items(), _file_names(outputs), strict=True):
            suffix, save = _saver(value)
            path = folder / f"{file}{suffix}"
            refuse_input(path, kept)
            with atomic_write(path) as temporary:
                save(temporary)
            written[name] = path
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror or error}") from None
    return written


def refuse_input(path: Path, inputs: Collection[Path]) -> None:
    """Raise ConfigurationError if writing a file would replace one of the inputs."""
    if any(path.resolve() == given.resolve() for given in inputs):
        raise ConfigurationError(f"{path} is an input; name another file or folder with --output")


def _file_names(names: Iterable[str]) -> list[str]:
    """A file name for each output: letters and digits, not hidden, not too long for a file system, each one once."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_LONGEST].lstrip(".") or "output"
        same = (f"{plain}-{number}" for number in count(2))
        found.append(plain if plain not in found else next(other for other in same if other not in found))
    return found


def _saver(value: Any) -> tuple[str, Callable[[Path], Any]]:
    if isinstance(value, np.ndarray):

        def save(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, value)

        return ".npy", save
    if _is_image(value):
        if value.mode == "F":  # PNG cannot hold floats
            return _saver(np.asarray(value))
        return ".png", lambda path: value.save(path, format="PNG")
    return ".json", lambda path: path.write_text(json.dumps(_json_value(value, None), indent=2))


def summary(value: Any) -> str:
    """One line for an output: its type, shape and numbers, those of a large array summarized."""
    if _is_image(value):
        return f"image {value.mode} {value.width} x {value.height}"
    if not isinstance(value, np.ndarray):
        return str(value)
    shape = " x ".join(map(str, value.shape)) or "scalar"
    if value.size <= _WHOLE:
        return f"{value.dtype} {shape}  {np.array2string(value, precision=4, separator=', ', max_line_width=150)}"
    first = ", ".join(f"{v:.4g}" for v in value.reshape(-1)[:4])
    numbers = value.astype(np.float64)
    return (
        f"{value.dtype} {shape}  min {numbers.min():.4g}  mean {numbers.mean():.4g}  max {numbers.max():.4g}"
        f"  first {first}, ..."
    )


def _json_value(value: Any, path: Path | None) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_value(v, None) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        if value.size <= _IN_JSON:
            return _json_value(value.tolist(), None)
        found = {"dtype": str(value.dtype), "shape": list(value.shape)}
        return found | ({"file": str(path)} if path else {})
    if isinstance(value, list):
        return [_json_value(v, None) for v in value]
    if _is_image(value):
        found = {"mode": value.mode, "width": value.width, "height": value.height}
        return found | ({"file": str(path)} if path else {})
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _is_image(value: Any) -> bool:
    return hasattr(value, "mode") and hasattr(value, "size") and hasattr(value, "save")
