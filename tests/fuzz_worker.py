"""Fuzz worker: damages a package or an .mlmodel by seed, loads it, predicts. Prints each seed before it is tried.

python tests/fuzz_worker.py MODEL FOLDER FIRST COUNT
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

import pippin

FILES = ("Manifest.json", "*.mlmodel", "weight.bin")


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


def main(package: Path, folder: Path, first: int, count: int) -> None:
    x = np.ones((2, 8), np.float32)
    for seed in range(first, first + count):
        print(seed, flush=True)
        random = np.random.default_rng(seed)
        copy = folder / f"damaged{package.suffix}"
        if package.is_dir():
            shutil.copytree(package, copy)
            path = next(copy.rglob(FILES[int(random.choice(3, p=[0.15, 0.7, 0.15]))]))
        else:
            path = Path(shutil.copy(package, copy))
        path.write_bytes(damage(path.read_bytes(), random))
        try:
            engine = ("openvino", "onnxruntime")[seed % 2]
            pippin.load(copy, pippin.Configuration(engine=engine, threads=1)).predict({"x": x})
        except pippin.PippinError as error:
            assert str(error)
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()
    print("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
