"""Fuzz classical worker: damages small classical models by seed, loads them, predicts. Prints each seed before it is tried.

python tests/fuzz/fuzz_classical_worker.py FOLDER FIRST COUNT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from fuzz_worker import damage

import pippin
from pippin.format.description import Dictionary, Double, Int64, MultiArray, Sequence, String


def values(function):
    """Something of the right kind for each input; arrays of unknown size get 7 numbers."""
    made = {}
    for feature in function.inputs:
        match feature.type:
            case MultiArray(shape=shape):
                made[feature.name] = np.ones([min(size or 1, 64) for size in shape or (7,)])
            case Double() | Int64():
                made[feature.name] = 1
            case String():
                made[feature.name] = "a"
            case Dictionary(key):
                made[feature.name] = {"a" if key == "string" else 1: 1.0}
            case Sequence(element, length):
                made[feature.name] = ["a" if element == "string" else 1] * min(max(length.lower, 1), 64)
    return made


def main(folder: Path, first: int, count: int) -> None:
    files = sorted(folder.glob("*.mlmodel"))
    for seed in range(first, first + count):
        print(seed, flush=True)
        random = np.random.default_rng(seed)
        data = damage(files[seed % len(files)].read_bytes(), random)
        try:
            model = pippin.load(data, pippin.Configuration(engine="onnxruntime", threads=1), cache=False)
            model.predict(values(model.description.function()))
        except pippin.PippinError as error:
            assert str(error)
    print("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
