"""Core AI: the time of a prediction in Apple's Linux runtime and in Pippin, interleaved in one run.

    python bench/coreai.py FOLDER-OF-AIMODELS [ROUNDS]

Apple's runtime runs in the environment of `make .venv/coreai/.installed` (or PIPPIN_COREAI), in a process of its own,
with all cores; Pippin with two threads. Prints the least time of each and the geometric mean of the ratios.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import pippin

PYTHON = os.environ.get("PIPPIN_COREAI") or str(Path(__file__).parents[1] / ".venv" / "coreai" / "bin" / "python")
APPLE = """
import asyncio, json, sys, time
import numpy as np
from pathlib import Path
from coreai.runtime import NDArray
from coreai.authoring import AIProgram

async def main(path, data):
    with np.load(data) as stored:
        given = {name: NDArray(np.ascontiguousarray(stored[name])) for name in stored.files}
    program = AIProgram._load_bytecode(Path(path) / "main.mlirb")
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        asset = program.save_asset(Path(folder) / "m.aimodel")
        async with asset.executable() as model:
            function = model.load_function("main")
            for line in sys.stdin:
                began = time.perf_counter()
                await function(inputs=given)
                print(json.dumps(time.perf_counter() - began), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def main(folder: Path, rounds: int) -> None:
    ratios = []
    for path in sorted(folder.glob("*.aimodel")):
        model = pippin.load(path, pippin.Configuration(threads=2))
        if model.description.function().states:
            continue
        rng = np.random.default_rng(0)
        given = {name: rng.standard_normal(f.shape or ()).astype(f.dtype) for name, f in model.inputs.items()}
        data = path.with_suffix(".inputs.npz")
        np.savez(data, **given)
        child = subprocess.Popen(
            [PYTHON, "-c", APPLE, path, data],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert child.stdin is not None and child.stdout is not None
        apple, own = [], []
        for _ in range(rounds):
            child.stdin.write("go\n")
            child.stdin.flush()
            apple.append(_next_number(child.stdout))
            for _ in range(10):
                began = time.perf_counter()
                model.predict(given)
                own.append(time.perf_counter() - began)
        child.stdin.close()
        child.wait()
        data.unlink()
        ratios.append(min(apple) / min(own))
        times = f"Apple {1e3 * min(apple):9.3f} ms   Pippin {1e3 * min(own):8.3f} ms   {ratios[-1]:7.1f}"
        print(f"{path.stem:24} {times}   {model.engine}")
    if ratios:
        print(f"geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.1f}")


def _next_number(lines: object) -> float:
    for line in lines:  # type: ignore[attr-defined]
        try:
            return float(json.loads(line))
        except ValueError:
            continue  # Apple's runtime logs to standard output
    raise SystemExit("Apple's runtime ended")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
