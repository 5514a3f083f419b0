"""General tab: description, author, size, functions, operation counts and weight storage of a model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from ...support.units import format_bytes
from .open_models import Opened
from .preview.kinds import TITLES
from .text import TextLabel
from .widgets import bar, card, facts, hint, table, tile

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
            TextLabel(metadata["description"]).classes("prose")
        facts((name.capitalize(), metadata[name]) for name in ("author", "license", "version"))
        if not any(metadata[name] for name in ("description", "author", "license", "version")):
            hint("The model has no description.")
        facts([("Path", str(opened.path))])
    _contents(found)
    if found["models"]:
        _parts(found["models"])
    if labels:
        _class_labels([str(label) for label in labels])
    if metadata["user_defined"]:
        with card("Metadata", "User-defined"):
            facts(sorted(_shortened(metadata["user_defined"]).items()))


def _contents(found: Mapping[str, Any]) -> None:
    """What a model consists of: operations or layers, counts of a classical model, weights."""
    functions = found["functions"]
    for function in functions:
        if function["operations"]:
            _operations(function, found["default_function"], len(functions) > 1)
    if found["counts"]:
        with card("Contents"):
            facts((name.capitalize(), str(value)) for name, value in found["counts"].items())
    if found["weights"]:
        _weights(found["weights"])


def _parts(models: Sequence[Mapping[str, Any]], under: str = "") -> None:
    """The models of a pipeline, in order, and what each consists of."""
    with card("Parts", f"{len(models)} models, each given what the ones before it computed"):
        rows = [
            {
                "#id": number,
                "kind": model["kind"],
                "*inputs": _names(model, "inputs"),
                "*outputs": _names(model, "outputs"),
                "#operations": sum(sum(function["operations"].values()) for function in model["functions"]) or "",
            }
            for number, model in enumerate(models, 1)
        ]
        columns = [
            ("#id", "Part"), ("kind", "Kind"), ("*inputs", "Inputs"), ("*outputs", "Outputs"),
            ("#operations", "Operations"),
        ]  # fmt: skip
        table(columns, rows, key="#id")
    for number, model in enumerate(models, 1):
        name = f"{under}{number}"
        fold = ui.expansion(f"Part {name}: {model['kind']}").props("dense").classes("fold")
        with fold, ui.element("div").classes("stack"):
            _contents(model)
            if model["models"]:
                _parts(model["models"], f"{name}.")
            elif not any((model["counts"], model["weights"], *(f["operations"] for f in model["functions"]))):
                hint("Nothing to count in this part.")


def _names(model: Mapping[str, Any], role: str) -> str:
    default = next(f for f in model["functions"] if f["name"] == model["default_function"])
    return ", ".join(f"{feature['name']}: {feature['type']}" for feature in default[role])


def _operations(function: Mapping[str, Any], default: str, named: bool) -> None:
    counts = sorted(function["operations"].items(), key=lambda row: -row[1])
    note = function["opset"] or ""
    if named:
        note = f"function {function['name']}{' (default)' * (function['name'] == default)}, {note}"
    with card("Operations", note), ui.element("div").classes("histogram"):
        for kind, count in counts:
            TextLabel(kind).classes("code")
            bar(count / counts[0][1])
            TextLabel(str(count)).classes("number")


def _weights(rows: list[dict[str, Any]]) -> None:
    total = sum(row["bytes"] for row in rows)
    with card("Weights", f"{format_bytes(total)} as stored"), ui.element("div").classes("histogram wide"):
        for row in rows:
            stored = "" if row["stored_as"] == "plain" else f", {row['stored_as'].removeprefix('constexpr_')}"
            TextLabel(f"{row['type']}{stored}, in {row['where']}").classes("code")
            bar(row["bytes"] / total)
            TextLabel(format_bytes(row["bytes"])).classes("number")


def _class_labels(labels: list[str]) -> None:
    with card("Class labels", f"{len(labels):,}"):
        place = ui.element("div").classes("labels")

        def show(count: int) -> None:
            place.clear()
            with place:
                for index, label in enumerate(labels[:count]):
                    with ui.element("span").classes("class-label"):
                        TextLabel(str(index)).classes("dim")
                        TextLabel(label)
                if count < len(labels):
                    ui.button(f"{len(labels) - count:,} more", on_click=lambda: show(len(labels))).props(
                        "flat dense no-caps"
                    )

        show(_LABELS)


def _shortened(values: Mapping[str, str]) -> dict[str, str]:
    return {name: text if len(text) <= _LONG else f"{text[:_LONG]}…" for name, text in values.items()}
