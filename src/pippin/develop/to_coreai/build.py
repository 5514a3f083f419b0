"""Build: lets Apple's package, in a process of its own, write an asset and run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigurationError, ConversionError

SCRIPT = Path(__file__).with_name("apple_process.py")
VARIABLE = "PIPPIN_COREAI"
"""Environment variable with the Python that has coreai-core."""
_SECONDS = 1800
_SHOWN = 600


def interpreter(given: str | os.PathLike[str] | None = None) -> Path:
    """The Python that has Apple's package. Raises ConfigurationError if there is none."""
    named = given or os.environ.get(VARIABLE)
    if named:
        if not Path(named).is_file():
            raise ConfigurationError(
                f"{named}: there is no such Python ({VARIABLE} or `python` names the one with coreai-core)"
            )
        return Path(named)
    if find_spec("coreai") is None:
        raise ConfigurationError(
            "an .aimodel is written by Apple's coreai-core, which is not installed: pip install 'pippin[coreai]' (Linux"
            f" x86-64 with glibc 2.34, macOS), or let {VARIABLE} name a Python that has it"
        )
    return Path(sys.executable)


def build(
    python: Path, folder: Path, target: Path, described: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write the asset. Raises ConversionError if Apple's package refuses it."""
    (folder / "description.json").write_text(json.dumps(described), "utf-8")
    np.savez(folder / "constants.npz", **arrays)  # type: ignore[arg-type]
    _call(python, "build", folder, target)


def run(python: Path, folder: Path, target: Path, runs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The outputs of Apple's runtime. Each run has a function, inputs, states, and the number of its predictions."""
    arrays: dict[str, np.ndarray] = {}
    described = []
    for one in runs:
        keys: dict[str, dict[str, str]] = {"inputs": {}, "states": {}}
        for kind, named in keys.items():
            for name, array in one[kind].items():
                named[name] = f"a{len(arrays)}"
                arrays[named[name]] = np.ascontiguousarray(array).reshape(array.shape)
        described.append({"function": one["function"], "calls": one["calls"], **keys})
    (folder / "run.json").write_text(json.dumps(described), "utf-8")
    np.savez(folder / "inputs.npz", **arrays)  # type: ignore[arg-type]
    _call(python, "run", folder, target)
    with np.load(folder / "outputs.npz") as found:
        return {name: found[name] for name in found.files}


def _call(python: Path, what: str, folder: Path, target: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    doing = "build the asset" if what == "build" else "run the asset"
    try:
        done = subprocess.run(
            [python, SCRIPT, what, folder, target],
            capture_output=True, text=True, errors="replace", env=environment, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConversionError(f"Apple's coreai-core did not {doing}: {error}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"]
        named = [line for line in said if "Error" in line or line.startswith("error")]
        raise ConversionError(f"Apple's coreai-core did not {doing}: {(named or said)[-1][:_SHOWN]}")
