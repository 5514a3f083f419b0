"""Record: builds the rows of `operation_cases` and `program_cases` with Apple's package and runs them in its runtime.

Runs in a process and an environment of its own: `python record.py FOLDER [NAME ...]`. Writes a model and an .npz of
outputs (and of states afterwards) for each row, named as the row; a row that the package refuses becomes a line in
`refused.txt`.
"""

import asyncio
import inspect
import sys
from pathlib import Path
from typing import Annotated

import numpy as np

from core_ai.elementwise_cases import Case
from core_ai.operation_cases import CASES
from core_ai.program_cases import PROGRAMS, Program

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
            inspect.Parameter(
                f"x{number}", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Annotated[c.Value, kind]
            )
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


def build_program(program: Program, path: Path):
    import coreai.authoring as c
    from coreai._compiler import ir

    context = c.Context()._mlir_context
    with context, ir.Location.unknown(context):
        return c.AIProgram._from_mlir_module(ir.Module.parse(program.text, context)).save_asset(path)


async def run(asset, inputs, states=None, calls=1):
    from coreai.runtime import NDArray

    async with asset.executable() as model:
        function = model.load_function("main")
        given = {name: NDArray(np.ascontiguousarray(x).reshape(x.shape)) for name, x in inputs.items()}
        kept = {name: NDArray(np.ascontiguousarray(x)) for name, x in (states or {}).items()}
        for _ in range(calls):
            found = await function(inputs=given, state=kept)
        outputs = {name: value.numpy() for name, value in found.items()}
        return outputs | {f"{name}/after": value.numpy() for name, value in kept.items()}


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    refused = []
    for row in [*CASES, *PROGRAMS]:
        if names and row.name not in names:
            continue
        path = folder / f"{row.name}.aimodel"
        print(row.name, flush=True)  # Apple's package may end the process
        try:
            if isinstance(row, Case):
                given = {f"x{n}": x for n, x in enumerate(row.inputs)}
                found = asyncio.run(run(build(row, path), given))
            else:
                found = asyncio.run(run(build_program(row, path), row.inputs, row.states, row.calls))
        except Exception as error:
            refused.append(f"{row.name}\t{type(error).__name__}: {str(error)[-300:]!r}")
            continue
        np.savez(folder / f"{row.name}.npz", **found)
    (folder / "refused.txt").write_text("\n".join(refused))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
