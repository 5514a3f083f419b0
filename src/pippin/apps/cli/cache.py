"""pippin cache: inspects, explains, moves and cleans the cache."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common_options import (
    CacheFolder,
    Engine,
    Function,
    Precision,
    Strategy,
    Threads,
    Units,
    cache_of,
    configuration_of,
)
from .terminal import say

if TYPE_CHECKING:
    from ...cache.store import Cache, Entry

app = typer.Typer(name="cache", help="Inspect, verify, move and clean the specialization cache.", no_args_is_help=True)
Keys = Annotated[list[str] | None, typer.Argument(help="Entry keys or key prefixes; all entries by default.")]


@app.command("ls")
def ls(
    cache: CacheFolder = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON list and nothing else.")] = False,
) -> None:
    """List the entries, most recently used first."""
    from .terminal import console, format_bytes, table

    store = cache_of(cache)
    entries = store.entries()
    if json_:
        typer.echo(json.dumps([_described(entry) for entry in entries]))
        return
    rows = table("key", "model", "engine", "size", "last used")
    for entry in entries:
        ingredients = entry.manifest["ingredients"]
        engines = ", ".join(k.removeprefix("engine.") for k in ingredients if k.startswith("engine."))
        names = ", ".join(path.name for path in entry.sources) or "in memory"
        rows.add_row(entry.key[:12], names, engines, format_bytes(entry.size), _time(entry.used))
    console().print(rows)
    total = sum(entry.size for entry in entries)
    size = f"{format_bytes(total)} of {format_bytes(store.limit)}"
    console().print(f"entries: {len(entries)}, {size}, in {store.folder}", style="dim")


@app.command("show")
def show(key: Annotated[str, typer.Argument(help="Entry key or key prefix.")], cache: CacheFolder = None) -> None:
    """Show an entry as JSON: its ingredients, files and sources."""
    typer.echo(json.dumps(_described(_entry(cache_of(cache), key)), indent=2))


@app.command("explain")
def explain(
    model: Annotated[Path, typer.Argument(help="An .mlpackage, .mlmodel, .mlmodelc, .aimodel or .onnx.")],
    function: Function = None,
    engine: Engine = None,
    precision: Precision = "auto",
    compute_units: Units = "ALL",
    threads: Threads = None,
    strategy: Strategy = "default",
    cache: CacheFolder = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Explain whether a load would hit the cache, and if not, why.

    On a miss, lists the ingredients that differ from the nearest entry.
    """
    from ...cache.explain import explain as explained
    from ...program import open_model
    from ...runtime.loading import Source, key_of
    from .open_argument import model_path

    model = model_path(model)
    store = cache_of(cache)
    configuration = configuration_of(function, engine, precision, compute_units, threads, strategy)
    named = key_of(Source(model), configuration, store.index)
    if named is None:
        open_model(model)  # raises the error that says what is wrong with the model
        raise typer.Exit(1)
    answer = explained(store, named[0], model)
    if json_:
        changed = {name: {"there": cached, "now": now} for name, (cached, now) in answer.changed.items()}
        typer.echo(json.dumps({"key": answer.key, "hit": answer.hit, "reason": answer.reason, "changed": changed}))
        return
    say(answer.reason)
    for name, (cached, now) in answer.changed.items():
        say(f"  {name}: {cached} -> {now}")


@app.command("prune")
def prune(cache: CacheFolder = None) -> None:
    """Remove stale entries, and what exceeds the size limit.

    An entry is stale if its source was deleted or modified, or its engine was updated.
    """
    from ...runtime.loading import prune as pruned

    removed = pruned(cache_of(cache))
    for key, reason in removed.items():
        say(f"{key[:12]}: {reason}")
    typer.echo(f"entries removed: {len(removed)}")


@app.command("clear")
def clear(cache: CacheFolder = None) -> None:
    """Remove all entries."""
    typer.echo(f"entries removed: {cache_of(cache).clear()}")


@app.command("verify")
def verify(cache: CacheFolder = None) -> None:
    """Check every byte of every entry.

    The exit status is 1 if an entry is damaged.
    """
    damaged = 0
    for entry in cache_of(cache).entries():
        damage = entry.damage()
        damaged += damage is not None
        say(f"{entry.key[:12]}: {damage or 'intact'}")
    if damaged:
        raise typer.Exit(1)


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="Tar file to write.")], keys: Keys = None, cache: CacheFolder = None
) -> None:
    """Export entries to a tar file, for machines like this one."""
    from ...cache.archive import export_entries

    store = cache_of(cache)
    chosen = [_entry(store, key).key for key in keys] if keys else [entry.key for entry in store.entries()]
    typer.echo(f"entries written: {len(export_entries(store, chosen, file))}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="Tar file that `pippin cache export` wrote.")], cache: CacheFolder = None
) -> None:
    """Import the entries of an exported file.

    The engines parse the imported artifacts, so import only files that you trust.
    """
    from ...cache.archive import import_entries

    typer.echo(f"entries imported: {len(import_entries(cache_of(cache), file))}")


def _entry(cache: Cache, key: str) -> Entry:
    from ...errors import CacheError

    matching = [entry for entry in cache.entries() if entry.key.startswith(key)]
    if len(matching) != 1:
        raise CacheError(f"{len(matching)} entries in {cache.folder} match the key '{key}'; exactly one must match")
    return matching[0]


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
