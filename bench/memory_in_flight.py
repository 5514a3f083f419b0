"""Memory: measures the peak memory of 1,000 concurrent predictions with inputs and outputs of 64 MB each.

python bench/memory_in_flight.py [PREDICTIONS] [MEGABYTES]

Each row runs in its own process. Inputs are allocated when their prediction starts, so predictions queued by flow
control hold none. "unbounded" runs all predictions concurrently, like an unbounded thread pool; few enough to fit.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

PREDICTIONS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdecimal() else 1000
MEGABYTES = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[1].isdecimal() else 64
UNBOUNDED = 24


def package(folder: Path) -> Path:
    from coremltools.converters.mil.mil import Builder as mb

    import coremltools as ct

    shape = (MEGABYTES, 512, 512)

    @mb.program(input_specs=[mb.TensorSpec(shape)], opset_version=ct.target.iOS17)
    def program(x):
        return mb.relu(x=mb.sub(x=x, y=1.0), name="y")

    path = folder / "large.mlpackage"
    ct.convert(program, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32).save(str(path))
    return path


def resident(field: str) -> float:
    """A field of /proc/self/status in megabytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"/proc/self/status has no {field}")


class Lazy:
    """Array that is allocated when it is read."""

    def __init__(self, shape: tuple[int, ...], value: float) -> None:
        self.shape, self.value, self.nbytes = shape, value, 4 * int(np.prod(shape))

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.full(self.shape, self.value, np.float32)


def worker(path: str, kind: str, count: int) -> None:
    import pippin

    size = MEGABYTES * 2**20
    flows = {
        "max_in_flight=2": pippin.FlowControl(max_in_flight=2),
        "max_bytes for 2": pippin.FlowControl(max_in_flight=64, max_bytes=4 * size),
        "three": pippin.FlowControl(max_in_flight=3),
        "unbounded": pippin.FlowControl(max_in_flight=count),
    }
    hints = pippin.Hints("fast_load")
    model = pippin.load(path, pippin.Configuration(hints=hints), cache=False, flow=flows[kind])
    shape = (MEGABYTES, 512, 512)
    base = resident("VmRSS")
    barrier = threading.Barrier(count) if kind in ("three", "unbounded") else None
    original = Lazy.__array__

    if barrier is not None:  # running predictions overlap for certain

        def held(self, dtype=None, copy=None):
            array = original(self)
            barrier.wait()
            return array

        Lazy.__array__ = held

    async def one(number: int) -> bool:
        value = 2.0 + number % 7
        outputs = await model.predict_async({"x": Lazy(shape, value)})
        return bool(outputs["y"][0, 0, 0] == value - 1 and outputs["y"][-1, -1, -1] == value - 1)

    async def main() -> bool:
        return all(await asyncio.gather(*(one(number) for number in range(count))))

    right = asyncio.run(main())
    found = model.statistics()
    print(json.dumps({"base": base, "peak": resident("VmHWM"), "right": right, "completed": found.completed}))


def measured(path: Path, kind: str, count: int) -> float:
    command = [sys.executable, __file__, "worker", str(path), kind, str(count), str(MEGABYTES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["right"] and found["completed"] == count
    more = found["peak"] - found["base"]
    print(f"{kind:18} {count:5} predictions: peak {found['peak']:7.0f} MB, {more:7.0f} MB above the loaded model",
          flush=True)  # fmt: skip
    return float(found["peak"])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = package(Path(folder))
        three = measured(path, "three", 3)
        for kind in ("max_in_flight=2", "max_bytes for 2"):
            print(f"  / peak of three: {measured(path, kind, PREDICTIONS) / three:.2f}   goal at most 1.00")
        measured(path, "unbounded", UNBOUNDED)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        MEGABYTES = int(sys.argv[5])
        worker(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
