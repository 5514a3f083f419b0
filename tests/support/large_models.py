"""Large: programs of layers with random weights, written directly, since converting a gigabyte takes minutes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

_KINDS = {"float16": ("fp16", 1), "float32": ("fp32", 2)}


def write_layers(folder: Path, layers: int, width: int, dtype: str = "float16") -> Path:
    """A program of `layers` products of `width` x `width` with rectifiers between; its weights fill one file."""
    kind, number = _KINDS[dtype]
    matrix = f"tensor<{kind}, [{width}, {width}]>"
    row = f"tensor<{kind}, [1, 1, {width}]>"
    (folder / "weights").mkdir(parents=True)
    lines, value, random = [], "x", np.random.default_rng(0)
    with (folder / "weights" / "weight.bin").open("wb") as file:
        file.write(struct.pack("<II", layers, 2).ljust(64, b"\0"))
        for n in range(layers):
            offset = file.tell()
            data = (random.standard_normal((width, width), np.float32) / width**0.5).astype(dtype)
            file.write(struct.pack("<IIQQQ", 0xDEADBEEF, number, data.nbytes, offset + 64, 0).ljust(64, b"\0"))
            data.tofile(file)
            at = f'BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64({offset}))'
            lines.append(f'{matrix} w{n} = const()[name = string("w{n}"), val = {matrix}({at})];')
            lines.append(f'{row} p{n} = linear(x = {value}, weight = w{n})[name = string("p{n}")];')
            lines.append(f'{row} v{n} = relu(x = p{n})[name = string("v{n}")];')
            value = f"v{n}"
    body = "\n".join(lines)
    path = folder / "model.mil"
    path.write_text(f"program(1.3)\n{{\nfunc main<ios18>({row} x) {{\n{body}\n}} -> ({value});\n}}\n")
    return path
