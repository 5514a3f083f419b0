"""Memory: measures a fresh process that loads a model from the cache and predicts. Run as a module, it is that process.

Its arguments (path, configuration, cache, features) are pickled to a file in the report's temporary folder.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..configuration import Configuration
from .results import Memory

_PREDICTIONS = 10
_TIMEOUT = 600.0
"""Seconds."""


def resident(path: Path, configuration: Configuration, cache: Path, features: Mapping[str, Any]) -> Memory | None:
    """Measure memory; None if the process fails or the operating system does not report it."""
    arguments = cache.parent / "memory"
    try:
        arguments.write_bytes(pickle.dumps((path.absolute(), configuration, cache, dict(features))))
    except (pickle.PicklingError, TypeError, AttributeError):
        return None  # features that cannot leave this process
    environment = {name: value for name, value in os.environ.items() if name != "PIPPIN_TRACE"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, str(arguments)],
            capture_output=True, text=True, env=environment, timeout=_TIMEOUT, check=True,
        )  # fmt: skip
        found = Memory(**json.loads(done.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
    return found if found.peak else None


def _main(arguments: Path) -> None:
    from ..runtime.model import load
    from ..trace.sampler import peak_resident_bytes, resident_bytes

    path, configuration, cache, features = pickle.loads(arguments.read_bytes())
    found = {"before": resident_bytes()}
    model = load(path, configuration, cache=cache)
    found["loaded"] = resident_bytes()
    state = model.make_state() if model.description.function(model.function_name).states else None
    for _ in range(_PREDICTIONS):
        model.predict(features, state=state)
    found["steady"] = resident_bytes()
    found["peak"] = peak_resident_bytes()
    print(json.dumps(found))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
