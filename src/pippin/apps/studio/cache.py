"""Cache tab: lists cache entries, explains whether a load would hit, and verifies, prunes and removes entries."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nicegui import ui

from ...cache.explain import Explanation, explain
from ...cache.store import Cache, Entry, default_cache
from ...runtime.loading import Source, key_of, prune
from ...support.units import format_bytes
from .open_models import Opened
from .text import TextLabel
from .widgets import busy, card, error_box, facts, hint, seen_rows, table, tile

if TYPE_CHECKING:
    from collections.abc import Sequence


def build(opened: Opened) -> Any:
    cache = default_cache()
    if cache is None:
        with card("Cache"):
            hint("The cache is disabled (PIPPIN_CACHE=off).")
        return None
    return CacheTab(opened, cache).show()


class CacheTab:
    """Cache tab of one browser page."""

    def __init__(self, opened: Opened, cache: Cache) -> None:
        self._opened, self._cache = opened, cache
        self._all = False
        with card("This load", "Whether loading this model now would hit the cache"):
            self._explained = ui.element("div")
        with ui.element("div").classes("tiles"):
            self._count = tile("Entries", "")
            self._size = tile("Size", "", f"limit {format_bytes(cache.limit)}")
            with ui.element("div").classes("tile wide-tile"):
                TextLabel("Folder").classes("tile-name")
                TextLabel(str(cache.folder)).classes("code")
        with card("Entries"):
            with ui.element("div").classes("line"):
                ui.toggle({False: "This model", True: "All"}, value=False, on_change=self._scope).props(
                    "no-caps unelevated dense"
                )
                ui.element("div").classes("grow")
                for name, icon, work, text in (
                    ("Verify", "verified", self._verify, "Check every entry byte by byte"),
                    ("Prune", "cleaning_services", self._prune, "Remove stale entries"),
                ):
                    self._button(name, icon, work).tooltip(text)
                self._removing = self._button("Remove", "delete", self._remove)
                self._removing.tooltip("Remove the selected entries")
            self._message = ui.element("div")
            columns = [
                ("key", "Key"), ("*model", "Model"), ("engines", "Engines"), ("options", "Configuration"),
                ("#size", "Size"), ("used", "Last used"), ("*state", "State"),
            ]  # fmt: skip
            self._table = table(columns, [], key="id", per_page=20)
            self._table.props('selection="multiple" no-data-label="No entries"').props(remove="hide-no-data")
            self._table.props["selected"] = []
            self._table.on("update:selected", self._selected)
        self._ticked: list[str] = []
        self._states: dict[str, str] = {}

    async def show(self) -> None:
        """Read the cache in a thread and refresh the tab."""
        entries, answer = await asyncio.to_thread(self._read)
        self._count.set_text(f"{len(entries):,}")
        self._size.set_text(format_bytes(sum(entry.size for entry in entries)))
        here = [entry for entry in entries if self._all or self._opened.path in entry.sources]
        self._table.rows = seen_rows(row_of(entry, self._states.get(entry.key, "")) for entry in here)
        self._ticked = [key for key in self._ticked if any(entry.key == key for entry in here)]
        self._table.props["selected"] = [row for row in self._table.rows if row["id"] in self._ticked]
        self._table.update()
        self._removing.set_enabled(bool(self._ticked))
        self._explained.clear()
        with self._explained:
            if answer is None:
                hint("The model at this path cannot be identified from its files.")
                return
            TextLabel(answer.reason[0].upper() + answer.reason[1:]).classes("answer-line")
            facts([("key", answer.key)])
            if answer.changed:
                rows = [
                    {"id": name, "*there": _word(there), "*now": _word(now)}
                    for name, (there, now) in answer.changed.items()
                ]
                table([("id", "Ingredient"), ("*there", "Nearest entry"), ("*now", "Now")], rows)

    def _read(self) -> tuple[Sequence[Entry], Explanation | None]:
        found = key_of(Source(self._opened.path), self._opened.configuration, self._cache.index)
        answer = explain(self._cache, found[0], self._opened.path) if found is not None else None
        return self._cache.entries(), answer

    async def _scope(self, event: Any) -> None:
        self._all = event.value
        await self.show()

    async def _selected(self, event: Any) -> None:
        self._ticked = [row["id"] for row in event.args]
        await self.show()

    async def _verify(self) -> None:
        def check() -> dict[str, str]:
            return {entry.key: entry.damage() or "sound" for entry in self._cache.entries()}

        self._states = await asyncio.to_thread(check)
        damaged = sum(state != "sound" for state in self._states.values())
        hint(f"{len(self._states)} entries checked, {damaged} damaged")

    async def _prune(self) -> None:
        removed = await asyncio.to_thread(prune, self._cache)
        hint(f"{len(removed)} entries removed")
        facts((key[:12], reason) for key, reason in removed.items())

    async def _remove(self) -> None:
        removed = [await asyncio.to_thread(self._cache.remove, key) for key in self._ticked]
        hint(f"{sum(removed)} entries removed")

    def _button(self, name: str, icon: str, work: Any) -> Any:
        async def press() -> None:
            self._message.clear()
            with self._message:
                try:
                    async with busy(button):
                        await work()
                except Exception as error:
                    error_box(error)
            await self.show()

        button = ui.button(name, icon=icon, on_click=press).props("flat dense no-caps")
        return button


def row_of(entry: Entry, state: str) -> dict[str, str]:
    """Table row for a cache entry."""
    made = entry.manifest["ingredients"]
    options = {k.removeprefix("configuration."): v for k, v in made.items() if k.startswith("configuration.")}
    said = [str(made["function"])] if made.get("function") else []
    said += [_option(name, value) for name, value in options.items() if value not in (None, *_USUAL)]
    return {
        "id": entry.key,
        "key": entry.key[:12],
        "*model": ", ".join(path.name for path in entry.sources) or "in memory",
        "engines": ", ".join(k.removeprefix("engine.") for k in made if k.startswith("engine.")),
        "options": ", ".join(said) or "default",
        "#size": format_bytes(entry.size),
        "used": datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M"),
        "*state": state,
    }


_USUAL = ("ALL", "auto", "default", "frequent")


def _option(name: str, value: Any) -> str:
    return f"{value} threads" if name == "threads" else str(value)


def _word(value: Any) -> str:
    text = "missing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
