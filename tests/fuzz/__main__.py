"""Command line: `python -m tests.fuzz --seeds 0..10000`. An interrupted range goes on where it ended."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[2]
for folder in ("src", "tests"):
    sys.path.insert(0, str(HOME / folder))
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PIPPIN_CACHE": "off"}

from . import report  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seeds", default="0..1000", help="FIRST..END, or one seed (default: %(default)s)")
    parser.add_argument("--resume", type=Path, default=HOME / "out" / "fuzz.jsonl", metavar="FILE",
                        help="append results to FILE; seeds that it has are not run again (default: out/fuzz.jsonl)")  # fmt: skip
    parser.add_argument("--at-once", type=int, default=2, help="children at once (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="run the seeds in FILE that found something once more")
    parser.add_argument("--report", action="store_true", help="run nothing, print the report of FILE")
    parser.add_argument("--boundaries", action="store_true", help="also print where a boundary made the error")
    parser.add_argument("--one", type=int, metavar="SEED", help="run one seed in this process and print what it does")
    options = parser.parse_args()
    if options.one is not None:
        return _one(options.one)
    known = report.read(options.resume)
    if not options.report:
        _run(_seeds(options.seeds, known, options.again), options.resume, options.at_once)
    known = report.read(options.resume)
    print(report.text(known))
    if options.boundaries:
        print(report.boundaries(known))
    return 1 if report.findings(known) else 0


def _seeds(text: str, known: dict[int, Any], again: bool) -> list[int]:
    first, _, end = text.partition("..")
    wanted = range(int(first), int(end or int(first) + 1))
    if again:
        return [result["seed"] for result in report.findings(known)]
    return [seed for seed in wanted if seed not in known]


def _run(seeds: list[int], path: Path, at_once: int) -> None:
    if not seeds:
        return
    from . import bases, children, trial

    bases.warm()
    trial.small_budgets()
    if not bases.SHARED.is_dir():
        print(f"no shared models in {bases.SHARED} (set PIPPIN_SHARED_MODELS): without them", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    started = shown = time.monotonic()
    with path.open("a") as file:
        for number, result in enumerate(children.results(seeds, trial.run, at_once), 1):
            file.write(json.dumps(result) + "\n")
            file.flush()
            now = time.monotonic()
            if result["kind"] in report.KINDS:
                print(f"seed {result['seed']}: {result['kind']}: {result['group']}", flush=True)
            if now - shown > 60:
                shown = now
                print(f"{number} of {len(seeds)} runs in {now - started:.0f} s", flush=True)


def _one(seed: int) -> int:
    from . import bases, trial

    bases.warm()
    trial.small_budgets()
    with tempfile.TemporaryDirectory() as folder:
        told: list[dict[str, Any]] = []

        def tell(line: dict[str, Any]) -> None:
            told.append(line)
            print(*(f"{key}: {value}" for key, value in line.items()), sep="\n", flush=True)

        trial.run(seed, Path(folder), tell)
    return 1 if told[-1].get("kind") in report.KINDS else 0


if __name__ == "__main__":
    sys.exit(main())
