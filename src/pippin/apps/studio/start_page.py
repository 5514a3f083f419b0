"""Start page: opens a model by path, by a dropped or chosen file, or from the list of recent and cached models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from ...cache.store import default_cache
from ...format.asset import open_asset
from ...support.visible_text import visible
from . import uploads
from .file_drop import file_drop
from .text import TextLabel
from .widgets import card, failing_into, hint

_SHOWN = 12


def build(recent: Sequence[Path]) -> None:
    with card("Open a model", "An .mlpackage, .mlmodel, .mlmodelc or .aimodel on this machine"):

        def go() -> None:
            if path.value.strip():
                ui.navigate.to(address(typed(path.value.strip())))

        with ui.element("div").classes("line"):
            path = ui.input(placeholder="Model path", autocomplete=[visible(str(p)) for p in recent]).classes("grow")
            path.props('outlined dense autofocus aria-label="Model path"').on("keydown.enter", go)
            ui.button("Open", on_click=go).props("unelevated no-caps")

        async def uploaded(files: Sequence[Any]) -> None:
            place.clear()
            with failing_into(place):
                file = uploads.new_file(files[0].name)
                await files[0].save(file)
                model = await asyncio.to_thread(uploads.model_in, file)
                await asyncio.to_thread(open_asset, model)
                ui.navigate.to(address(model))

        file_drop("Drop an .mlmodel or a zipped .mlpackage here, or click", ",".join(uploads.MODELS), uploaded)
        place = ui.element("div")
    known = list(dict.fromkeys([*recent, *_cached()]))[:_SHOWN]
    with card("Recent", "Opened since the server started, or in the cache"):
        if not known:
            hint("No models yet. Models you open are listed here.")
        for found in known:
            with ui.link(target=address(found)).classes("recent"):
                ui.icon("deployed_code" if found.is_dir() else "description")
                with ui.element("div"):
                    TextLabel(visible(found.name)).classes("recent-name")
                    TextLabel(visible(str(found.parent))).classes("dim")


def typed(text: str) -> Path:
    """The path that was typed; that of an unknown user stays as it is, and is told to be missing."""
    with suppress(RuntimeError):
        return Path(text).expanduser()
    return Path(text)


def address(path: Path) -> str:
    return f"/model?{urlencode({'path': str(path)})}"


def _cached() -> list[Path]:
    """Paths of models with cache entries, if they still exist."""
    cache = default_cache()
    return [path for entry in (cache.entries() if cache else []) for path in entry.sources if path.exists()]
