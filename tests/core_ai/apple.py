"""Apple: the environment of Apple's package, in which it builds models and runs them, in processes of its own.

`make .venv/.coreai-installed` makes it; PIPPIN_COREAI names another one's Python.
"""

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("PIPPIN_COREAI") or HERE.parents[1] / ".venv" / "coreai" / "bin" / "python")
ABSENT = f"Apple's coreai-core is not installed for {PYTHON} (make test installs it on Linux x86-64)"


def run(script: str, *arguments: object) -> str:
    """Run a script of this folder beside Apple's package. Skips the test if that is not installed."""
    if not any(PYTHON.parents[1].glob("lib/python*/site-packages/coreai")):
        pytest.skip(ABSENT)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent), "USE_LOCAL_COREAI": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [PYTHON, HERE / script, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=600
    )
    assert done.returncode == 0, f"{script} ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout
