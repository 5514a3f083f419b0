"""Structure tab: every operation with its device, cost and reasons, the segments, and the graph."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nicegui import ui

from ...runtime.model import Model
from . import netron
from .open_models import Opened
from .text import TextLabel
from .widgets import busy, card, error_box, facts, hint, loaded_model, seen_rows, table, took

if TYPE_CHECKING:
    from ...specialization.compute_plan import ComputePlan, PlannedOperation

_PAGE = 25


async def build(opened: Opened) -> None:
    place = ui.element("div")
    model = await loaded_model(opened, place)
    if model is None:
        return
    plan = await asyncio.to_thread(lambda: model.compute_plan)
    shapes = await asyncio.to_thread(shapes_of, opened)
    _segments(plan)
    _Operations(opened, model, plan, shapes)
    _graph(opened)


def rows_of(plan: ComputePlan, shapes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Table rows of the operations that a prediction computes, in order."""
    return [
        {
            "id": number,
            "*name": op.name,
            "kind": op.kind,
            "*shape": shapes.get(op.name, ""),
            "device": op.device,
            "engine": op.engine,
            "#segment": op.segment,
            "#cost": round(100 * op.cost, 2),
            "#measured": round(1e6 * plan.measured[op.name], 1) if op.name in plan.measured else None,
        }
        for number, op in enumerate(op for op in plan.operations if op.device)
    ]


def shapes_of(opened: Opened) -> dict[str, str]:
    """Output element types and shapes by operation name; empty for neural networks, which do not declare them."""
    from ...program import PROGRAMS, read_program

    if opened.asset.description.kind not in PROGRAMS:
        return {}
    function = read_program(opened.asset).functions[opened.function.name]
    return {op.name: ", ".join(_type(value.type) for value in op.outputs) for op in function.block.walk()}


def matching(rows: Sequence[Mapping[str, Any]], text: str, devices: Sequence[str]) -> list[Mapping[str, Any]]:
    """Rows that contain every word of `text` in name, kind or shape and run on one of `devices` (any if empty)."""
    words = text.lower().split()
    return [
        row
        for row in rows
        if all(any(word in str(row[column]).lower() for column in ("*name", "kind", "*shape")) for word in words)
        and (not devices or row["device"] in devices or row["engine"] in devices)
    ]


class _Operations:
    """Operations table of one browser page."""

    def __init__(self, opened: Opened, model: Model, plan: ComputePlan, shapes: Mapping[str, str]) -> None:
        self._model, self._plan, self._shapes = model, plan, shapes
        self._rows = rows_of(plan, shapes)
        constants = len(plan.operations) - len(self._rows)
        note = f"{len(self._rows):,}" + (f", and {constants:,} constants" if constants else "")
        with card("Operations", note):
            with ui.element("div").classes("line"):
                self._text = ui.input(placeholder="Search name, kind, shape", on_change=self._filter).classes("grow")
                self._text.props('dense outlined clearable aria-label="Search operations"')
                places = sorted({row["device"] for row in self._rows} | {row["engine"] for row in self._rows})
                self._places = ui.select(places, multiple=True, label="Runs on", on_change=self._filter)
                self._places.props("dense outlined use-chips").classes("small-select")
                self._button = ui.button("Measure", icon="timer", on_click=self._measure).props("unelevated no-caps")
                self._button.tooltip("Run the model with the engine's profiler")
            self._failure = ui.element("div")
            columns = [
                ("*name", "Operation"), ("kind", "Kind"), ("*shape", "Output"), ("device", "Device"),
                ("engine", "Engine"), ("#segment", "Segment"), ("#cost", "Cost, %"), ("#measured", "Measured, µs"),
            ]  # fmt: skip
            if not shapes:
                columns = [column for column in columns if column[0] != "*shape"]
            self._table = table(columns, self._rows, per_page=_PAGE, chosen=self._explain)
            self._reasons = ui.element("div").classes("reasons").props('aria-live="polite"')
            with self._reasons:
                hint("Choose an operation to see why it runs on this device.")

    def _filter(self) -> None:
        self._table.rows = seen_rows(matching(self._rows, self._text.value or "", self._places.value or ()))
        self._table.update()

    async def _measure(self) -> None:
        self._failure.clear()
        try:
            async with busy(self._button):
                plan = await asyncio.to_thread(self._model.measured_plan)
        except Exception as error:
            with self._failure:
                error_box(error)
            return
        self._plan = plan
        self._rows = rows_of(plan, self._shapes)
        self._filter()
        rest = plan.measured.get("", 0.0)
        with self._failure:
            hint(f"{took(sum(plan.measured.values()))} in total, {took(rest)} outside the program's operations")

    def _explain(self, number: int) -> None:
        operations = [op for op in self._plan.operations if op.device]
        op: PlannedOperation = operations[number]
        self._reasons.clear()
        with self._reasons:
            TextLabel(f"{op.kind} {op.name}").classes("code feature-name")
            facts(
                [
                    ("runs on", f"{op.device}, by {op.engine}, in segment {op.segment}"),
                    ("could run on", ", ".join(op.supported)),
                    ("output", self._shapes.get(op.name, "")),
                    *((f"not on {place}", reason) for place, reason in op.reasons.items()),
                ]
            )


def _segments(plan: ComputePlan) -> None:
    with card("Segments", f"Precision: {plan.precision}"):
        rows = [
            {
                "id": number,
                "device": segment.device,
                "engine": f"{segment.engine} {segment.engine_version}",
                "precision": segment.precision,
                "#threads": segment.threads if segment.threads is not None else "engine's choice",
                "#operations": segment.operations,
            }
            for number, segment in enumerate(plan.segments)
        ]
        columns = [
            ("id", "Segment"), ("device", "Device"), ("engine", "Engine"), ("precision", "Precision"),
            ("#threads", "Threads"), ("#operations", "Operations"),
        ]  # fmt: skip
        table(columns, rows)
        with (
            ui.expansion(
                f"{len(plan.candidates)} candidate{' was' if len(plan.candidates) == 1 else 's were'} considered"
            )
            .props("dense")
            .classes("fold")
        ):
            tried = [
                {
                    "id": number,
                    "candidate": str(candidate),
                    "#prediction": "" if candidate.seconds is None else took(candidate.seconds),
                    "#compilation": "" if candidate.compilation is None else took(candidate.compilation),
                    "#noise": f"{min(candidate.signal_to_noise.values()):.1f} dB" if candidate.signal_to_noise else "",
                    "*memory": candidate.held,
                    "*note": candidate.note or "chosen",
                }
                for number, candidate in enumerate(plan.candidates)
            ]
            columns = [
                ("candidate", "Candidate"), ("#prediction", "Prediction"), ("#compilation", "Compilation"),
                ("#noise", "Signal-to-noise"), ("*memory", "Memory"), ("*note", "Outcome"),
            ]  # fmt: skip
            table(columns, tried)


def _graph(opened: Opened) -> None:
    with card("Graph", "Drawn by Netron"):
        if not netron.installed():
            hint("Netron is not installed; run pip install 'pippin[studio]'.")
            return
        buttons, place = ui.element("div").classes("line"), ui.element("div")
        for name, form in netron.FORMS.items():
            if form.fits(opened):
                with buttons:
                    _graph_button(opened, name, form, place)


def _graph_button(opened: Opened, name: str, form: netron.Form, place: Any) -> None:
    async def show() -> None:
        place.clear()
        try:
            async with busy(button):
                address = await asyncio.to_thread(form.write, opened)
        except Exception as error:
            with place:
                error_box(error)
            return
        with place:
            frame = ui.element("iframe").classes("graph")
            frame.props["src"] = address
            frame.props["title"] = f"Graph: {name}"

    button = ui.button(f"Show {name}", icon="account_tree", on_click=show).props("unelevated no-caps")


def _type(kind: Any) -> str:
    from ...types import TensorType

    if isinstance(kind, TensorType):
        shape = "…" if kind.shape is None else " × ".join("?" if size is None else str(size) for size in kind.shape)
        return f"{kind.dtype.value} {shape}".strip()
    return str(kind)
