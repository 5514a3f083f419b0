"""Import time: benchmarks `import pippin` against `import numpy` and optionally another checkout, interleaved.

Each import runs in a fresh interpreter with compiled bytecode, as after pip install. Prints medians and ratios.

python bench/import_time.py [--runs 31] [--against OTHER/src]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parents[1] / "src"
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module: str, source: Path, bytecode: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONPATH": str(source)}
    return float(subprocess.check_output([sys.executable, "-c", CODE.format(module)], env=environment))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--against", type=Path, help="src folder of another checkout")
    arguments = parser.parse_args()
    rows = {"numpy": ("numpy", HERE), "pippin": ("pippin", HERE)}
    if arguments.against is not None:
        rows["other pippin"] = ("pippin", arguments.against.resolve())
    with tempfile.TemporaryDirectory() as bytecode:
        for module, source in rows.values():
            seconds(module, source, bytecode)  # writes the bytecode
        rounds = [
            {name: seconds(module, source, bytecode) for name, (module, source) in rows.items()}
            for _ in range(arguments.runs)
        ]
    for name in rows:
        median = statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times["pippin"] / times[name] for times in rounds)
        print(f"import {name:13s} {median * 1e3:6.1f} ms   pippin / {name}: {ratio:.3f}   ({arguments.runs} rounds)")


if __name__ == "__main__":
    main()
