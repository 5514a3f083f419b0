"""Import time: `import pippin` against `import numpy`, in fresh interpreters, interleaved; medians and their ratio.

Both are read from compiled bytecode, as after an installation by pip; a development checkout may have none of its own.

python bench/import_time.py [RUNS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 31
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module: str, bytecode: str) -> float:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", CODE.format(module)]
    return float(subprocess.check_output(command, env=environment | {"PYTHONPYCACHEPREFIX": bytecode}))


def main() -> None:
    with tempfile.TemporaryDirectory() as bytecode:
        seconds("pippin", bytecode), seconds("numpy", bytecode)  # which write it
        pairs = [(seconds("numpy", bytecode), seconds("pippin", bytecode)) for _ in range(RUNS)]
    numpy, pippin = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"import numpy {numpy * 1e3:.1f} ms, import pippin {pippin * 1e3:.1f} ms, ratio {ratio:.2f} ({RUNS} pairs)")


if __name__ == "__main__":
    main()
