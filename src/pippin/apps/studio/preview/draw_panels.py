"""Panel drawing: builds page elements from the panels of a prediction."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from nicegui import ui

from ....support.visible_text import visible
from ..text import TextLabel
from ..widgets import bar, curve, data_url, hint, picture
from .output_panels import Curve, Numbers, Panel, Picture, Scores, Value

_BOXES = 12  # detections listed at most


def draw(panels: Sequence[Panel], format: str = "PNG") -> None:
    """Build the panels, in order, in the current page slot."""
    for panel in panels:
        with ui.element("div").classes("panel") as made:
            made.props["data-output"] = visible(panel.name)
            _head(panel)
            match panel:
                case Scores():
                    _scores(panel)
                case Picture():
                    _picture(panel, format)
                case Numbers():
                    _numbers(panel)
                case Curve():
                    ui.html(curve(panel.values), sanitize=False)
                    if panel.note:
                        hint(panel.note)
                case Value():
                    TextLabel(panel.text).classes("value")


def _head(panel: Panel) -> None:
    with ui.element("div").classes("panel-head"):
        TextLabel(panel.name).classes("code")
        ui.element("div").classes("grow")
        if isinstance(panel, Picture):
            _download(lambda: _encoded(panel), f"{panel.name}.png")
        elif isinstance(panel, Numbers):
            _download(lambda: _saved(panel.array), f"{panel.name}.npy")


def _scores(panel: Scores) -> None:
    if panel.label is not None:
        TextLabel(panel.label).classes("answer")
    with ui.element("div").classes("scores"):
        for label, probability in panel.rows:
            TextLabel(label).classes("score-label")
            bar(probability)
            TextLabel(f"{probability:.2%}" if 0 <= probability <= 1 else f"{probability:.4g}").classes("number")
    if panel.count > len(panel.rows):
        hint(f"top {len(panel.rows)} of {panel.count:,} classes")


def _picture(panel: Picture, format: str) -> None:
    made = picture(data_url(panel.image, format), f"Output: {panel.name}")
    if max(panel.image.size) < 200:
        made.classes("pixelated")
    if panel.note:
        hint(panel.note)
    for entry in panel.legend:
        with ui.element("div").classes("legend"):
            ui.element("span").classes("swatch").style(f"background: {entry.color}")
            TextLabel(entry.label)
            TextLabel(f"{entry.share:.1%}").classes("number dim")
    for box in panel.boxes[:_BOXES]:
        with ui.element("div").classes("legend"):
            ui.element("span").classes("swatch").style(f"background: {box.color}")
            TextLabel(box.label)
            TextLabel(f"{box.confidence:.1%}").classes("number dim")


def _numbers(panel: Numbers) -> None:
    shape = " × ".join(map(str, panel.array.shape)) or "scalar"
    hint(f"{panel.array.dtype}, {shape}")
    with ui.element("div").classes("figures"):
        for name, value in panel.statistics.items():
            with ui.element("div"):
                TextLabel(name).classes("dim")
                TextLabel(f"{value:.6g}")
    if panel.map is not None:
        picture(data_url(panel.map), f"Output: {panel.name} as a map", "map")
    if panel.text:
        with ui.element("pre").classes("numbers"):
            TextLabel(panel.text)


def _download(content: Any, name: str) -> None:
    name = visible(name)
    button = ui.button(icon="download", on_click=lambda: ui.download.content(content(), name))
    button.props("flat round dense size=sm").props["aria-label"] = f"Download {name}"


def _encoded(panel: Picture) -> bytes:
    buffer = io.BytesIO()
    panel.image.save(buffer, "PNG")
    return buffer.getvalue()


def _saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
