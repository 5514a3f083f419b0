"""Start page: opens a model by path or from the list of recent and cached models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from nicegui import ui

from ...cache.store import default_cache
from .widgets import card, hint

_SHOWN = 12


def build(recent: Sequence[Path]) -> None:
    with card("Open a model", "An .mlpackage, .mlmodel or .mlmodelc on this machine"):

        def go() -> None:
            if path.value.strip():
                ui.navigate.to(address(Path(path.value.strip()).expanduser()))

        with ui.element("div").classes("line"):
            path = ui.input(placeholder="Model path", autocomplete=[str(p) for p in recent]).classes("grow")
            path.props('outlined dense autofocus aria-label="Model path"').on("keydown.enter", go)
            ui.button("Open", on_click=go).props("unelevated no-caps")
    known = list(dict.fromkeys([*recent, *_cached()]))[:_SHOWN]
    with card("Recent", "Opened since the server started, or in the cache"):
        if not known:
            hint("No models yet. Models you open are listed here.")
        for found in known:
            with ui.link(target=address(found)).classes("recent"):
                ui.icon("deployed_code" if found.is_dir() else "description")
                with ui.element("div"):
                    ui.label(found.name).classes("recent-name")
                    ui.label(str(found.parent)).classes("dim")


def address(path: Path) -> str:
    return f"/model?{urlencode({'path': str(path)})}"


def _cached() -> list[Path]:
    """Paths of models with cache entries, if they still exist."""
    cache = default_cache()
    return [path for entry in (cache.entries() if cache else []) for path in entry.sources if path.exists()]
