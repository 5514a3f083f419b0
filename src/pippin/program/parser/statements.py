"""Statements: the two forms that nearly every line of a program has, each by one regular expression.

    type name = const()[name = type("..."), val = type(...)];
    type name = operation(parameter = value, ..)[name = type("...")];

This is the same grammar as `program.py`, faster: where a statement has another form, or anything about it is wrong,
it is left alone, for that to take it or to say what is wrong.
"""

from __future__ import annotations

import re
from typing import Any

from ...errors import ProgramError
from ...types import DataType, TensorType, ValueType
from ..ir import Argument, Literal, Operation, Value
from .cursor import NAME, Cursor
from .scope import Scope
from .types import parse_type
from .values import Weights, blob_literal, is_fixed, parse_value

_TYPE = r"tensor<\w+, \[[^\[\]<>]*\]>|[a-z]\w*"
_PLAIN = r'"([^"\\]*)"'
_START = rf"\s*({_TYPE}) ({NAME}) = "
_BLOB = rf"BLOBFILE\(path = ({_TYPE})\({_PLAIN}\), offset = ({_TYPE})\(([0-9]{{1,19}})\)\)"
_VALUE = rf'{_BLOB}|([^()\[\]{{}}<>"=;]+|\[[^()\[\]{{}}<>"=;]*\])|{_PLAIN}'
_CONST = re.compile(rf"{_START}const\(\)\[name = ({_TYPE})\({_PLAIN}\), val = ({_TYPE})\((?:{_VALUE})\)\];")
_CALL = re.compile(rf"{_START}({NAME})\(([^()\"\[\]{{}}<>;]*)\)\[name = ({_TYPE})\({_PLAIN}\)\];")
# Brackets may hold the several values of a variadic parameter: concat(values = (a, b)).
_VARIADIC = re.compile(
    rf"{_START}({NAME})\(((?:[^()\"\[\]{{}}<>;]|\([^()\"\[\]{{}}<>;]*\))*)\)\[name = ({_TYPE})\({_PLAIN}\)\];"
)
_ARGUMENTS = re.compile(rf"(?:^|, )({NAME}) = (?:({NAME})|\(({NAME}(?:, {NAME})*)\))(?=, |$)")
_NAME = re.compile(NAME)
_REPEATED = 64
"""Characters of a value that is likely to come again: its array is kept."""
_STRING_TYPE = TensorType(DataType.STRING, ())
_OFFSET_TYPE = TensorType(DataType.UINT64, ())


class Statements:
    def __init__(self, text: str, weights: Weights | None) -> None:
        self.text = text
        self.weights = weights
        self.types: dict[str, ValueType | None] = {}
        self.values: dict[tuple[str, str], Any] = {}

    def take(self, cursor: Cursor, scope: Scope, operations: list[Operation]) -> None:
        """Take statements as long as they have one of the two forms."""
        text, at = self.text, cursor.at
        const, call, variadic = _CONST.match, _CALL.match, _VARIADIC.match
        while True:
            found = const(text, at)
            if found is not None:
                operation = self._constant(found)
            else:
                found = call(text, at) or variadic(text, at)
                operation = self._operation(found, scope) if found is not None else None
            if found is None or operation is None:
                break
            (output,) = operation.outputs
            if output.name in scope.own:
                break
            scope.own.add(output.name)
            scope.visible[output.name] = output
            operations.append(operation)
            at = found.end()
        cursor.at = at

    def _constant(self, found: re.Match[str]) -> Operation | None:
        declared, name, name_type, shown, value_type, path_type, path, offset_type, offset, value, string = found.groups()
        kind = self._type(declared)
        if kind is None or declared != value_type or self._type(name_type) != _STRING_TYPE:
            return None
        if path is not None:
            if self._type(path_type) != _STRING_TYPE or self._type(offset_type) != _OFFSET_TYPE or not is_fixed(kind):
                return None
            literal = blob_literal(kind, path, int(offset), self.weights)  # type: ignore[arg-type]
        elif string is not None:
            if kind != _STRING_TYPE:
                return None
            literal = Literal(kind, string)
        else:
            data = self._value(declared, kind, value)
            if data is None:
                return None
            literal = Literal(kind, data)
        attributes = {"name": Literal(_STRING_TYPE, shown), "val": literal}
        return Operation("const", {}, (Value(name, kind),), (), attributes)

    def _operation(self, found: re.Match[str], scope: Scope) -> Operation | None:
        declared, name, kind_name, arguments, name_type, shown = found.groups()
        kind = self._type(declared)
        if kind is None or kind_name == "const" or self._type(name_type) != _STRING_TYPE:
            return None
        inputs = self._arguments(arguments, scope.visible)
        if inputs is None:
            return None
        return Operation(kind_name, inputs, (Value(name, kind),), (), {"name": Literal(_STRING_TYPE, shown)})

    def _arguments(self, text: str, visible: dict[str, Value]) -> dict[str, tuple[Argument, ...]] | None:
        inputs: dict[str, tuple[Argument, ...]] = {}
        if not text:
            return inputs
        at = 0
        for found in _ARGUMENTS.finditer(text):
            parameter, single, several = found.groups()
            if found.start() != at or parameter in inputs:
                return None
            values = [visible.get(name) for name in ([single] if single else several.split(", "))]
            if None in values:
                return None
            inputs[parameter] = tuple(values)  # type: ignore[arg-type]
            at = found.end()
        return inputs if at == len(text) else None

    def _type(self, text: str) -> ValueType | None:
        """None for what is no type."""
        if text not in self.types:
            cursor = Cursor(text, "")
            try:
                found: ValueType | None = parse_type(cursor)
            except ProgramError:
                found = None
            self.types[text] = found if cursor.at == len(text) else None
        return self.types[text]

    def _value(self, declared: str, kind: ValueType, text: str) -> Any:
        """An array; None for what is no value of its type."""
        key = (declared, text) if len(text) <= _REPEATED else None
        if key in self.values:
            return self.values[key]
        if kind == _STRING_TYPE or not isinstance(kind, TensorType):
            return None
        cursor = Cursor(text, "")
        try:
            found = parse_value(cursor, kind)
        except ProgramError:
            return None
        if cursor.space() != len(text):
            return None
        if key is not None:
            found.setflags(write=False)
            self.values[key] = found
        return found
