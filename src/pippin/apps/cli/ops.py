"""pippin ops: which MIL operations are lowered."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

# coremltools' registry has the first; a stored program has the second in its place.
_STORED_FORMS = {"write_state": "coreml_update_state"}


def ops(
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    search: Annotated[str | None, typer.Option(help="Only names that contain this.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the table of MIL operations."""
    from .console import console, table

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
    console().print(f"{counted} operations, all lowered")


def rows() -> list[dict[str, Any]]:
    """Name, family, iOS release and parameters of every operation that is lowered."""
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
