"""Apple's process: builds and runs a Core AI model with Apple's coreai-core, which ends its process on bad data.

Run as a script by a Python that has coreai-core; nothing of Pippin is imported. `build FOLDER TARGET` makes the asset
that `description.json` and `constants.npz` in the folder describe; `run FOLDER TARGET` runs it on `inputs.npz` and
writes `outputs.npz`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("USE_LOCAL_COREAI", "1")
sys.setrecursionlimit(100_000)


_NARROW = ("int4", "uint1", "uint2", "uint4", "uint6")


def _dtype(name: str) -> Any:
    return np.bool_ if name == "bool" else getattr(np, name)


class Graph:
    """One function while it is built: its values by name."""

    def __init__(self, authoring: Any, constants: Mapping[str, np.ndarray]) -> None:
        self.c = authoring
        self.stored = constants
        self.values: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}

    def operand(self, given: Any) -> Any:
        if "value" in given:
            return self.values[given["value"]]
        if "list" in given:
            return [self.operand(one) for one in given["list"]]
        if "type" in given:
            return self.type(given["type"])
        if "dtype_only" in given:
            return _dtype(given["dtype_only"])
        return self.constant(given)

    def constant(self, given: Any) -> Any:
        from coreai.authoring.constant import constant

        key = given.get("stored")
        if key is None:
            return constant(np.array(given["data"], _dtype(given["dtype"])).reshape(given["shape"]))
        if key not in self.constants:
            array, dtype = self.stored[key], given["dtype"]
            self.constants[key] = self.narrow(array, dtype) if dtype in _NARROW else constant(array)
        return self.constants[key]

    def narrow(self, array: np.ndarray, dtype: str) -> Any:
        """A constant of less than 8 bits: the facade stores an element in each byte, which the runtime misreads."""
        from coreai._compiler import ir
        from coreai._compiler.dialects.coreai import ConstantOp

        bits = int(dtype[-1])
        columns = np.unpackbits(array.reshape(-1, 1).view(np.uint8), axis=1, bitorder="little")[:, :bits]
        packed = np.packbits(columns.reshape(-1), bitorder="little")
        make = ir.IntegerType.get_unsigned if dtype.startswith("u") else ir.IntegerType.get_signed
        kind = ir.RankedTensorType.get(list(array.shape), make(bits))
        data = ir.DenseResourceElementsAttr.get_from_buffer(packed, "dense_resource", kind)
        return self.c.Value._from_mlir(ConstantOp(value=data).result)

    def type(self, given: Any) -> Any:
        return self.c.TensorType(tuple(given["shape"]), _dtype(given["dtype"]))

    def emit(self, operation: Any) -> None:
        operands = [self.operand(one) for one in operation["operands"]]
        try:
            found = getattr(self.c, operation["op"])(*operands, **operation["keywords"])
        except Exception as error:
            raise ValueError(f"{operation['op']} for '{operation['source']}': {error}") from error
        self.values[operation["result"]] = found


def _function(authoring: Any, function: Any, constants: Mapping[str, np.ndarray]) -> None:
    from coreai._compiler.dialects import coreai as dialect
    from coreai.authoring.graph_builder import GraphOp

    graph = Graph(authoring, constants)
    inputs, states = function["inputs"], function["states"]
    types = [graph.type(one)._to_mlir_type() for one in inputs]
    types += [authoring.HandleType(graph.type(one))._to_mlir_type() for one in states]
    made = GraphOp(function["name"], types, [], [one["name"] for one in [*inputs, *states]], [])
    with made.block:
        arguments = list(made.arguments)
        for one, value in zip(inputs, arguments, strict=False):
            graph.values[one["value"]] = authoring.Value._from_mlir(value)
        handles, tokens = {}, {}
        for one, handle in zip(states, arguments[len(inputs) :], strict=True):
            value, token = dialect.read_handle(handle, dialect.create_token())
            graph.values[one["value"]] = authoring.Value._from_mlir(value)
            handles[one["name"]], tokens[one["name"]] = handle, token
        for operation in function["operations"]:
            graph.emit(operation)
        for name, given in function["written"].items():
            tokens[name] = dialect.write_handle(handles[name], graph.operand(given)._to_mlir(), tokens[name])
        results = [(one["name"], graph.operand(one["operand"])._to_mlir()) for one in function["outputs"]]
        made.outputs_spec = [*tokens.items(), *results]


def build(folder: Path, target: Path) -> None:
    import coreai.authoring as authoring
    from coreai.runtime import AIModelAssetMetadata

    described = json.loads((folder / "description.json").read_text("utf-8"))
    with np.load(folder / "constants.npz") as constants:
        module = authoring.Module.create()
        with module:
            for function in described["functions"]:
                _function(authoring, function, constants)
    metadata = AIModelAssetMetadata()
    for name, text in described["about"].items():
        setattr(metadata, name, text)
    for name, text in described["custom"].items():
        metadata.set_custom(name, text)
    authoring.AIProgram(module).save_asset(target, metadata)


async def _run(folder: Path, target: Path) -> dict[str, np.ndarray]:
    from coreai.authoring import AIModelAsset
    from coreai.runtime import NDArray

    given = json.loads((folder / "run.json").read_text("utf-8"))
    with np.load(folder / "inputs.npz") as inputs:
        arrays = {key: inputs[key] for key in inputs.files}
    found: dict[str, np.ndarray] = {}
    async with AIModelAsset.load(target).executable() as model:
        for number, one in enumerate(given):
            function = model.load_function(one["function"])
            features = {name: NDArray(arrays[key]) for name, key in one["inputs"].items()}
            states = {name: NDArray(arrays[key]) for name, key in one["states"].items()}
            for _ in range(one["calls"]):
                outputs = await function(inputs=features, state=states)
            found |= {f"{number}/output/{name}": value.numpy() for name, value in outputs.items()}
            found |= {f"{number}/state/{name}": value.numpy() for name, value in states.items()}
    return found


def run(folder: Path, target: Path) -> None:
    np.savez(folder / "outputs.npz", **asyncio.run(_run(folder, target)))  # type: ignore[arg-type]


if __name__ == "__main__":
    {"build": build, "run": run}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
