"""Models: the real models, one by one: what each is, how long it takes, what was checked, and what came of it.

python -m conformance.models [--write docs/models.md]

The models are found as in the tests: in the folder that PIPPIN_SHARED_MODELS names, else in `shared/models` beside the
repository. Exit status 1 where a model gives a wrong answer, or does not open without being refused.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import pippin

from .case import seeded_features
from .real_models import checked, custom_layers

FOLDER = Path(os.environ.get("PIPPIN_SHARED_MODELS") or Path(__file__).parents[2] / "shared" / "models")
_SUFFIXES = (".mlpackage", ".mlmodel", ".mlmodelc")


@dataclass
class Row:
    model: str
    kind: str = ""
    size: str = ""
    load: str = ""
    predict: str = ""
    outcome: str = ""
    wrong: bool = False


def main(
    write: Annotated[Path | None, typer.Option(help="The file for the table; else it is printed.")] = None,
) -> None:
    """Check every real model."""
    if not FOLDER.is_dir():
        raise SystemExit(f"no models in {FOLDER} (set PIPPIN_SHARED_MODELS)")
    rows = []
    for path in model_paths(FOLDER):
        rows.append(_row(path, path.relative_to(FOLDER).as_posix()))
        print(rows[-1].model, "-", rows[-1].outcome, file=sys.stderr)
    text = _page(rows)
    if write is None:
        print(text)
    else:
        aside = write.with_name(f".{write.name}")
        aside.write_text(text, encoding="utf-8")
        aside.replace(write)
    sys.exit(1 if any(row.wrong for row in rows) else 0)


def model_paths(folder: Path) -> Iterator[Path]:
    """Every model that does not lie inside another one."""
    for path in sorted(folder.iterdir()):
        if path.suffix in _SUFFIXES:
            yield path
        elif path.is_dir():
            yield from model_paths(path)


def _row(path: Path, name: str) -> Row:
    row = Row(name)
    try:
        row.kind, row.size = _described(path)
        with custom_layers():
            row.load, row.predict = _times(path)
        _, row.outcome = checked(path, name)
    except pippin.errors.UnsupportedError as error:
        row.outcome = f"refused: {_short(error)}"
    except pippin.PippinError as error:
        row.outcome, row.wrong = f"**does not open**: {_short(error)}", True
    except AssertionError as error:
        row.outcome, row.wrong = f"**wrong**: {_short(error)}", True
    return row


def _short(error: Exception) -> str:
    """The first line, without the folder of the models."""
    return str(error).strip().splitlines()[0].replace(f"{FOLDER.resolve()}/", "").replace(f"{FOLDER}/", "")


def _described(path: Path) -> tuple[str, str]:
    """The kind of model, and how many operations, layers or models it consists of."""
    from pippin.program import open_model, read_program
    from pippin.program.classical_summary import contents

    asset = open_model(path)
    kind = asset.description.kind
    if kind == "mlProgram":
        operations = [op for f in read_program(asset).functions.values() for op in f.block.walk() if op.kind != "const"]
        return kind, f"{len(operations)} operations"
    if kind.startswith("neuralNetwork"):
        return kind, f"{len(getattr(asset.specification, kind).layers)} layers"
    if kind.startswith("pipeline"):
        return kind, " + ".join(part.description.kind for part in asset.parts())
    return kind, ", ".join(f"{name} {value}" for name, value in contents(asset).items())


def _times(path: Path) -> tuple[str, str]:
    """Seconds to load without the cache, and milliseconds of a prediction with the engine that was chosen."""
    started = time.perf_counter()
    model = pippin.load(path, cache=False)
    load = time.perf_counter() - started
    features, took = seeded_features(model), []
    try:
        for _ in range(6):
            started = time.perf_counter()
            model.predict(features)
            took.append(time.perf_counter() - started)
    except pippin.errors.FeatureError:  # not of a kind that can be made up
        return f"{load:.2f} s", ""
    return f"{load:.2f} s", f"{1e3 * statistics.median(took[1:]):.3g} ms"


def _page(rows: list[Row]) -> str:
    head = f"""# Real models

Models that other people trained, converted and published, and what Pippin {pippin.__version__} makes of each. Written
by `python -m conformance.models --write docs/models.md`; the times are those of that run ({os.cpu_count()} cores): the
load without the cache, and the median of 5 predictions with the engine that was chosen. `conformance/real_models.py`
has the checks. The tests make the same.

| model | type | consists of | load | prediction | check and result |
|---|---|---|---|---|---|
"""
    lines = [f"| {' | '.join((f'`{r.model}`', r.kind, r.size, r.load, r.predict, r.outcome))} |" for r in rows]
    refused, wrong = sum(row.outcome.startswith("refused") for row in rows), sum(row.wrong for row in rows)
    tail = f"{len(rows)} models: {len(rows) - refused - wrong} predict, {refused} are refused, {wrong} are wrong."
    return head + "\n".join(lines) + f"\n\n{tail}\n"


if __name__ == "__main__":
    typer.run(main)
