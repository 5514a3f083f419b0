"""Against: compares the latency of this checkout with that of another, row by row of bench/latency.py, in one run.

python bench/against.py OTHER [--rounds 15] [--rows mlp,resnet50] [--engines onnxruntime,openvino] [--model PATH]...

Each checkout predicts in a process of its own; the two take turns in blocks of about 50 ms, so whatever else the
machine does disturbs both. The time of a block is its shortest prediction. Printed are the medians of the blocks, and
the median of the ratios of neighbouring blocks, which differs from 1 by less than 0.01 for two equal checkouts on a
quiet machine. The engine and its threads are fixed, because two loads may choose differently.

`--model` adds rows for any other model whose inputs are arrays or images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
BLOCK = 0.05  # seconds
FAST = "fast_load"


class Checkout:
    """A process that loads and predicts with one checkout's code."""

    def __init__(self, folder: Path) -> None:
        source = folder / "src"
        if not (source / "pippin").is_dir():
            raise SystemExit(f"{folder}: no checkout of pippin (src/pippin is missing)")
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--child", str(folder)],
            env={**os.environ, "PYTHONPATH": str(source)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def child() -> None:
    """Answer questions about models, until there are no more."""
    answers, sys.stdout = sys.stdout, sys.stderr
    import numpy as np

    import pippin

    model, x = None, {}
    for line in sys.stdin:
        question = json.loads(line)
        if "path" in question:
            try:
                hints = pippin.Hints(specialization_strategy=FAST)
                configuration = pippin.Configuration(
                    engine=question["engine"], threads=question["threads"], hints=hints
                )
                model = pippin.load(question["path"], configuration, cache=False)
                x = {name: np.load(path) for name, path in question["inputs"].items()}
                model.predict(x)
                answer: Any = ""
            except pippin.PippinError as error:
                answer = str(error).partition("\n")[0]
        else:
            assert model is not None
            times = []
            for _ in range(question["runs"]):
                started = time.perf_counter()
                model.predict(x)
                times.append(time.perf_counter() - started)
            answer = min(times)
        print(json.dumps(answer), file=answers, flush=True)


def compared(own: Checkout, other: Checkout, rounds: int) -> tuple[float, float, float]:
    """Median seconds of both, and the median ratio."""
    once = max(own.ask(runs=3), other.ask(runs=3))
    runs = max(int(BLOCK / once), 3)
    pairs = []
    for number in range(rounds):
        order = (own, other) if number % 2 else (other, own)
        took = {checkout: checkout.ask(runs=runs) for checkout in order}
        pairs.append((took[own], took[other]))
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return mine, theirs, statistics.median(a / b for a, b in pairs)


def rows(names: list[str], models: list[Path], folder: Path) -> list[tuple[str, Path, dict[str, str]]]:
    """(name, model, input files) of each row."""
    import networks
    import numpy as np

    from pippin.program.opening import open_model
    from pippin.specialization.sample_inputs import example_features

    found = []
    for network in networks.prepared(*names):
        example = folder / f"{network.name}.npy"
        np.save(example, network.example())
        inputs = {network.input: str(example)}
        found += [(f"{network.name} {p}", network.package(p), inputs) for p in ("float32", "float16")]
    for path in models:
        function = open_model(path, None).description.function()
        inputs = {}
        for name, value in example_features(function).items():
            inputs[name] = str(folder / f"{len(found)}-{len(inputs)}.npy")
            np.save(inputs[name], value)
        found.append((path.stem, path.resolve(), inputs))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="another checkout")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", default="", help="networks of bench/networks.py; default: all")
    parser.add_argument("--engines", default="onnxruntime,openvino")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--model", type=Path, action="append", default=[], help="another model")
    parser.add_argument("--only-models", action="store_true", help="no rows but those of --model")
    arguments = parser.parse_args()
    import tempfile

    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        names = [name for name in arguments.rows.split(",") if name]
        listed = rows(names, arguments.model, Path(folder))
        if arguments.only_models:
            listed = listed[len(listed) - len(arguments.model) :]
        own, other = Checkout(HERE), Checkout(arguments.other.resolve())
        for name, path, inputs in listed:
            for engine in arguments.engines.split(","):
                question = {"path": str(path), "inputs": inputs, "engine": engine, "threads": arguments.threads}
                refused = [checkout.ask(**question) for checkout in (own, other)]
                if any(refused):
                    print(f"{name:22} {engine:12} not run: {refused[0] or refused[1]}", flush=True)
                    continue
                mine, theirs, ratio = compared(own, other, arguments.rounds)
                ratios.append(ratio)
                print(f"{name:22} {engine:12} {1e3 * mine:9.3f} ms, other {1e3 * theirs:9.3f}: {ratio:.3f}", flush=True)
        own.close()
        other.close()
    if ratios:
        print(f"geometric mean {statistics.geometric_mean(ratios):.3f}   goal below 1.02")


if __name__ == "__main__":
    child() if "--child" in sys.argv else main()
