"""Import time: `import pippin` against `import numpy`, in fresh interpreters, interleaved; medians and their ratio.

python bench/import_time.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 31
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module: str) -> float:
    return float(subprocess.check_output([sys.executable, "-c", CODE.format(module)]))


def main() -> None:
    seconds("pippin"), seconds("numpy")  # what is not in the file cache yet would count for the first one only
    pairs = [(seconds("numpy"), seconds("pippin")) for _ in range(RUNS)]
    numpy, pippin = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"import numpy {numpy * 1e3:.1f} ms, import pippin {pippin * 1e3:.1f} ms, ratio {ratio:.2f} ({RUNS} pairs)")


if __name__ == "__main__":
    main()
