"""Statements: the forms that nearly every line of a program has, each by one regular expression.

    type name = const()[name = type("..."), val = type(...)];
    type name = operation(parameter = value, ..)[name = type("...")];
    type name, .. = operation(parameter = (value, ..), ..)[attribute = type(...), ..];

This is the same grammar as `program.py`, faster: where a statement has another form, or anything about it is wrong,
it is left alone, for that to take it or to say what is wrong.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from ...errors import ProgramError
from ...types import DataType, TensorType, ValueType
from ..ir import Argument, Literal, Operation, Value
from .cursor import NAME, Cursor
from .scope import Scope
from .types import parse_type
from .values import Weights, is_fixed, parse_value, read_blob

_TYPE = r"(?:tensor<\w+, \[[^\[\]<>]*\]>|[a-z]\w*)"
_PLAIN = r'"([^"\\]*)"'
_BLOB = rf"BLOBFILE\(path = ({_TYPE})\({_PLAIN}\), offset = ({_TYPE})\(([0-9]{{1,19}})\)\)"
_VALUE = rf'({_TYPE})\((?:{_BLOB}|([^()\[\]{{}}<>"=;]+|\[[^()\[\]{{}}<>"=;]*\])|{_PLAIN})\)'
_RESULT = rf"({_TYPE}) ({NAME})"
_SIMPLE = r"[^()\"\[\]{}<>;]*"
_ARGUMENT_TEXT = rf"{_SIMPLE}(?:\({_SIMPLE}\){_SIMPLE})*"
# Constants, and operations that have no attribute but their name.
_LINE = re.compile(
    rf"\s*{_RESULT}((?:, {_TYPE} {NAME})*) = ({NAME})\(({_ARGUMENT_TEXT})\)"
    rf"\[name = ({_TYPE})\({_PLAIN}\)(?:, val = {_VALUE})?\];"
)
_ATTRIBUTE = rf"({NAME}) = {_VALUE}"
_UNGROUPED = re.sub(r"(?<!\\)\((?!\?)", "(?:", _ATTRIBUTE)
_GENERAL = re.compile(
    rf"\s*{_RESULT}((?:, {_TYPE} {NAME})*) = ({NAME})\(({_ARGUMENT_TEXT})\)"
    rf"\[({_UNGROUPED}(?:, {_UNGROUPED})*)\];"
)
_RESULTS = re.compile(rf", {_RESULT}")
_ATTRIBUTES = re.compile(rf"{_ATTRIBUTE}(?:, |$)")
_ARGUMENTS = re.compile(rf"({NAME}) = (?:({NAME})|\(({NAME}(?:, {NAME})*)\))(?:, |$)")
_NAME = re.compile(NAME)
_REPEATED = 64
"""Characters of a value that is likely to come again: its array is kept."""
_STRING_TYPE = TensorType(DataType.STRING, ())
_OFFSET_TYPE = TensorType(DataType.UINT64, ())
_Inputs = dict[str, tuple[Argument, ...]]


class Statements:
    """`values` keeps the arrays of short constants, by their text; an array that is shared cannot be written to."""

    def __init__(self, text: str, weights: Weights | None) -> None:
        self.text = text
        self.weights = weights
        self.types: dict[str, ValueType | None] = {}
        self.values: dict[tuple[str, str], Any] = {}
        self.parameters: set[str] = set()
        self.strings: set[str] = set()
        """The ways in which the type of a string is written."""

    def take(self, cursor: Cursor, scope: Scope, operations: list[Operation]) -> None:
        """Take statements as long as they have one of the forms."""
        text, at = self.text, cursor.at
        visible, own = scope.visible, scope.own
        line = _LINE.match
        while True:
            found = line(text, at)
            if found is not None:
                operation = self._line(visible, *found.groups())
            else:
                found = _GENERAL.match(text, at)
                operation = self._general(visible, *found.groups()) if found is not None else None
            if operation is None or found is None:
                break
            for output in operation.outputs:
                if output.name in own:  # the values before it are visible too early: the error ends the parse
                    cursor.at = at
                    return
                own.add(output.name)
                visible[output.name] = output
            operations.append(operation)
            at = found.end()
        cursor.at = at

    def _line(
        self, visible: dict[str, Value], declared: str, name: str, more: str, kind: str, arguments: str,
        name_type: str, shown: str, value_type: str | None, *value: str | None,
    ) -> Operation | None:  # fmt: skip
        if name_type not in self.strings and not self._is_string(name_type):
            return None
        attributes = {"name": Literal(_STRING_TYPE, shown)}
        if value_type is not None:
            literal = self._literal(value_type, *value) if value_type == declared else None
            if literal is None or kind != "const" or arguments or more:
                return None
            attributes["val"] = literal
            return Operation(kind, {}, (Value(name, literal.type),), (), attributes)
        outputs = self._outputs(declared, name, more)
        inputs = self._inputs(arguments, visible)
        if outputs is None or inputs is None or kind == "const":
            return None
        return Operation(kind, inputs, outputs, (), attributes)

    def _outputs(self, declared: str, name: str, more: str) -> tuple[Value, ...] | None:
        first = self.types.get(declared) or self._type(declared)
        if first is None:
            return None
        if not more:
            return (Value(name, first),)
        outputs = [Value(name, first)]
        for declared, name in _RESULTS.findall(more):
            result = self._type(declared)
            if result is None:
                return None
            outputs.append(Value(name, result))
        return tuple(outputs) if len({output.name for output in outputs}) == len(outputs) else None

    def _general(
        self, visible: dict[str, Value], declared: str, name: str, more: str, kind: str, arguments: str, attributes: str
    ) -> Operation | None:
        outputs = self._outputs(declared, name, more)
        inputs = self._inputs(arguments, visible)
        literals: dict[str, Literal] = {}
        for found in _ATTRIBUTES.finditer(attributes):
            attribute, *value = found.groups()
            literal = self._literal(*value)
            if literal is None or attribute in literals:
                return None
            literals[attribute] = literal
        if outputs is None or inputs is None or kind == "const":
            return None
        return Operation(kind, inputs, outputs, (), literals)

    def _inputs(self, text: str, visible: dict[str, Value]) -> _Inputs | None:
        inputs: _Inputs = {}
        if not text:
            return inputs
        known = self.parameters
        for part in text.split(", "):
            parameter, _, name = part.partition(" = ")
            value = visible.get(name)
            if value is None or (parameter not in known and not self._is_parameter(parameter)):
                return self._variadic(text, visible)
            inputs[parameter] = (value,)
        return inputs if len(inputs) == text.count(", ") + 1 else None

    def _variadic(self, text: str, visible: dict[str, Value]) -> _Inputs | None:
        """Where a parameter is bound to several values: concat(values = (a, b))."""
        inputs: _Inputs = {}
        at = 0
        while at < len(text):
            found = _ARGUMENTS.match(text, at)
            if found is None or found[1] in inputs:
                return None
            values = [visible.get(name) for name in ([found[2]] if found[2] else found[3].split(", "))]
            if None in values:
                return None
            inputs[found[1]] = tuple(values)  # type: ignore[arg-type]
            at = found.end()
        return inputs if not text.endswith(", ") else None

    def _is_string(self, text: str) -> bool:
        if self._type(text) == _STRING_TYPE:
            self.strings.add(text)
        return text in self.strings

    def _is_parameter(self, text: str) -> bool:
        if _NAME.fullmatch(text):
            self.parameters.add(text)
        return text in self.parameters

    def _type(self, text: str) -> ValueType | None:
        """None for what is no type."""
        try:
            return self.types[text]
        except KeyError:
            pass
        cursor = Cursor(text, "")
        try:
            found: ValueType | None = parse_type(cursor)
        except ProgramError:
            found = None
        self.types[text] = found = found if cursor.at == len(text) else None
        return found

    def _literal(
        self,
        declared: str,
        path_type: str | None,
        path: str | None,
        offset_type: str | None,
        offset: str | None,
        value: str | None,
        string: str | None,
    ) -> Literal | None:
        """None for what is no value of its type."""
        kind = self._type(declared)
        if string is not None:
            return Literal(_STRING_TYPE, string) if declared in self.strings or self._is_string(declared) else None
        if value is not None:
            data = self.values.get((declared, value))
            if data is None:
                data = self._value(declared, kind, value)
            return None if data is None or kind is None else Literal(kind, data)
        if path is None or path_type is None or offset_type is None:
            return None
        if path_type not in self.strings and not self._is_string(path_type):
            return None
        if self._type(offset_type) != _OFFSET_TYPE or not isinstance(kind, TensorType) or not is_fixed(kind):
            return None
        at = int(offset or 0)
        if at >= 1 << 64:
            return None
        return Literal(kind, partial(read_blob, self.weights, path, at, kind.dtype, kind.shape), path, at)

    def _value(self, declared: str, kind: ValueType | None, text: str) -> Any:
        """An array; None for what is no value of its type."""
        if kind == _STRING_TYPE or not isinstance(kind, TensorType):
            return None
        cursor = Cursor(text, "")
        try:
            found = parse_value(cursor, kind)
        except ProgramError:
            return None
        if cursor.space() != len(text) or isinstance(found, str):
            return None
        if len(text) <= _REPEATED:
            found.setflags(write=False)
            self.values[declared, text] = found
        return found
