"""pippin inspect: prints the features, contents and size of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from .terminal import say


def inspect(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel, .onnx or .mil text.")],
    function: Annotated[str | None, typer.Option(help="Show only this function.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the program as readable text.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Describe a model: features, operations, weights and size."""
    from ...program import PROGRAMS, read_program
    from ...program.pretty_print import program_text
    from ...program.summary import summary
    from .open_argument import open_argument

    asset = open_argument(model)
    program = read_program(asset) if asset.description.kind in PROGRAMS else None
    if text:
        from ...errors import UnsupportedModelError

        if program is None:
            raise UnsupportedModelError(
                f"{asset.name} is a {asset.description.kind} model; only an ML Program can be printed as text"
            )
        say(program_text(program, function))
        return
    found = summary(asset, program, function)
    if json_:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from .terminal import console, format_bytes, styled, table

    out = console()
    size = "" if found["bytes"] is None else f", {format_bytes(found['bytes'])}"
    version = f", specification {found['specification_version']} ({found['needs']})"
    about = f"  {found['kind']}{version if found['specification_version'] else ''}{size}"
    out.print(styled((found["name"], "bold"), about))
    metadata = {**found["metadata"], **found["metadata"]["user_defined"]}
    for key, value in metadata.items():
        if value and key != "user_defined":
            out.print(styled((key, "dim"), f"  {value}"))
    if found["class_labels"] is not None:
        out.print(styled(("class labels", "dim"), f"  {found['class_labels']}"))
    for function in found["functions"]:
        default = " (default)" if function["name"] == found["default_function"] and len(found["functions"]) > 1 else ""
        rows = table("feature", "", "type", "description", title=f"function {function['name']}{default}")
        for role in ("inputs", "outputs", "states"):
            for feature in function[role]:
                optional = " (optional)" if feature["optional"] else ""
                cells = feature["name"], role[:-1] + optional, feature["type"], feature["description"]
                rows.add_row(*cells)
        out.print(rows)
        if function["operations"]:
            counts = ", ".join(f"{kind} {count}" for kind, count in function["operations"].items())
            what = f"operations ({function['opset']})" if function["opset"] else "layers"
            out.print(styled((what, "dim"), f"  {counts}"), end="\n\n")
    if found["counts"]:
        contents = ", ".join(f"{name} {value}" for name, value in found["counts"].items())
        out.print(styled(("contents", "dim"), f"  {contents}"), end="\n\n")
    if found["weights"]:
        rows = table("weights", "type", "where", "size")
        for row in found["weights"]:
            rows.add_row(row["stored_as"], row["type"], row["where"], format_bytes(row["bytes"]))
        out.print(rows)
    for model in found["models"]:
        out.print()
        _print(model)
