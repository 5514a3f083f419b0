"""Fuzz worker: damages a model by seed, loads it, predicts. Prints each seed before it is tried.

python tests/fuzz/fuzz_worker.py MODEL FOLDER SHAPE FIRST COUNT    (a package, an .mlmodel, an .mlmodelc; of the input x)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

import pippin

PACKAGE = {"Manifest.json": 0.15, "*.mlmodel": 0.7, "weight.bin": 0.15}


def damage(data: bytes, random: np.random.Generator) -> bytes:
    """A few bytes changed, a piece cut out, doubled or replaced by noise, or the end lost."""
    changed = bytearray(data)
    at = int(random.integers(0, len(changed)))
    length = int(random.integers(1, 1 + min(64, len(changed) - at)))
    match random.integers(0, 6):
        case 0:
            for _ in range(int(random.integers(1, 8))):
                changed[int(random.integers(0, len(changed)))] = int(random.integers(0, 256))
        case 1:
            changed[at] ^= 1 << int(random.integers(0, 8))
        case 2:
            del changed[at : at + length]
        case 3:
            changed[at:at] = changed[at : at + length]
        case 4:
            changed[at : at + length] = random.bytes(length)
        case 5:
            del changed[at:]
    return bytes(changed)


def target(model: Path, random: np.random.Generator) -> Path:
    """The file to damage: of a compiled folder any, of a package most often the specification."""
    if model.suffix == ".mlmodelc":
        files = sorted(path for path in model.rglob("*") if path.is_file())
        return files[int(random.integers(len(files)))]
    if model.is_dir():
        return next(model.rglob(list(PACKAGE)[int(random.choice(3, p=list(PACKAGE.values())))]))
    return model


def main(package: Path, folder: Path, shape: tuple[int, ...], first: int, count: int) -> None:
    x = np.ones(shape, np.float32)
    for seed in range(first, first + count):
        print(seed, flush=True)
        random = np.random.default_rng(seed)
        copy = folder / f"damaged{package.suffix}"
        shutil.copytree(package, copy) if package.is_dir() else shutil.copy(package, copy)
        path = target(copy, random)
        path.write_bytes(damage(path.read_bytes(), random))
        try:
            engine = ("openvino", "onnxruntime")[seed % 2]
            pippin.load(copy, pippin.Configuration(engine=engine, threads=1)).predict({"x": x})
        except pippin.PippinError as error:
            assert str(error)
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()
    print("done")


if __name__ == "__main__":
    model, where, size = Path(sys.argv[1]), Path(sys.argv[2]), tuple(map(int, sys.argv[3].split(",")))
    main(model, where, size, int(sys.argv[4]), int(sys.argv[5]))
