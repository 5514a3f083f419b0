"""pippin ops: lists the MIL operations that Pippin lowers."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

# {name in a stored program: name in coremltools' registry}
_STORED_FORMS = {"write_state": "coreml_update_state"}


def ops(
    family: Annotated[str | None, typer.Option(help="Show only this family.")] = None,
    search: Annotated[str | None, typer.Option(help="Show only names that contain this text.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """List the supported MIL operations."""
    from .terminal import console, table

    found = [
        row
        for row in rows()
        if (family is None or row["family"] == family) and (search is None or search in row["name"])
    ]
    counted = sum(row["name"] not in _STORED_FORMS for row in found)
    if json_:
        typer.echo(json.dumps({"count": counted, "operations": found}, indent=2))
        return
    printed = table("operation", "family", "since", "parameters")
    for row in found:
        printed.add_row(row["name"], row["family"], f"iOS {row['since']}", ", ".join(row["parameters"]))
    console().print(printed)
    console().print(f"{counted} operations, all lowered to ONNX")


def rows() -> list[dict[str, Any]]:
    """Return name, family, iOS release and parameters of every lowered operation."""
    from ...lowering import ops as ops  # registers every lowering
    from ...lowering.op_registry import LOWERINGS

    return [
        {
            "name": entry.kind,
            "family": entry.family,
            "since": entry.since,
            "parameters": list(entry.parameters),
            "lowered": True,
            "stored_form_of": _STORED_FORMS.get(entry.kind),
        }
        for _, entry in sorted(LOWERINGS.items())
    ]
