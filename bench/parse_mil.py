"""Parse MIL: measures parsing time for generated MIL texts of 50 MB: statements, and long literals.

python bench/parse_mil.py [megabytes]
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np

from pippin.program import parse_program

ROUNDS = 3
HEAD = "program(1.0)\n{\n    func main<ios16>(tensor<fp32, [1, 16, 80, 80]> x) {\n"
TAIL = "        } -> (x);\n}\n"
STRING = "tensor<string, []>"
# A typical layer of a convolutional network: three constants and three operations.
LAYER = """            tensor<int32, [2]> strides_{0} = const()[name = {s}("strides_{0}"), val = tensor<int32, [2]>([1, 1])];
            {s} pad_type_{0} = const()[name = {s}("pad_type_{0}"), val = {s}("same")];
            tensor<fp16, [16, 16, 3, 3]> weight_{0} = const()[name = {s}("weight_{0}"), val = tensor<fp16, [16, 16, 3, 3]>(BLOBFILE(path = {s}("@model_path/weights/weight.bin"), offset = tensor<uint64, []>({1})))];
            tensor<fp16, [1, 16, 80, 80]> conv_{0} = conv(dilations = strides_{0}, pad_type = pad_type_{0}, strides = strides_{0}, weight = weight_{0}, x = x)[name = {s}("conv_{0}")];
            tensor<fp16, [1, 8, 80, 80]> a_{0}, tensor<fp16, [1, 8, 80, 80]> b_{0} = split(axis = strides_{0}, x = conv_{0})[name = {s}("split_{0}")];
            tensor<fp16, [1, 16, 80, 80]> concat_{0} = concat(axis = strides_{0}, values = (a_{0}, b_{0}))[name = {s}("concat_{0}")];
"""  # noqa: E501


def statements(size: int) -> str:
    count = size // len(LAYER.format(1000, 64000, s=STRING))
    return HEAD + "".join(LAYER.format(n, 64 * (n + 1), s=STRING) for n in range(count)) + TAIL


def literal(kind: str, numerals: list[str]) -> str:
    shape = f"tensor<{kind}, [{len(numerals)}]>"
    return (
        f'{HEAD}            {shape} v = const()[name = {STRING}("v"), val = {shape}([{", ".join(numerals)}])];\n{TAIL}'
    )


def floats(size: int) -> str:
    some = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    row = [value.hex() for value in some.tolist()]
    return literal("fp32", row * (size // (sum(map(len, row)) + 2 * len(row))))


def integers(size: int) -> str:
    row = [str(value) for value in np.random.default_rng(0).integers(-128, 128, 10_000).tolist()]
    return literal("int8", row * (size // (sum(map(len, row)) + 2 * len(row))))


def main() -> None:
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 50) * 1e6)
    for make in (statements, floats, integers):
        text = make(size).encode()
        took, worked = [], []
        for _ in range(ROUNDS):
            wall, cpu = time.perf_counter(), time.process_time()
            program = parse_program(text)
            took.append(time.perf_counter() - wall)
            worked.append(time.process_time() - cpu)
            del program  # freed here, outside the timed section
        print(
            f"{make.__name__:<12} {len(text) / 1e6:6.1f} MB  median {statistics.median(took):.2f} s"
            f"  (best CPU time: {min(worked):.2f} s)"
        )


if __name__ == "__main__":
    main()
