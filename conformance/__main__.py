"""Command line: runs the suite or a sample of it and reports the results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from . import report
from .environment import write_digits
from .plugin import read_results
from .suite import FOLDERS, Selection, root

HOME = Path(__file__).parent.parent
RESULTS = HOME / "out" / "conformance"


def main(
    folder: Annotated[
        list[str] | None, typer.Option(help=f"Folder to run, repeatable: {', '.join(FOLDERS)}; default: all.")
    ] = None,
    only: Annotated[str, typer.Option(help="Run only tests that match this expression (pytest -k).")] = "",
    cases: Annotated[int, typer.Option(help="Cases per test function; 0: all.")] = 2,
    total: Annotated[int, typer.Option(help="Tests per folder, sampled evenly after `cases`; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    workers: Annotated[int, typer.Option(help="Parallel processes.")] = os.cpu_count() or 1,
    strict: Annotated[bool, typer.Option("--strict", help="Use Pippin's tolerances instead of coremltools'.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Discard the results of an interrupted run.")] = False,
    write: Annotated[
        Path | None, typer.Option(help="Write the report of all stored runs to this file; run nothing.")
    ] = None,
) -> None:
    """Run coremltools' own tests through the drop-in. Exit status 1 on unexpected failures."""
    if write:
        report.write(write, RESULTS)
        return
    names = folder or list(FOLDERS)
    if unknown := set(names) - FOLDERS.keys():
        raise typer.BadParameter(f"unknown folder {', '.join(sorted(unknown))}; choose from {', '.join(FOLDERS)}")
    selection = Selection(tuple(names), only, cases, total, seed, strict)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{selection.name}.jsonl"
    if fresh:
        path.unlink(missing_ok=True)
    _run(selection, path, workers)
    collected, results = read_results(path)
    unexpected = report.show(report.summarize(collected, results, strict))
    sys.exit(1 if unexpected or not results else 0)


def _run(selection: Selection, path: Path, workers: int) -> None:
    tests = root()
    write_digits(tests / "test" / "optimize" / "torch" / "_test_data" / "mnist")
    command = [sys.executable, "-m", "pytest", "-p", "conformance.plugin", "-c", os.devnull, f"--rootdir={tests}"]
    command += [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-q",
        "-W",
        "ignore",
        "--tb=no",
        "--no-header",
        "--show-capture=no",
    ]
    command += ["--continue-on-collection-errors", "--timeout=600", "-n", str(workers), "--dist", "worksteal"]
    command += [f"--conformance-results={path}", *selection.options]
    # A fixed hash seed keeps test names equal in all processes; the thread limits below avoid oversubscription.
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
        "PYTHONPATH": os.pathsep.join([str(HOME), str(HOME / "src")]),
    }
    threads = str(max((os.cpu_count() or 1) // workers, 1))
    environment |= {"OMP_NUM_THREADS": threads, "PIPPIN_THREADS": threads}
    # Each test predicts its own model once, so caching would not pay.
    environment["PIPPIN_CACHE"] = "off"
    if selection.strict:
        environment["INCLUDE_MIL_FP32_UNIT_TESTS"] = "1"
    for name in selection.folders:  # one at a time: tests modify coremltools for later ones in the process
        subprocess.run([*command, str(tests / FOLDERS[name])], cwd=RESULTS, env=environment, check=False)


typer.run(main)
