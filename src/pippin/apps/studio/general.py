"""General tab: description, author, size, functions, operation counts and weight storage of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from nicegui import ui

from ...support.units import format_bytes
from .open_models import Opened
from .preview.kinds import TITLES
from .widgets import bar, card, facts, hint, tile

_LABELS = 60  # class labels shown before "more" is pressed
_LONG = 120  # characters of a metadata value before it is truncated


async def build(opened: Opened) -> None:
    found = await asyncio.to_thread(lambda: opened.summary)
    metadata = found["metadata"]
    with ui.element("div").classes("tiles"):
        tile("Kind", TITLES[opened.kind.name], found["kind"])
        tile("Size", "" if found["bytes"] is None else format_bytes(found["bytes"]))
        tile("Specification", str(found["specification_version"]), f"{found['needs']} and later")
        functions = found["functions"]
        operations = sum(sum(function["operations"].values()) for function in functions)
        if operations:
            tile("Operations", f"{operations:,}", f"in {len(functions)} function{'s' * (len(functions) > 1)}")
        labels = opened.asset.description.class_labels
        if labels:
            tile("Classes", f"{len(labels):,}")
    with card("Description"):
        if metadata["description"]:
            ui.label(metadata["description"]).classes("prose")
        facts((name.capitalize(), metadata[name]) for name in ("author", "license", "version"))
        if not any(metadata[name] for name in ("description", "author", "license", "version")):
            hint("The model has no description.")
        facts([("Path", str(opened.path))])
    for function in functions:
        if function["operations"]:
            _operations(function, found["default_function"], len(functions) > 1)
    if found["weights"]:
        _weights(found["weights"])
    if labels:
        _class_labels([str(label) for label in labels])
    if metadata["user_defined"]:
        with card("Metadata", "User-defined"):
            facts(sorted(_shortened(metadata["user_defined"]).items()))


def _operations(function: Mapping[str, Any], default: str, named: bool) -> None:
    counts = sorted(function["operations"].items(), key=lambda row: -row[1])
    note = function["opset"] or ""
    if named:
        note = f"function {function['name']}{' (default)' * (function['name'] == default)}, {note}"
    with card("Operations", note), ui.element("div").classes("histogram"):
        for kind, count in counts:
            ui.label(kind).classes("code")
            bar(count / counts[0][1])
            ui.label(str(count)).classes("number")


def _weights(rows: list[dict[str, Any]]) -> None:
    total = sum(row["bytes"] for row in rows)
    with card("Weights", f"{format_bytes(total)} as stored"), ui.element("div").classes("histogram wide"):
        for row in rows:
            stored = "" if row["stored_as"] == "plain" else f", {row['stored_as'].removeprefix('constexpr_')}"
            ui.label(f"{row['type']}{stored}, in {row['where']}").classes("code")
            bar(row["bytes"] / total)
            ui.label(format_bytes(row["bytes"])).classes("number")


def _class_labels(labels: list[str]) -> None:
    with card("Class labels", f"{len(labels):,}"):
        place = ui.element("div").classes("labels")

        def show(count: int) -> None:
            place.clear()
            with place:
                for index, label in enumerate(labels[:count]):
                    with ui.element("span").classes("class-label"):
                        ui.label(str(index)).classes("dim")
                        ui.label(label)
                if count < len(labels):
                    ui.button(f"{len(labels) - count:,} more", on_click=lambda: show(len(labels))).props(
                        "flat dense no-caps"
                    )

        show(_LABELS)


def _shortened(values: Mapping[str, str]) -> dict[str, str]:
    return {name: text if len(text) <= _LONG else f"{text[:_LONG]}…" for name, text in values.items()}
