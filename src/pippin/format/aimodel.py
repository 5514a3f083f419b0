"""aimodel: opens a Core AI model, a folder of `main.mlirb` (program and weights), `main.hash` and `metadata.json`.

The program is mapped; its operations are read by `program/aicode_reader.py`. This file reads what a description needs:
the public graphs, with the names and types of their inputs and outputs.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import (
    PackageError,
    ProgramError,
    SpecificationError,
    UnsupportedModelError,
    UnsupportedVersionError,
    WeightError,
)
from ..support.regular_files import is_regular, open_regular
from ..types import DataType
from .description import (
    FeatureDescription,
    FunctionDescription,
    Metadata,
    ModelDescription,
    MultiArray,
    ShapeRange,
    SizeRange,
    State,
)
from .mlir.aicode import TOKEN, Attributes, Function, Handle, Named, Other, Tensor, Type
from .mlir.operations import RawOperation, read_operations
from .mlir.sections import Sections, read_sections

SUFFIX = ".aimodel"
KIND = "coreAI"
PROGRAM, METADATA = "main.mlirb", "metadata.json"
ASSET_VERSION = "2"
"""The major version of the folder; its minor ones only add."""
NEWEST = 20260317
"""The newest set of operations that files of coreai-core 1.0.0b3 ask for."""
_MOST_METADATA = 1 << 22

# Element types as this package names them. Those without one are held exactly by the one that is named.
DTYPES = {
    "bool": DataType.BOOL, "float64": DataType.FLOAT64, "float32": DataType.FLOAT32, "float16": DataType.FLOAT16,
    "bfloat16": DataType.BFLOAT16, "float8E5M2": DataType.FLOAT8E5M2, "float8E4M3FN": DataType.FLOAT8E4M3FN,
    "sint64": DataType.INT64, "sint32": DataType.INT32, "sint16": DataType.INT16, "sint8": DataType.INT8,
    "sint4": DataType.INT4, "sint2": DataType.INT4, "uint64": DataType.UINT64, "uint32": DataType.UINT32,
    "uint16": DataType.UINT16, "uint8": DataType.UINT8, "uint6": DataType.UINT6, "uint4": DataType.UINT4,
    "uint3": DataType.UINT3, "uint2": DataType.UINT2, "uint1": DataType.UINT1, "tfloat32": DataType.FLOAT32,
    "float4E2M1FN": DataType.FLOAT32, "float8E8M0FN": DataType.FLOAT32,
}  # fmt: skip


@dataclass(frozen=True)
class Graph:
    """A function of the file, by its name; a private one is only called by others."""

    name: str
    private: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    type: Function
    operation: RawOperation
    composite: Named | None = None
    """The name and attributes of the known computation that it spells out."""


@dataclass
class AIModelFile:
    """The program of a Core AI model. In an `Asset`, it stands in the place of a specification."""

    name: str
    data: memoryview = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Default shapes of flexible inputs, by name, in place of the least ones."""
    specificationVersion = 0

    @cached_property
    def sections(self) -> Sections:
        return read_sections(self.data, self.name)

    @cached_property
    def attributes(self) -> Attributes:
        return Attributes(self.sections)

    @cached_property
    def graphs(self) -> dict[str, Graph]:
        """All graphs by name, in the order of the file. Raises ProgramError, UnsupportedVersionError."""
        found: dict[str, Graph] = {}
        for operation in read_operations(self.sections):
            if operation.kind != "serialization.asset":
                raise ProgramError(f"{self.name}: it begins with '{operation.kind}', not with an asset")
            self._check_version(operation)
            for graph in self._graphs(operation, ""):
                if graph.name in found:
                    raise ProgramError(f"{self.name}: two graphs are named '{graph.name}'")
                found[graph.name] = graph
        return found

    def WhichOneof(self, _name: str) -> str:
        return KIND

    def ByteSize(self) -> int:
        return len(self.data)

    def _check_version(self, asset: RawOperation) -> None:
        version = self.properties(asset, ("unknown?", "version?")).get("version")
        if not isinstance(version, int) or version > NEWEST:
            raise UnsupportedVersionError(
                f"{self.name}: its operations are of version {version}; this version reads up to {NEWEST}"
            )

    def properties(self, operation: RawOperation, names: tuple[str, ...]) -> dict[str, Any]:
        """The properties of an operation, which stand in this order; a name that ends in `?` may be left out."""
        if operation.properties is None:
            return {}
        source = self.sections.properties[operation.properties]
        cursor, found = source.part_of(), {}
        for name in names:
            number = cursor.number()
            if name.endswith("?"):
                number, present = number >> 1, number & 1
                if not present:
                    continue
            found[name.removesuffix("?")] = self.attributes.attribute(number)
        return found

    def _graphs(self, parent: RawOperation, prefix: str) -> Iterator[Graph]:
        for operation in (o for region in parent.regions for block in region for o in block.operations):
            if operation.kind == "dataflow.graph_v1":
                yield self._graph(operation, prefix)
            elif operation.kind == "dataflow.namespace_v1":
                name = self.properties(operation, ("name",)).get("name")
                yield from self._graphs(operation, f"{prefix}{name}.")

    def _graph(self, operation: RawOperation, prefix: str) -> Graph:
        found = self.properties(operation, _GRAPH)
        kind, name = found.get("functionType"), found.get("name")
        if not isinstance(kind, Function) or not isinstance(name, str):
            raise ProgramError(f"{self.name}: a graph has no name or no type")
        composite = found.get("compositeDecl")
        return Graph(
            prefix + name,
            bool(found.get("isPrivate")),
            _names(found.get("argAttrs"), len(kind.inputs), "arg"),
            _names(found.get("resAttrs"), len(kind.outputs), "output"),
            kind,
            operation,
            composite if isinstance(composite, Named) else None,
        )


_GRAPH = (
    "argAttrs", "compositeDecl?", "externalize", "functionType", "isPrivate", "name", "noInline", "paramDecls",
    "resAttrs",
)  # fmt: skip


def _names(attributes: Any, count: int, otherwise: str) -> tuple[str, ...]:
    """The name that each argument or result is given."""
    entries = attributes if isinstance(attributes, tuple) else ()
    names = []
    for number in range(count):
        own = entries[number] if number < len(entries) and isinstance(entries[number], tuple) else ()
        given = next((e.values[0] for e in own if isinstance(e, Named) and e.name == "aicode.name" and e.values), None)
        names.append(given if isinstance(given, str) and given else f"{otherwise}{number}")
    return tuple(names)


def is_aimodel(path: Path) -> bool:
    return path.suffix.lower() == SUFFIX or is_regular(path / PROGRAM)


def open_aimodel(path: Path) -> AIModelFile:
    """Map the program of a Core AI model. Raises PackageError, UnsupportedVersionError."""
    if not is_regular(path / PROGRAM):
        raise PackageError(f"{path} is no Core AI model: it has no file {PROGRAM}")
    metadata = _metadata(path)
    version = str(metadata.get("assetVersion", ""))
    if version.split(".")[0] != ASSET_VERSION:
        raise UnsupportedVersionError(
            f"{path}: version {version[:40] or 'unknown'} of Core AI's assets; this version reads {ASSET_VERSION}"
        )
    return AIModelFile(str(path), _mapped(path / PROGRAM), metadata)


def _mapped(path: Path) -> memoryview:
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise PackageError(f"{path} is empty")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise WeightError(f"{path} cannot be read: {error.strerror}") from None


def _metadata(path: Path) -> Mapping[str, Any]:
    file = path / METADATA
    try:
        with open_regular(file) as opened:
            data = opened.read(_MOST_METADATA + 1)
    except FileNotFoundError:
        raise PackageError(f"{path} is no Core AI model: it has no file {METADATA}") from None
    except OSError as error:
        raise PackageError(f"{file} cannot be read: {error.strerror}") from None
    try:
        found = json.loads(data) if len(data) <= _MOST_METADATA else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise PackageError(f"{file} is damaged: it must hold one JSON object of at most {_MOST_METADATA} bytes")
    return found


def describe(file: AIModelFile) -> ModelDescription:
    """The description of a model: its public graphs. Raises SpecificationError, UnsupportedModelError."""
    functions = tuple(_function(file, graph) for graph in file.graphs.values() if not graph.private)
    if not functions:
        raise SpecificationError(f"{file.name}: it has no public graph")
    names = [function.name for function in functions]
    return ModelDescription(functions, "main" if "main" in names else names[0], _about(file.metadata), 0, KIND)


def _function(file: AIModelFile, graph: Graph) -> FunctionDescription:
    inputs, states = [], []
    for name, kind in zip(graph.inputs, graph.type.inputs, strict=True):
        if kind == TOKEN:
            continue
        array = _feature(name, kind.tensor if isinstance(kind, Handle) else kind)
        if array.flexibility is not None and array.allows(file.shapes.get(name, ())):
            array = replace(array, shape=file.shapes[name])
        feature = FeatureDescription(name, array)
        if isinstance(kind, Handle):
            assert isinstance(feature.type, MultiArray)
            states.append(FeatureDescription(name, State(feature.type)))
        else:
            inputs.append(feature)
    given = zip(graph.outputs, graph.type.outputs, strict=True)
    outputs = tuple(FeatureDescription(name, _feature(name, kind, True)) for name, kind in given if kind != TOKEN)
    for names in ([f.name for f in (*inputs, *states)], [f.name for f in outputs]):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise SpecificationError(f"{file.name}: two features of '{graph.name}' are named '{twice}'")
    return FunctionDescription(graph.name, tuple(inputs), outputs, tuple(states))


def _feature(name: str, kind: Type, output: bool = False) -> MultiArray:
    if not isinstance(kind, Tensor) or kind.element not in DTYPES or kind.sparse:
        raise UnsupportedModelError(f"'{name}' is {described(kind)}, which cannot be an input, an output or a state")
    dtype = DTYPES[kind.element]
    if None not in kind.shape:
        return MultiArray(dtype, tuple(size or 0 for size in kind.shape))
    if output:
        return MultiArray(dtype)
    ranges = tuple(SizeRange(1, None) if size is None else SizeRange(size, size) for size in kind.shape)
    return MultiArray(dtype, tuple(r.lower for r in ranges), ShapeRange(ranges))


def described(kind: Type) -> str:
    if isinstance(kind, Tensor):
        sizes = "x".join("?" if size is None else str(size) for size in kind.shape)
        return f"a {'sparse ' if kind.sparse else ''}tensor<{sizes}{'x' if sizes else ''}{kind.element}>"
    return f"a {kind.name}" if isinstance(kind, Other) else f"a {type(kind).__name__.lower()}"


def _about(metadata: Mapping[str, Any]) -> Metadata:
    texts = {name: str(metadata[name]) for name in ("description", "version", "author", "license") if name in metadata}
    known = {*texts, "assetVersion"}
    others = {name: value for name, value in metadata.items() if name not in known}
    custom = others.pop("creatorDefinedMetadata", None) or {}
    flat = {**others, **(custom if isinstance(custom, dict) else {})}
    return Metadata(
        texts.get("description", ""),
        texts.get("version", ""),
        texts.get("author", ""),
        texts.get("license", ""),
        {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in flat.items()},
    )
