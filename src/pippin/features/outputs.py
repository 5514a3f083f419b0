"""Outputs: the outputs of a prediction, a dictionary that shows itself on one line, and as a table in notebooks."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..support.html_table import Html, html_table
from ..support.visible_text import quoted

if TYPE_CHECKING:
    import PIL.Image

_FEW = 6  # elements of an array that are shown
_LABELS = 3
_SIDE = 256  # pixels of a picture in a notebook


class Outputs(dict[str, Any]):
    """{output name: value}. Only how it is shown differs from a dictionary."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{quoted(name)}: {shown(value)}' for name, value in self.items())}}}"

    def _repr_html_(self) -> str:
        """For notebooks: a table with the pictures."""
        return html_table("Outputs", ("output", "value"), ((name, _cell(value)) for name, value in self.items()))


def shown(value: Any) -> str:
    """A value on one line: an array by its type, shape and range, a dictionary by its largest numbers."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {value.shape}{_numbers(value)}>"
    if isinstance(value, dict):
        return f"{{{', '.join(_entries(value))}}}"
    if hasattr(value, "mode") and hasattr(value, "size"):
        return f"<image {value.mode} {value.width} x {value.height}>"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list) and len(value) > _FEW:
        return f"[{', '.join(map(shown, value[:_FEW]))}, ... {len(value) - _FEW} more]"
    return f"[{', '.join(map(shown, value))}]" if isinstance(value, list) else repr(value)


def _numbers(array: np.ndarray) -> str:
    if not array.size or array.dtype.kind not in "fiub":
        return ""
    if array.size <= _FEW:
        return f": {', '.join(f'{number:.6g}' for number in array.reshape(-1).tolist())}"
    if array.dtype.kind != "f":
        return f": {array.min():.6g} to {array.max():.6g}"
    finite = array[np.isfinite(array)]
    odd = "" if finite.size == array.size else f", {array.size - finite.size} not finite"
    return f": {finite.min():.6g} to {finite.max():.6g}{odd}" if finite.size else ": nothing finite"


def _entries(values: dict[Any, Any]) -> Iterator[str]:
    """The entries with the largest numbers."""
    ranked = sorted(values, key=lambda key: -values[key] if values[key] == values[key] else 0.0)
    for key in ranked[:_LABELS]:
        yield f"{quoted(key) if isinstance(key, str) else key}: {values[key]:.4g}"
    if len(ranked) > _LABELS:
        yield f"... {len(ranked) - _LABELS} more"


def _cell(value: Any) -> object:
    if hasattr(value, "mode") and value.mode in ("RGB", "L") and hasattr(value, "save"):
        return _picture(value)
    return shown(value)


def _picture(picture: PIL.Image.Image) -> Html:
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    small.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return Html(f'<img alt="{picture.width} x {picture.height}" src="data:image/png;base64,{data}">')
