"""Conformance with Core AI: the recordings of coreai-torch's own tests, run in Pippin.

    python -m conformance.coreai FOLDER [--engine NAME] [--only TEXT]

FOLDER has recordings, each a folder with `main.AICode.bc` and `test_data.npz`, or is a checkout of
https://github.com/apple/coreai-torch at the release of the installed coreai-torch, whose tests are then run first:

    pytest tests --dump-optests            # writes op_tests/; the package itself must not be in the checkout

Nothing of either is part of this repository. A value is wrong if it differs from Apple's runtime by more than 0.1 % (16
bit: 2 %) of itself and 1e-4 (1e-2). Exit status 1 if one is wrong, or fewer than 97 % are right.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pippin.engines import Settings, all_engines
from pippin.errors import PippinError, UnsupportedError
from pippin.format.aimodel import AIModelFile
from pippin.format.asset import Asset
from pippin.lowering.lower_model import lower_model
from pippin.lowering.lowered_model import Lowered, refuse_outside, written_name
from pippin.specialization.reference import prepared

PROGRAM, DATA = "main.AICode.bc", "test_data.npz"
PYTHON = Path(__file__).parents[1] / ".venv" / "coreai" / "bin" / "python"
LEAST = 0.97


@dataclass(frozen=True)
class Outcome:
    name: str
    kind: str
    """right, wrong, refused or failed"""
    reason: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--only", default="", help="recordings whose names contain this")
    options = parser.parse_args()
    folder = options.folder
    if (folder / "tests").is_dir() and not (folder / "op_tests").is_dir():
        record(folder)
    found = sorted(path.parent for path in folder.rglob(DATA) if options.only in str(path))
    outcomes = [run(path, str(path.relative_to(folder)), options.engine) for path in found]
    return report(outcomes)


def record(checkout: Path) -> None:
    """Run coreai-torch's own tests beside Apple's package. The package of the checkout is moved aside."""
    own = checkout / "coreai_torch"
    if own.is_dir():
        own.rename(checkout / "coreai_torch_of_the_checkout")
    arguments = ["-m", "pytest", "tests", "--dump-optests", "-q", "--continue-on-collection-errors", "-o", "addopts="]
    subprocess.run([PYTHON, *arguments], cwd=checkout, check=False)  # failures are the business of that package


def run(folder: Path, name: str, engine: str) -> Outcome:
    with np.load(folder / DATA) as stored:
        data = dict(stored)
    try:
        asset = Asset(name, None, AIModelFile(name, memoryview((folder / PROGRAM).read_bytes())))
        lowered = lower_model(asset, asset.description.function())
        outputs = predicted(lowered, data, engine)
    except UnsupportedError as error:
        return Outcome(name, "refused", str(error))
    except PippinError as error:
        return Outcome(name, "failed", f"{type(error).__name__}: {error}")
    wrong = next((port for port, value in outputs.items() if not agrees(value, data.get(port))), None)
    return Outcome(name, "right") if wrong is None else Outcome(name, "wrong", f"output '{wrong}'")


def predicted(lowered: Lowered, data: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    engine = all_engines()[name]
    compiled = engine.compile(prepared(engine, lowered.model).SerializeToString(), Settings(threads=1))
    given: dict[str, Any] = {}
    for port in (*lowered.inputs, *lowered.states):
        value = data[f"initial_state_{port.name}" if port in lowered.states else port.name]
        known = of_type(value, port.type.dtype.numpy)
        given[port.tensor] = np.ascontiguousarray(known.astype(port.dtype)).reshape(value.shape)
    found = compiled.run(given)
    refuse_outside(lowered.index_checks, given | dict(found))
    outputs = {port.name: np.asarray(found[port.tensor]).astype(port.type.dtype.numpy) for port in lowered.outputs}
    after = {f"final_state_{state}": np.asarray(found[written_name(state)]) for state in lowered.written}
    return outputs | {key: value for key, value in after.items() if key in data}


def of_type(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """An array of a type that numpy's files do not know, such as bfloat16, which they hold as bytes."""
    return array.view(dtype) if array.dtype.kind == "V" else array


def agrees(value: np.ndarray, expected: np.ndarray | None) -> bool:
    if expected is None or value.shape != expected.shape:
        return False
    expected = of_type(expected, value.dtype)
    half = value.dtype.itemsize == 2 or expected.dtype.itemsize == 2
    relative, absolute = (2e-2, 1e-2) if half else (1e-3, 1e-4)
    numbers = (np.asarray(array, np.float64) for array in (value, expected))
    return bool(np.allclose(*numbers, rtol=relative, atol=absolute, equal_nan=True))


def report(outcomes: list[Outcome]) -> int:
    counts = Counter(outcome.kind for outcome in outcomes)
    reasons = Counter((o.kind, o.reason[:160]) for o in outcomes if o.kind != "right")
    for (kind, reason), count in reasons.most_common():
        print(f"{count:5} {kind}: {reason}")
    total = len(outcomes)
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("right", "wrong", "refused", "failed")), f"of {total}")
    return int(not total or bool(counts["wrong"]) or counts["right"] < LEAST * total)


if __name__ == "__main__":
    sys.exit(main())
