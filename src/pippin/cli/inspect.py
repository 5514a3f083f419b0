"""pippin inspect: what a model takes and gives, what it is made of, and how large it is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..format.asset import Asset
    from ..format.description import FeatureDescription, FunctionDescription
    from ..program import Program

# The first release that reads a specification version. Source: coremltools, `_deployment_compatibility`.
_RELEASES = {
    1: "iOS 11",
    2: "iOS 11.2",
    3: "iOS 12",
    4: "iOS 13",
    5: "iOS 14",
    6: "iOS 15",
    7: "iOS 16",
    8: "iOS 17",
} | {
    9: "iOS 18",
    10: "iOS 26",
}


def inspect(
    model: Annotated[Path, typer.Argument(help="An .mlpackage or .mlmodel.")],
    function: Annotated[str | None, typer.Option(help="Only this function.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the program as text.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the description of a model."""
    from ..format.asset import open_asset
    from ..program import read_program
    from ..program.text import program_text

    asset = open_asset(model)
    program = read_program(asset) if asset.description.kind == "mlProgram" else None
    if text:
        from ..errors import UnsupportedModelError

        if program is None:
            raise UnsupportedModelError(
                f"{asset.name} is a {asset.description.kind} model; only an ML Program has a text"
            )
        typer.echo(program_text(program, function))
        return
    found = summary(asset, program, function)
    if json_:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print(found)


def summary(asset: Asset, program: Program | None, function: str | None) -> dict[str, Any]:
    """Everything that `inspect` shows, as plain values."""
    description = asset.description
    shown = [description.function(function)] if function else list(description.functions)
    metadata = description.metadata
    network = description.kind.startswith("neuralNetwork")
    layers = {"operations": _layers(getattr(asset.specification, description.kind).layers)} if network else {}
    return {
        "name": asset.name,
        "kind": description.kind,
        "specification_version": description.specification_version,
        "needs": _RELEASES.get(description.specification_version, ""),
        "bytes": _size(asset.path),
        "metadata": {
            "description": metadata.short_description,
            "author": metadata.author,
            "license": metadata.license,
            "version": metadata.version,
            "user_defined": dict(metadata.user_defined),
        },
        "class_labels": None if description.class_labels is None else len(description.class_labels),
        "default_function": description.default_function_name,
        "functions": [_function(f, program) | layers for f in shown],
        "weights": _weights(program) if program else [],
    }


def _function(function: FunctionDescription, program: Program | None) -> dict[str, Any]:
    body = program.functions.get(function.name) if program else None
    return {
        "name": function.name,
        "inputs": [_feature(f) for f in function.inputs],
        "outputs": [_feature(f) for f in function.outputs],
        "states": [_feature(f) for f in function.states],
        "opset": body.opset if body else None,
        "operations": body.histogram() if body else {},
    }


def _layers(layers: Any) -> dict[str, int]:
    """How many there are of each kind of layer, those in branches and loops included; custom ones by their class."""
    found: Counter[str] = Counter()
    for layer in layers:
        kind = layer.WhichOneof("layer") or "unknown"
        found[f"custom ({layer.custom.className})" if kind == "custom" else kind] += 1
        if kind == "branch":
            found.update(_layers((*layer.branch.ifBranch.layers, *layer.branch.elseBranch.layers)))
        elif kind == "loop":
            found.update(_layers((*layer.loop.conditionNetwork.layers, *layer.loop.bodyNetwork.layers)))
    return dict(found.most_common())


def _feature(feature: FeatureDescription) -> dict[str, Any]:
    return {"name": feature.name, "type": str(feature.type), "optional": feature.optional, "description": feature.doc}


def _weights(program: Program) -> list[dict[str, Any]]:
    """Bytes of constants by element type, by what decompresses them, and by where they are stored."""
    from ..program.ir import Literal
    from ..types import TensorType

    stored: Counter[tuple[str, str, str]] = Counter()
    seen: set[int] = set()
    for function in program.functions.values():
        for operation in function.block.walk():
            arguments = [a for bound in operation.inputs.values() for a in bound]
            for literal in [*operation.attributes.values(), *arguments]:
                if not isinstance(literal, Literal) or not isinstance(literal.type, TensorType) or id(literal) in seen:
                    continue
                seen.add(id(literal))
                count = 1
                for size in literal.type.shape or ():
                    count *= size or 0
                place = "weight file" if literal.file else "program"
                used = operation.kind if operation.kind.startswith("constexpr_") else "plain"
                stored[used, literal.type.dtype.value, place] += -(-count * literal.type.dtype.bits // 8)
    return [{"stored_as": k[0], "type": k[1], "where": k[2], "bytes": n} for k, n in stored.most_common() if n]


def _size(path: Path | None) -> int | None:
    if path is None:
        return None
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _print(found: dict[str, Any]) -> None:
    from .console import console, sized, table

    out = console()
    size = "" if found["bytes"] is None else f", {sized(found['bytes'])}"
    out.print(f"[bold]{found['name']}[/bold]  {found['kind']}, specification {found['specification_version']}", end="")
    out.print(f" ({found['needs']}){size}")
    metadata = {**found["metadata"], **found["metadata"]["user_defined"]}
    for key, value in metadata.items():
        if value and key != "user_defined":
            out.print(f"[dim]{key}[/dim]  {value}", markup=True)
    if found["class_labels"] is not None:
        out.print(f"[dim]class labels[/dim]  {found['class_labels']}")
    for function in found["functions"]:
        default = " (default)" if function["name"] == found["default_function"] and len(found["functions"]) > 1 else ""
        rows = table("feature", "", "type", "description", title=f"function {function['name']}{default}")
        for role in ("inputs", "outputs", "states"):
            for feature in function[role]:
                optional = " (optional)" if feature["optional"] else ""
                rows.add_row(feature["name"], role[:-1] + optional, feature["type"], feature["description"])
        out.print(rows)
        if function["operations"]:
            counts = ", ".join(f"{kind} {count}" for kind, count in function["operations"].items())
            what = f"operations ({function['opset']})" if function["opset"] else "layers"
            out.print(f"[dim]{what}[/dim]  {counts}\n")
    if found["weights"]:
        rows = table("weights", "type", "where", "size")
        for row in found["weights"]:
            rows.add_row(row["stored_as"], row["type"], row["where"], sized(row["bytes"]))
        out.print(rows)
