"""Fault worker: a process that loads the libraries once and then forks children, which specialize and are killed.

python fault_worker.py kills|crowd|full MODEL CACHE COUNT  prints one JSON object. Forking happens before any engine
starts a thread; every child is a process of its own for the locks and the files.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np
import onnx  # noqa: F401  what a child would import, imported once
import onnxruntime  # noqa: F401

import pippin
from pippin.cache.store import Cache
from pippin.engines.openvino_lean_import import openvino
from pippin.format.schema import messages
from pippin.specialization import specializer  # noqa: F401

STAGES = ("none", "load", "read", "lower", "segment", "compile", "measure", "store", "done")


def forked(work):
    """Run `work` in a child; returns its process id. It ends without the clean-up of this process."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def predicted(model, cache, progress=None):
    loaded = pippin.load(model, cache=cache, progress=progress)
    right = np.allclose(
        loaded.predict({"x": X})["y"], np.maximum(X @ np.load(Path(model).parent / "weight.npy").T, 0), atol=1e-5
    )
    return loaded.load_label, bool(right)


def kills(model, folder, count):
    """Kill a specialization at `count` random points; what is left is looked at after each."""
    cache, seen = Cache(folder), mmap.mmap(-1, 1)
    wrong, stages = [], dict.fromkeys(STAGES, 0)
    chance = random.Random(0)

    def work():
        def progress(report):
            seen[0] = STAGES.index(report.stage) if report.stage in STAGES else 0

        predicted(model, cache, progress)

    started = time.perf_counter()
    os.waitpid(forked(work), 0)
    whole = time.perf_counter() - started
    for _ in range(count):
        cache.clear()
        seen[0] = 0
        child = forked(work)
        time.sleep(chance.uniform(0, whole))  # the random point, not a wait for something
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        stages[STAGES[seen[0]]] += 1
        wrong += [f"{entry.key}: {damage}" for entry in cache.entries() if (damage := entry.damage())]
        with cache.lock("00") as held:
            if not held:
                wrong.append("a lock is stuck")
    cache.wait = 0.0
    child = forked(lambda: os._exit(0 if predicted(model, cache)[1] else 3))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    child = forked(lambda: os._exit(0 if predicted(model, cache) == ("cached", True) else 4))
    cached = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = [path.name for path in (Path(folder) / "aside").iterdir()]
    return {"wrong": wrong, "stages": stages, "afterwards": [status, cached], "left": left}


def crowd(model, folder, count):
    """`count` processes load one model at once."""
    read, write = os.pipe()

    def work():
        os.write(write, (json.dumps(predicted(model, Cache(folder))) + "\n").encode())

    children = [forked(work) for _ in range(count)]
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(write)
    with os.fdopen(read) as pipe:
        return {"ends": ends, "loads": [json.loads(line) for line in pipe]}


def full(model, folder, count):
    """No file may grow beyond `count` bytes: every write fails somewhere."""
    read, write = os.pipe()

    def work():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))
        os.write(write, json.dumps(predicted(model, Cache(folder))).encode())

    end = os.waitstatus_to_exitcode(os.waitpid(forked(work), 0)[1])
    os.close(write)
    with os.fdopen(read) as pipe:
        return {"end": end, "load": json.loads(pipe.read() or "null")}


if __name__ == "__main__":
    X = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    messages("Model")
    openvino()
    what, path, where, number = sys.argv[1:]
    print(json.dumps(globals()[what](path, where, int(number))))
