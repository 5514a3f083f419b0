"""Run the suite, or a sample of it, and say what came of it."""

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
    folder: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(FOLDERS)}; all by default.")] = None,
    only: Annotated[str, typer.Option(help="Only tests whose names match this, as for pytest -k.")] = "",
    cases: Annotated[int, typer.Option(help="Cases of each test function; 0: all of them.")] = 2,
    total: Annotated[int, typer.Option(help="Tests of each folder, evenly of what `cases` leaves; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Which cases are chosen.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes side by side.")] = os.cpu_count() or 1,
    strict: Annotated[bool, typer.Option("--strict", help="With our own tolerances.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an interrupted run has done.")] = False,
    write: Annotated[
        Path | None, typer.Option(help="Run nothing: write the report of all kept runs into this file.")
    ] = None,
) -> None:
    """Run coremltools' own tests through the drop-in. Exit status 1 where one fails that is not expected to."""
    if write:
        report.write(write, RESULTS)
        return
    names = folder or list(FOLDERS)
    if unknown := set(names) - FOLDERS.keys():
        raise typer.BadParameter(f"no folder {', '.join(sorted(unknown))} (there are: {', '.join(FOLDERS)})")
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
    command += ["-p", "no:cacheprovider", "-q", "-W", "ignore", "--tb=no", "--no-header", "--show-capture=no"]
    command += ["--continue-on-collection-errors", "--timeout=600", "-n", str(workers), "--dist", "worksteal"]
    command += [f"--conformance-results={path}", *selection.options]
    # Names of tests must be the same in every process, and the processes must not fight over the cores.
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
        "PYTHONPATH": os.pathsep.join([str(HOME), str(HOME / "src")]),
    }
    threads = str(max((os.cpu_count() or 1) // workers, 1))
    environment |= {"OMP_NUM_THREADS": threads, "PIPPIN_THREADS": threads}
    # Each test has a model of its own, predicted once.
    environment["PIPPIN_CACHE"] = "off"
    if selection.strict:
        environment["INCLUDE_MIL_FP32_UNIT_TESTS"] = "1"
    for name in selection.folders:  # one at a time: tests change coremltools for those that follow in the process
        subprocess.run([*command, str(tests / FOLDERS[name])], cwd=RESULTS, env=environment, check=False)


typer.run(main)
