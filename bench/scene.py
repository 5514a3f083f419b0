"""Scene: benchmarks a scrolling grid of pictures colorized by a U-Net: decode, resize, predict, resize back.

python bench/scene.py [SCREENS] [PICTURES]    (make bench-scene)

"actor": one picture after the other, like a non-reentrant actor. "async": all pictures concurrently, decoded and
resized in threads, while the model limits the predictions in flight. Both alternate in one run. CPU utilization is the
process's CPU time divided by cores x elapsed time. Then a fast scroll passes 20 screens and is timed until the last
screen is complete: without cancellation, every picture is computed; with it, screens scrolled past are cancelled. All
of this runs once per specialization strategy.
"""

from __future__ import annotations

import asyncio
import io
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import networks
import numpy as np
import PIL.Image

import pippin

SCREENS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
PICTURES = int(sys.argv[2]) if len(sys.argv) > 2 else 6
CORES = len(os.sched_getaffinity(0))
ROUNDS = 3
TURN = 0.02  # seconds per screen in the fast scroll


def pictures(count: int) -> list[bytes]:
    """JPEG files of 1024 x 768, seeded."""
    random, made = np.random.default_rng(0), []
    for _ in range(count):
        rough = PIL.Image.fromarray(random.integers(0, 256, (24, 32, 3)).astype(np.uint8))
        file = io.BytesIO()
        rough.resize((1024, 768), PIL.Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        made.append(file.getvalue())
    return made


def decoded(file: bytes) -> np.ndarray:
    """Decode a picture to an array (1, 3, 256, 256) with values from -1 to 1."""
    with PIL.Image.open(io.BytesIO(file)) as picture:
        small = picture.convert("RGB").resize((256, 256), PIL.Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1)


def colored(file: bytes, outputs: dict[str, Any]) -> PIL.Image.Image:
    """Tint the picture, in its original size, by the network's output."""
    (mask,) = outputs.values()
    tint = PIL.Image.fromarray((mask[0, 0] * 255).astype(np.uint8)).resize((1024, 768), PIL.Image.Resampling.BILINEAR)
    with PIL.Image.open(io.BytesIO(file)) as picture:
        gray = picture.convert("L")
    return PIL.Image.merge("YCbCr", (gray, tint, tint)).convert("RGB")


class Scene:
    def __init__(self, model: pippin.Model, files: list[bytes]) -> None:
        self.model, self.files = model, files
        self.input = model.description.function().inputs[0].name
        self.pool = ThreadPoolExecutor(CORES)

    def actor(self) -> None:
        for file in self.files:
            colored(file, self.model.predict({self.input: decoded(file)}))

    async def one(self, file: bytes) -> PIL.Image.Image:
        loop = asyncio.get_running_loop()
        x = await loop.run_in_executor(self.pool, decoded, file)
        outputs = await self.model.predict_async({self.input: x})
        return await loop.run_in_executor(self.pool, colored, file, outputs)

    async def together(self) -> None:
        await asyncio.gather(*(self.one(file) for file in self.files))

    async def scroll(self, cancels: bool) -> float:
        """Seconds until the last screen is complete."""
        started, screens = time.perf_counter(), []
        for _ in range(SCREENS):
            if cancels:
                for task in screens:
                    task.cancel()
            screens.append(asyncio.ensure_future(self.together()))
            await asyncio.sleep(TURN)
        await screens[-1]
        took = time.perf_counter() - started
        await asyncio.gather(*screens, return_exceptions=True)
        return took


def used(work: Any) -> tuple[float, float]:
    """Run `work`; returns elapsed seconds and CPU utilization."""
    started, before = time.perf_counter(), time.process_time()
    work()
    took = time.perf_counter() - started
    return took, (time.process_time() - before) / (took * CORES)


def row(network: networks.Network, strategy: Any) -> None:
    hints = pippin.Hints(strategy)
    model = pippin.load(network.package(), pippin.Configuration(hints=hints), cache=networks.FOLDER / "cache")
    scene = Scene(model, pictures(4 * PICTURES))
    segment = model.compute_plan.segments[0]
    many = segment.streams or "the same"
    print(f"{strategy}: {segment.engine} {segment.precision}; under load: {many}; {CORES} cores")
    together = partial(asyncio.run, scene.together())
    together()  # warm-up: loads configurations
    rows: dict[str, list[tuple[float, float]]] = {"actor": [], "async": []}
    for _ in range(ROUNDS):
        rows["actor"].append(used(scene.actor))
        rows["async"].append(used(lambda: asyncio.run(scene.together())))
    medians = {name: [statistics.median(row[i] for row in found) for i in (0, 1)] for name, found in rows.items()}
    for name, (took, share) in medians.items():
        print(f"{name:6} {len(scene.files)} pictures in {took:.2f} s, {share:.0%} CPU utilization")
    print(f"async / actor: speed-up {medians['actor'][0] / medians['async'][0]:.2f},"
          f" {medians['async'][1]:.0%} CPU utilization   goal 90 %")  # fmt: skip
    scene.files = scene.files[:PICTURES]
    without, with_ = asyncio.run(scene.scroll(False)), asyncio.run(scene.scroll(True))

    print(f"fast scroll of {SCREENS} screens of {PICTURES}: {without:.2f} s without cancellation, {with_:.2f} s with:"
          f" {with_ / without:.2f}   goal at most 0.25")  # fmt: skip
    found = model.statistics()
    print(f"completed {found.completed}, cancelled {found.cancelled}, in flight {found.in_flight}", flush=True)


def main() -> None:
    network = next(n for n in networks.prepared() if n.name == "unet")
    for strategy in ("default", "fast_prediction"):
        row(network, strategy)


if __name__ == "__main__":
    main()
