"""What checking indices costs: microseconds per prediction of one gather, without and with the check.

    python bench/index_checks.py

"given" indices are an input of the model, checked before the prediction; "computed" ones are clamped in the graph and
checked after it. The times are the shortest of many short
runs, alternating between the two, because other work disturbs everything else.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import pippin
from pippin.lowering.index_checks import CheckedGraph

_BLOCKS, _RUNS = 60, 100
_GATHER = """tensor<fp32, [{n}, 64]> y = gather(x = x, indices = j, axis = int32(0), batch_dims = int32(0),
    validate_indices = bool(false))[name = string("y")];"""
_INDICES = {"given": "identity(x = i)", "computed": "add(x = i, y = int32(1))"}


def program(kind: str, count: int) -> str:
    table = ", ".join("[" + ", ".join(f"{(r * 7 + c) % 5}.0" for c in range(64)) + "]" for r in range(100))
    lines = [
        f'tensor<fp32, [100, 64]> x = const()[name = string("x"), val = tensor<fp32, [100, 64]>([{table}])];',
        f'tensor<int32, [{count}]> j = {_INDICES[kind]}[name = string("j")];',
        _GATHER.format(n=count),
    ]
    return f"program(1.0) {{ func main<ios17>(tensor<int32, [{count}]> i) {{ {' '.join(lines)} }} -> (y); }}"


def loaded(text: str, engine: str) -> pippin.Model:
    path = Path(tempfile.mkdtemp()) / "model.mil"
    path.write_text(text)
    hints = pippin.Hints(specialization_strategy="fast_load")
    return pippin.load(path, pippin.Configuration(engine=engine, threads=1, hints=hints), cache=False)


def seconds(run: Callable[[], object], runs: int) -> float:
    started = time.perf_counter()
    for _ in range(runs):
        run()
    return (time.perf_counter() - started) / runs


def main() -> None:
    inside = CheckedGraph.inside
    for engine in ("onnxruntime", "openvino"):
        for kind in _INDICES:
            for count in (1, 128, 4096):
                text = program(kind, count)
                features = {"i": np.random.default_rng(0).integers(0, 90, count).astype(np.int32)}
                models = []
                for check in (lambda self, indices, *_: indices, inside):
                    CheckedGraph.inside = check  # type: ignore[method-assign]
                    models.append(loaded(text, engine))
                times = [[seconds(partial(m.predict, features), _RUNS) for m in models] for _ in range(_BLOCKS)]
                without, with_check = (min(column) * 1e6 for column in zip(*times, strict=True))
                print(
                    f"{engine:12} {kind:9} {count:5}  {without:7.2f}  {with_check:7.2f}  {with_check - without:+.2f} us"
                )


if __name__ == "__main__":
    main()
