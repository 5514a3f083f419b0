"""Statements: fast path of the parser for the common forms of statements, one regular expression each.

    type name = const()[name = type("..."), val = type(...)];
    type name = operation(parameter = value, ..)[name = type("...")];
    type name, .. = operation(parameter = (value, ..), ..)[attribute = type(...), ..];

Same grammar as `program.py`, but faster. Statements of another form, or with an error, are left to `program.py`.

A program of 50 MB has 300,000 statements, and half of the time goes into memory. Objects are therefore shared where
possible: names of operations and parameters, types and short values with the same text, and the tuple of a result,
which is also its binding as an argument.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from ...errors import ProgramError
from ...types import TensorType, ValueType
from ..blob_constants import Weights, is_fixed, read_record
from ..ir import NO_INPUTS, STRING, Argument, Inputs, Literal, NameAndValue, Operation, Value
from .cursor import NAME, Cursor
from .scope import Bound, Scope
from .types import parse_type
from .values import parse_value

# The expressions only find the end of a type or a number; each distinct text is then parsed once.
# The types of names, paths and offsets must be spelled as compilers write them.
_TYPE = r"(?:tensor<[^>]*>|[a-z]\w*)"
_STRINGS = frozenset({"tensor<string, []>", "string"})
_STRING_TYPE = r"(?:tensor<string, \[\]>|string)"
_OFFSET_TYPE = r"(?:tensor<uint64, \[\]>|uint64)"
_STRING = r'"([^"\\]*)"'
_BLOB = rf"BLOBFILE\(path = {_STRING_TYPE}\({_STRING}\), offset = {_OFFSET_TYPE}\(([0-9]{{1,19}})\)\)"
_DATA = rf'(?:{_BLOB}|([^"();]*)|{_STRING})'
_RESULT = rf"({_TYPE}) ({NAME})"
_ARGUMENT = rf"{NAME} = (?:{NAME}|\({NAME}(?:, {NAME})*\))"
_CALL = rf"\s*{_RESULT}((?:, {_TYPE} {NAME})*) = ({NAME})\(((?:{_ARGUMENT}(?:, {_ARGUMENT})*)?)\)"
# The name of an operation is usually that of its result.
_NAMED = rf'\[name = {_STRING_TYPE}\((?:"\2"|{_STRING})\)'
# Constants, and operations whose only attribute is the name.
_LINE = re.compile(rf"{_CALL}{_NAMED}(?:, val = \1\({_DATA}\))?\];")
_ATTRIBUTE = rf"({NAME}) = ({_TYPE})\({_DATA}\)"
_UNGROUPED = re.sub(r"(?<!\\)\((?!\?)", "(?:", _ATTRIBUTE)
_ATTRIBUTED = re.compile(rf"{_CALL}\[({_UNGROUPED}(?:, {_UNGROUPED})*)\];")
_RESULTS = re.compile(rf", {_RESULT}")
_ATTRIBUTES = re.compile(rf"{_ATTRIBUTE}(?:, |$)")
_REPEATED = 64
"""Values of up to this many characters are shared; they are likely to repeat."""


class _Types(dict[str, ValueType | None]):
    """Types by their text; None if the text is not a type."""

    def __missing__(self, text: str) -> ValueType | None:
        cursor = Cursor(text, "")
        try:
            found: ValueType | None = parse_type(cursor)
        except ProgramError:
            found = None
        self[text] = found = found if cursor.at == len(text) else None
        return found


class Statements:
    """Takes common statements. Shares objects by their text: types, names of operations, parameters and files, and
    short number constants, whose arrays are read-only.
    """

    def __init__(self, weights: Weights | None) -> None:
        self.read = partial(read_record, weights)
        self.types = _Types()
        self.names: dict[str, str] = {}
        self.numbers: dict[tuple[str, str], Literal] = {}

    def take(self, cursor: Cursor, scope: Scope, operations: list[Operation]) -> None:
        """Take statements as long as they have one of the common forms."""
        text, visible = cursor.text, scope.visible
        while True:
            if found := _LINE.match(text, cursor.at):
                operation = self._line(found.groups(), visible)
            elif found := _ATTRIBUTED.match(text, cursor.at):
                operation = self._attributed(found.groups(), visible)
            else:
                return
            if operation is None or not scope.define(operation.outputs):
                return
            operations.append(operation)
            cursor.at = found.end()

    def _line(self, groups: tuple[Any, ...], visible: dict[str, Bound]) -> Operation | None:
        declared, name, more, kind, arguments, label, path, offset, numbers, string = groups
        result = self.types[declared]
        if result is None:
            return None
        if label is None:
            label = name
        if kind == "const":
            value = self._literal(declared, result, path, offset, numbers, string)
            if value is None or arguments or more:
                return None
            return Operation("const", NO_INPUTS, (Value(name, result),), (), NameAndValue(label, value))
        outputs = self._outputs(declared, name, more) if more else (Value(name, result),)
        inputs = self._inputs(arguments, visible)
        if outputs is None or inputs is None or numbers is not None or string is not None or path is not None:
            return None
        return Operation(self.names.setdefault(kind, kind), inputs, outputs, (), NameAndValue(label))

    def _attributed(self, groups: tuple[str, ...], visible: dict[str, Bound]) -> Operation | None:
        declared, name, more, kind, arguments, attributes = groups
        outputs = self._outputs(declared, name, more)
        inputs = self._inputs(arguments, visible)
        literals: dict[str, Literal] = {}
        for found in _ATTRIBUTES.finditer(attributes):
            attribute, written, *value = found.groups()
            literal = self._literal(written, self.types[written], *value)
            if literal is None or attribute in literals:
                return None
            literals[attribute] = literal
        if outputs is None or inputs is None or kind == "const":
            return None
        return Operation(self.names.setdefault(kind, kind), inputs, outputs, (), literals)

    def _outputs(self, declared: str, name: str, more: str) -> tuple[Value, ...] | None:
        outputs = []
        for text, each in [(declared, name), *_RESULTS.findall(more)]:
            result = self.types[text]
            if result is None:
                return None
            outputs.append(Value(each, result))
        return tuple(outputs)

    def _inputs(self, text: str, visible: dict[str, Bound]) -> Inputs | None:
        """None if a value is unknown or a parameter is bound twice."""
        if not text:
            return NO_INPUTS
        if "(" in text:
            return self._variadic(text, visible)
        shared = self.names.setdefault
        inputs: dict[str, tuple[Argument, ...]] = {}
        words = text.replace(" = ", ", ").split(", ")
        following = iter(words)
        for parameter in following:
            bound = visible.get(next(following))
            if bound is None:
                return None
            inputs[shared(parameter, parameter)] = bound
        return inputs if len(inputs) * 2 == len(words) else None

    def _variadic(self, text: str, visible: dict[str, Bound]) -> Inputs | None:
        """Inputs in which a parameter is bound to several values: concat(values = (a, b))."""
        inputs: dict[str, tuple[Argument, ...]] = {}
        parameter, *bindings = f"{text}, ".split(" = ")
        for binding in bindings:
            names, _, following = binding.rpartition(", ")
            bound = [visible.get(name) for name in names.strip("()").split(", ")]
            if None in bound:
                return None
            inputs[self.names.setdefault(parameter, parameter)] = tuple([value for (value,) in bound])  # type: ignore[misc]
            parameter = following
        return inputs if len(inputs) == len(bindings) else None

    def _literal(
        self,
        declared: str,
        kind: ValueType | None,
        path: str | None,
        offset: str | None,
        numbers: str | None,
        string: str | None,
    ) -> Literal | None:
        """None if the value does not match its type."""
        if kind is None:
            return None
        if string is not None:
            return Literal(kind, string) if declared in _STRINGS else None
        if numbers is not None:
            return self.numbers.get((declared, numbers)) or self._numbers(declared, kind, numbers)
        if path is None or offset is None or not is_fixed(kind):
            return None
        return Literal(kind, self.read, self.names.setdefault(path, path), int(offset))

    def _numbers(self, declared: str, kind: ValueType, text: str) -> Literal | None:
        if kind == STRING or not isinstance(kind, TensorType):
            return None
        cursor = Cursor(text, "")
        try:
            found = parse_value(cursor, kind)
        except ProgramError:
            return None
        if cursor.space() != len(text) or isinstance(found, str):
            return None
        literal = Literal(kind, found)
        if len(text) <= _REPEATED:
            found.setflags(write=False)
            self.numbers[declared, text] = literal
        return literal
