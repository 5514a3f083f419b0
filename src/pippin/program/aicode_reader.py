"""Core AI reader: the program of an `.aimodel` as a `Program`, whose operations are named `coreai.<name>`.

Tokens, which order the reads and writes of states, are left out: operations stand in an order that they allow. A state
is read and written by MIL's own operations. Private graphs are inlined where they are invoked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import PippinError, ProgramError, UnsupportedOperationError
from ..format.aimodel import DTYPES, PROGRAM, AIModelFile, Graph, described
from ..format.mlir.aicode import TOKEN, Enumerated, Handle, Named, Numbers, Tensor, Type
from ..format.mlir.operations import RawBlock, RawOperation
from ..format.weight_blob import unpack_elements
from ..support.boundary import boundary
from ..types import DataType, StateType, TensorType, ValueType
from .aicode_operations import OPERANDS, PREFIX, PROPERTIES, WITH_REGIONS, documented, is_known
from .ir import STRING, Argument, Block, Function, Literal, NameAndValue, Operation, Program, Value

OPSET = "CoreAI"
_IN_TEXT = 64
"""Elements of a constant that is shown as such; a longer one is shown as a place in the file."""
_MOST_OPERATIONS = 1 << 16
"""Operations of a program whose private graphs stand where they are invoked; a larger file may have one for a byte."""
_MOST_REPEATED = 1 << 28
_TERMINATORS = frozenset({"dataflow.output_v1", "dataflow.yield_v1", "controlflow.condition_v1"})
_COMPLEX = {"complex_float32": DataType.FLOAT32, "complex_float16": DataType.FLOAT16}
_STORED = {"sint2": DataType.UINT2, "float4E2M1FN": DataType.UINT4, "float8E8M0FN": DataType.UINT8}
_SMALL = {"float4E2M1FN": "float4_e2m1fn", "float8E8M0FN": "float8_e8m0fnu"}


def read_aimodel(file: AIModelFile) -> Program:
    """The public graphs as functions. Raises ProgramError, UnsupportedOperationError, UnsupportedVersionError."""
    with boundary(ProgramError, f"{file.name}: the program cannot be read"):
        reader = _Reader(file)
        functions = {name: reader.function(graph) for name, graph in file.graphs.items() if not graph.private}
        if not functions:
            raise ProgramError(f"{file.name}: it has no public graph")
        return Program(functions)


@dataclass
class _Names:
    """The names of one function's values."""

    taken: set[str]
    wanted: dict[int, str] = field(default_factory=dict)
    """Names of results that the function returns, by the number of the value in the function's own scope."""
    counts: dict[str, int] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        found = name
        while found in self.taken:
            self.counts[name] = self.counts.get(name, 0) + 1
            found = f"{name}_{self.counts[name]}"
        self.taken.add(found)
        return found


Scope = dict[int, "Value | None"]
"""Values by their number in the file; None for a token."""


class _Reader:
    def __init__(self, file: AIModelFile) -> None:
        self.file = file
        self.attributes = file.attributes
        self.made = 0
        begin, end = file.sections.program
        self.most = max(_MOST_OPERATIONS, end - begin)
        self._locations: dict[int, str] = {}

    def function(self, graph: Graph) -> Function:
        entry = _only(graph.operation, 1)[0]
        if len(entry.arguments) != len(graph.inputs):
            raise ProgramError(
                f"graph '{graph.name}' has {len(graph.inputs)} inputs, but its body {len(entry.arguments)}"
            )
        try:
            names = _Names({*graph.inputs, *graph.outputs})
            scope: Scope = {}
            inputs = []
            for (number, kind), name in zip(entry.arguments, graph.inputs, strict=True):
                scope[number] = self.value(name, self.attributes.type(kind))
                inputs += [scope[number]] if scope[number] is not None else []
            returned = _returned(entry)
            for number, name in zip(returned, graph.outputs, strict=False):
                if number not in scope and name not in graph.inputs:
                    names.wanted.setdefault(number, name)
            operations = self.operations(entry, scope, names, ())
            outputs = self._outputs(graph, returned, scope, operations)
        except PippinError as error:
            error.add_note(f"in function '{graph.name}' of {self.file.name}")
            raise
        return Function(graph.name, OPSET, tuple(v for v in inputs if v), Block((), tuple(operations), outputs))

    def _outputs(
        self, graph: Graph, returned: Sequence[int], scope: Scope, operations: list[Operation]
    ) -> tuple[Value, ...]:
        """The values of the outputs. One that has another name gets its own by an operation that changes nothing."""
        if len(returned) != len(graph.outputs):
            raise ProgramError(f"graph '{graph.name}' has {len(graph.outputs)} outputs, but returns {len(returned)}")
        found = []
        for number, name in zip(returned, graph.outputs, strict=True):
            value = _defined(scope, number)
            if value is None:
                continue
            if value.name != name:
                if name in graph.inputs:
                    raise UnsupportedOperationError(f"the output '{name}' has the name of an input")
                named = Value(name, value.type)
                operations.append(Operation("identity", {"x": (value,)}, (named,)))
                value = named
            found.append(value)
        return tuple(found)

    def value(self, name: str, kind: Type) -> Value | None:
        return None if kind == TOKEN else Value(name, _type(kind))

    def operations(self, block: RawBlock, scope: Scope, names: _Names, calls: tuple[str, ...]) -> list[Operation]:
        found: list[Operation] = []
        for raw in block.operations:
            if raw.kind in _TERMINATORS:
                break
            self.made += 1
            if self.made > self.most:
                raise ProgramError(f"the program has more than {self.most} operations where graphs are invoked")
            try:
                operation = self.operation(raw, scope, names, calls)
            except PippinError as error:
                if str(error).startswith("["):
                    raise
                raise type(error)(f"[{documented(raw.kind)}] {error}") from error
            found += [operation] if operation is not None else []
        return found

    def operation(self, raw: RawOperation, scope: Scope, names: _Names, calls: tuple[str, ...]) -> Operation | None:
        name = documented(raw.kind)
        given = [_defined(scope, number) for number in raw.operands]
        if raw.kind in _STATES:
            return self._state(raw, given, scope, names)
        if raw.kind in _TOKENS:
            scope.update((number, None) for number, _ in raw.results)
            return None
        known = is_known(raw.kind)
        properties = self.file.properties(raw, PROPERTIES.get(name, ())) if known else {}
        own = dict(scope) if not raw.isolated else {}
        blocks: tuple[Block, ...] = ()
        attributes = {key: _literal(value) for key, value in properties.items() if isinstance(value, _PLAIN)}
        if known and name == "invoke":
            kind, inputs, blocks = self._invoked(properties, given, attributes, names, calls)
        elif known:
            kind, inputs = PREFIX + name, _bound(OPERANDS[name], given)
            if name in WITH_REGIONS:
                blocks = self._blocks(raw, own, names, calls)
        elif raw.regions:
            kind, inputs = f"{PREFIX}isolated_group", {"operands": _values(given)}
            blocks = self._blocks(raw, own, names, calls)
        else:
            raise UnsupportedOperationError(
                f"Core AI's operation '{raw.kind}' is not known to this version, and the file does not describe it"
            )
        outputs = self._results(raw, name, scope, names)
        if known and name == "constant":
            return self._constant(outputs[0], self.attributes.type(raw.results[0][1]), properties.get("value"))
        return Operation(kind, inputs, outputs, blocks, attributes)

    def _state(self, raw: RawOperation, given: Sequence[Value | None], scope: Scope, names: _Names) -> Operation:
        if not given or given[0] is None or not isinstance(given[0].type, StateType):
            raise ProgramError("its first operand must be a state")
        outputs = self._results(raw, "read", scope, names)
        inputs: dict[str, tuple[Argument, ...]] = {"input": (given[0],)}
        if _STATES[raw.kind] == "write_state":
            inputs["data"] = _values(given[1:2])
        return Operation(_STATES[raw.kind], inputs, outputs)

    def _results(self, raw: RawOperation, name: str, scope: Scope, names: _Names) -> tuple[Value, ...]:
        label = self._label(raw.location) or name
        for number, kind in raw.results:
            own = names.wanted.pop(number, None) if raw.results and number not in scope else None
            scope[number] = self.value(own or names.unique(label), self.attributes.type(kind))
        return tuple(value for number, _ in raw.results if (value := scope[number]) is not None)

    def _label(self, location: int) -> str:
        """The name that the converted program had for what an operation comes from."""
        if location not in self._locations:
            found = self.attributes.attribute(location)
            self._locations[location] = _source(found) if isinstance(found, Mapping) else ""
        return self._locations[location]

    def _invoked(
        self, properties: Mapping[str, Any], given: Sequence[Value | None], attributes: dict[str, Literal],
        names: _Names, calls: tuple[str, ...],
    ) -> tuple[str, dict[str, tuple[Argument, ...]], tuple[Block, ...]]:  # fmt: skip
        callee = properties.get("callee")
        name = ".".join(callee) if isinstance(callee, tuple) else str(callee)
        if name not in self.file.graphs:
            raise ProgramError(f"it invokes '{name[:80]}', which the file does not have")
        if name in calls:
            raise UnsupportedOperationError(f"graph '{name}' invokes itself")
        graph = self.file.graphs[name]
        attributes["callee"] = _literal(name)
        kind = f"{PREFIX}invoke"
        if graph.composite is not None:
            attributes["composite"] = _literal(graph.composite.name)
            attributes.update(_composite(graph.composite))
        block = self._block(_only(graph.operation, 1)[0], {}, names, (*calls, name))
        return kind, {"operands": _values(given)}, (block,)

    def _blocks(self, raw: RawOperation, scope: Scope, names: _Names, calls: tuple[str, ...]) -> tuple[Block, ...]:
        found = []
        for region in raw.regions:
            if len(region) > 1:
                raise UnsupportedOperationError(f"a region of {len(region)} blocks")
            found.append(self._block(region[0], dict(scope), names, calls) if region else Block((), (), ()))
        return tuple(found)

    def _block(self, raw: RawBlock, scope: Scope, names: _Names, calls: tuple[str, ...]) -> Block:
        wanted, names.wanted = names.wanted, {}  # these numbers belong to another scope
        inputs = []
        for number, kind in raw.arguments:
            scope[number] = self.value(names.unique("arg"), self.attributes.type(kind))
            inputs.append(scope[number])
        operations = self.operations(raw, scope, names, calls)
        outputs = [_defined(scope, number) for number in _returned(raw)]
        names.wanted = wanted
        return Block(tuple(v for v in inputs if v), tuple(operations), tuple(v for v in outputs if v))

    def _constant(self, output: Value, kind: Type, value: Any) -> Operation:
        if not isinstance(value, Numbers) or not isinstance(kind, Tensor) or None in kind.shape:
            raise ProgramError(f"it has no numbers, or is {described(kind)}")
        count = math.prod(size or 0 for size in kind.shape)
        if value.splat and count > _MOST_REPEATED:
            raise ProgramError(f"one number is repeated {count:,} times; the limit is {_MOST_REPEATED:,}")
        where = None if count <= _IN_TEXT or value.splat else PROGRAM
        literal = Literal(output.type, lambda _: _numbers(value, kind, count), where, value.data.at)
        return Operation("const", {}, (output,), attributes=NameAndValue(output.name, literal))


_STATES = {"dataflow.read_handle_v1": "read_state", "dataflow.write_handle_v1": "write_state"}
_TOKENS = ("dataflow.create_token_v1", "dataflow.join_token_v1")
_PLAIN = (Enumerated, str, int, float)


def _only(operation: RawOperation, blocks: int) -> list[RawBlock]:
    regions = operation.regions
    if len(regions) != 1 or len(regions[0]) != blocks:
        raise UnsupportedOperationError(f"'{operation.kind}' must have one region of {blocks} block")
    return regions[0]


def _returned(block: RawBlock) -> tuple[int, ...]:
    last = next((operation for operation in block.operations if operation.kind in _TERMINATORS), None)
    return last.operands if last is not None else ()


def _defined(scope: Scope, number: int) -> Value | None:
    if number not in scope:
        raise ProgramError(f"value number {number} is used where it is not defined")
    return scope[number]


def _values(given: Sequence[Value | None]) -> tuple[Value, ...]:
    return tuple(value for value in given if value is not None)


def _bound(operands: Sequence[str], given: Sequence[Value | None]) -> dict[str, tuple[Argument, ...]]:
    found: dict[str, tuple[Argument, ...]] = {}
    for number, name in enumerate(operands):
        if name.startswith("*"):
            found[name[1:]] = _values(given[number:])
            return found
        value = given[number] if number < len(given) else None
        if value is not None:
            found[name] = (value,)
    if len(given) > len(operands):
        raise ProgramError(f"it takes {len(operands)} operands, got {len(given)}")
    return found


def _type(kind: Type) -> ValueType:
    if isinstance(kind, Handle):
        inner = _type(kind.tensor)
        assert isinstance(inner, TensorType)
        return StateType(inner)
    if isinstance(kind, Tensor) and kind.element in _COMPLEX:
        return TensorType(_COMPLEX[kind.element], kind.shape)  # the type of its two parts
    if not isinstance(kind, Tensor) or kind.element not in DTYPES:
        raise UnsupportedOperationError(f"a value is {described(kind)}, which this version cannot compute with")
    return TensorType(DTYPES[kind.element], kind.shape)


def _literal(value: Any) -> Literal:
    return Literal(STRING, value.name if isinstance(value, Enumerated) else value)


def _composite(declared: Named) -> dict[str, Literal]:
    """The attributes of a known computation, by their names."""
    entries = {entry.name: entry.values for entry in declared.values if isinstance(entry, Named)}
    found = entries.get("op_attrs", ({},))[0]
    values = found if isinstance(found, dict) else {}
    return {f"composite_{name}": Literal(STRING, value) for name, value in values.items()}


def _source(location: Mapping[str, Any]) -> str:
    """The name of the operation of the framework, such as a node of torch's graph."""
    for entry in location.get("sources") or ():
        identifiers = entry.get("identifiers") if isinstance(entry, dict) else None
        names = identifiers if isinstance(identifiers, tuple) else (identifiers,)
        if names and isinstance(names[-1], str) and names[-1]:
            return names[-1][:_IN_TEXT]
    return ""


def _numbers(value: Numbers, kind: Tensor, count: int) -> np.ndarray:
    data = value.data.data[value.data.at : value.data.end]
    shape = tuple(size or 0 for size in kind.shape)
    if value.splat:
        # One element, but of booleans all of them are there, each in a byte.
        first = data[:1] if kind.element == "bool" else data
        return np.broadcast_to(_elements(first, kind.element, 1, False).reshape(()), shape)
    return _elements(data, kind.element, count, value.packed).reshape(shape)


def _elements(data: memoryview, element: str, count: int, packed: bool) -> np.ndarray:
    if element == "bool":
        return unpack_elements(data, DataType.UINT8 if len(data) == count else DataType.UINT1, count).astype(bool)
    dtype = _STORED.get(element, DTYPES[element])
    if dtype.bits < 8 and not packed and len(data) == count > 0:
        found: np.ndarray = np.frombuffer(data, np.uint8) & (1 << dtype.bits) - 1
        found = np.subtract(found.view(np.int8) ^ 8, 8) if dtype is DataType.INT4 else found
    else:
        found = unpack_elements(data, dtype, count)
    if element == "sint2":
        return np.asarray(np.subtract(found.view(np.int8) ^ 2, 2))
    if element in _SMALL:
        import ml_dtypes

        small: Any = getattr(ml_dtypes, _SMALL[element])
        return np.asarray(found.view(small).astype(np.float32))
    return np.asarray(found)
