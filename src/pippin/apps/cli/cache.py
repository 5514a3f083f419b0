"""pippin cache: look into the cache, explain it, move it, clean it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common_options import CacheFolder, Engine, Function, Precision, Strategy, Units, cache_of, configuration_of

if TYPE_CHECKING:
    from ...cache.store import Cache, Entry

app = typer.Typer(name="cache", help="Look into the cache of specializations.", no_args_is_help=True)
Keys = Annotated[list[str] | None, typer.Argument(help="Keys of entries, or their beginnings; all by default.")]


@app.command("ls")
def ls(
    cache: CacheFolder = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON list, and nothing else.")] = False,
) -> None:
    """List the entries, the most recently used first."""
    from .console import console, format_bytes, table

    found = cache_of(cache)
    entries = found.entries()
    if json_:
        typer.echo(json.dumps([_described(entry) for entry in entries]))
        return
    rows = table("key", "model", "engine", "size", "last used")
    for entry in entries:
        made = entry.manifest["ingredients"]
        engines = ", ".join(k.removeprefix("engine.") for k in made if k.startswith("engine."))
        names = ", ".join(path.name for path in entry.sources) or "in memory"
        rows.add_row(entry.key[:12], names, engines, format_bytes(entry.size), _time(entry.used))
    console().print(rows)
    total = sum(entry.size for entry in entries)
    console().print(
        f"[dim]{len(entries)} entries, {format_bytes(total)} of {format_bytes(found.limit)}, in {found.folder}[/dim]"
    )


@app.command("show")
def show(
    key: Annotated[str, typer.Argument(help="The key of an entry, or its beginning.")], cache: CacheFolder = None
) -> None:
    """Show an entry: its ingredients, its files, its sources."""
    typer.echo(json.dumps(_described(_entry(cache_of(cache), key)), indent=2))


@app.command("explain")
def explain(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel or .mlmodelc.")],
    function: Function = None,
    engine: Engine = None,
    precision: Precision = "auto",
    compute_units: Units = "ALL",
    strategy: Strategy = "default",
    cache: CacheFolder = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")] = False,
) -> None:
    """Say whether a load would be a hit, and if not, which ingredient changed since the nearest entry."""
    from ...cache.explain import explain as explained
    from ...program import open_model
    from ...runtime.loading import Source, key_of

    found = cache_of(cache)
    configuration = configuration_of(function, engine, precision, compute_units, strategy=strategy)
    named = key_of(Source(model), configuration, found.index)
    if named is None:
        open_model(model)  # says what is wrong with it
        raise typer.Exit(1)
    answer = explained(found, named[0], model)
    if json_:
        changed = {name: {"there": there, "now": now} for name, (there, now) in answer.changed.items()}
        typer.echo(json.dumps({"key": answer.key, "hit": answer.hit, "reason": answer.reason, "changed": changed}))
        return
    typer.echo(answer.reason)
    for name, (there, now) in answer.changed.items():
        typer.echo(f"  {name}: {there} -> {now}")


@app.command("prune")
def prune(cache: CacheFolder = None) -> None:
    """Remove what is of no use: deleted or modified sources, updated engines, what is over the size limit."""
    from ...runtime.loading import prune as pruned

    removed = pruned(cache_of(cache))
    for key, reason in removed.items():
        typer.echo(f"{key[:12]}: {reason}")
    typer.echo(f"{len(removed)} entries removed")


@app.command("clear")
def clear(cache: CacheFolder = None) -> None:
    """Remove every entry."""
    typer.echo(f"{cache_of(cache).clear()} entries removed")


@app.command("verify")
def verify(cache: CacheFolder = None) -> None:
    """Check every byte of every entry; exit status 1 where one is damaged."""
    damaged = 0
    for entry in cache_of(cache).entries():
        damage = entry.damage()
        damaged += damage is not None
        typer.echo(f"{entry.key[:12]}: {damage or 'sound'}")
    if damaged:
        raise typer.Exit(1)


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="The tar file to write.")], keys: Keys = None, cache: CacheFolder = None
) -> None:
    """Write entries into one file, for machines like this one."""
    from ...cache.archive import export_entries

    found = cache_of(cache)
    chosen = [_entry(found, key).key for key in keys] if keys else [entry.key for entry in found.entries()]
    typer.echo(f"{len(export_entries(found, chosen, file))} entries written")


@app.command("import")
def import_(file: Annotated[Path, typer.Argument(help="What `export` wrote.")], cache: CacheFolder = None) -> None:
    """Take over the entries of a file. Their artifacts are read by the engines: import what you trust."""
    from ...cache.archive import import_entries

    typer.echo(f"{len(import_entries(cache_of(cache), file))} entries imported")


def _entry(cache: Cache, key: str) -> Entry:
    from ...errors import CacheError

    found = [entry for entry in cache.entries() if entry.key.startswith(key)]
    if len(found) != 1:
        raise CacheError(f"{len(found)} entries of {cache.folder} begin with '{key}'; one is needed")
    return found[0]


def _described(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.key,
        "size": entry.size,
        "used": _time(entry.used),
        "sources": [str(path) for path in entry.sources],
        "ingredients": entry.manifest["ingredients"],
        "files": entry.manifest["files"],
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
