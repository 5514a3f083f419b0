"""Event loop: measures how long predictions in flight delay a task that runs every millisecond.

python bench/event_loop.py [SECONDS]

A stall is the time by which a sleep of 1 ms overruns. Baselines: an idle loop, and threads that multiply matrices with
numpy, which hold the GIL no longer than Pippin does; these rows show the machine's own share of the stalls.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import networks
import numpy as np

import pippin

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0


async def ticks(work: Callable[[float], Awaitable[object]] | None, seconds: float) -> list[float]:
    """Stalls in seconds of a ticker that runs beside `work`, sorted."""
    end, stalls = time.perf_counter() + seconds, []
    beside = asyncio.ensure_future(work(end)) if work else None
    await asyncio.sleep(0.2)  # warm-up: first predictions, and the configurations they load
    while (now := time.perf_counter()) < end:
        await asyncio.sleep(0.001)
        stalls.append(time.perf_counter() - now - 0.001)
    if beside is not None:
        await beside
    return sorted(stalls)


def row(label: str, stalls: list[float]) -> float:
    p50, p99, most = stalls[len(stalls) // 2], stalls[int(len(stalls) * 0.99)], stalls[-1]
    print(f"{label:36} ticks {len(stalls):5}, stall p50 {1e3 * p50:.2f}, p99 {1e3 * p99:.2f}, max {1e3 * most:.2f} ms"
          f", over 2 ms: {sum(s > 0.002 for s in stalls)}", flush=True)  # fmt: skip
    return most


def predictions(model: pippin.Model, x: dict[str, np.ndarray], count: int) -> Callable[[float], Awaitable[object]]:
    async def one(end: float) -> None:
        while time.perf_counter() < end:
            await model.predict_async(x)

    return lambda end: asyncio.gather(*(one(end) for _ in range(count)))


def products(count: int) -> Callable[[float], Awaitable[object]]:
    a = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)

    async def one(end: float) -> None:
        while time.perf_counter() < end:
            await asyncio.to_thread(np.matmul, a, a)

    return lambda end: asyncio.gather(*(one(end) for _ in range(count)))


def main() -> None:
    cache = networks.FOLDER / "cache"
    row("idle", asyncio.run(ticks(None, SECONDS)))
    row("8 numpy matrix products in threads", asyncio.run(ticks(products(8), SECONDS)))
    for network in networks.prepared():
        count = 32 if network.name == "mlp" else 8
        if network.name not in ("mlp", "resnet50", "unet"):
            continue
        model = pippin.load(network.package(), cache=cache)
        x = {network.input: network.example()}
        model.predict(x)
        asyncio.run(ticks(predictions(model, x, count), 1.0))
        row(f"{count} {network.name} in flight", asyncio.run(ticks(predictions(model, x, count), SECONDS)))


if __name__ == "__main__":
    main()
