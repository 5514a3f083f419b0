"""Record: builds the rows of `operation_cases` with Apple's package and runs them in Apple's runtime.

Runs in a process and an environment of its own: `python record.py FOLDER [NAME ...]`. Writes a model and an .npz of
inputs and outputs for each row; a row that Apple's package refuses becomes a line in `refused.txt`.
"""

import asyncio
import inspect
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
from operation_cases import CASES, Case

sys.setrecursionlimit(10_000)


def build(case: Case, path: Path):
    import coreai.authoring as c

    module = c.Module.create()
    with module:
        unknown = -(1 << 63)
        kinds = [c.TensorType([unknown] * x.ndim if case.dynamic else x.shape, x.dtype.type) for x in case.inputs]

        def traced(*values):
            found = case.build(c, *values)
            return tuple(found) if isinstance(found, list | tuple) else found

        parameters = [
            inspect.Parameter(f"x{number}", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[c.Value, kind])
            for number, kind in enumerate(kinds)
        ]
        _graph(c, traced, parameters)
    return c.AIProgram(module).save_asset(path)


def _graph(c, traced, parameters):
    from coreai.authoring.graph_builder import GraphOp

    specs = [p.annotation.__metadata__[0] for p in parameters]
    graph = GraphOp("main", [s._to_mlir_type() for s in specs], [], [p.name for p in parameters], [])
    with graph.block:
        found = traced(*(c.Value._from_mlir(v) for v in graph.arguments))
    results = found if isinstance(found, tuple) else (found,)
    graph.outputs_spec = [(f"y{n}", v._to_mlir()) for n, v in enumerate(results)]


async def run(asset, case: Case):
    from coreai.runtime import NDArray

    async with asset.executable() as model:
        function = model.load_function("main")
        given = {f"x{n}": NDArray(np.ascontiguousarray(x)) for n, x in enumerate(case.inputs)}
        return {name: value.numpy() for name, value in (await function(inputs=given)).items()}


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    refused = []
    for number, case in enumerate(CASES):
        if names and case.operation not in names:
            continue
        path = folder / f"{number:03}.aimodel"
        try:
            asset = build(case, path)
            outputs = asyncio.run(run(asset, case))
        except Exception as error:
            refused.append(f"{case.name}\t{type(error).__name__}: {str(error)[:300]!r}")
            continue
        given = {f"x{n}": x for n, x in enumerate(case.inputs)}
        np.savez(folder / f"{number:03}.npz", **given, **outputs)
    (folder / "refused.txt").write_text("\n".join(refused))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
