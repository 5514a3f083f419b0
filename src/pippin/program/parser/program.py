"""Program: parses MIL text by its full grammar, from the header to the arguments of operations.

    program(1.0)
    [buildInfo = dict<tensor<string, []>, tensor<string, []>>({{"coremlc-version", "3500.32.1"}})]
    {
        func main<ios16>(tensor<fp32, [1, 3]> x) {
                tensor<fp32, [1, 3]> y = relu(x = x)[name = tensor<string, []>("y")];
            } -> (y);
    }

Source: the observed output of Apple's compiler. Whitespace is allowed between any tokens. Blocks of an operation follow
its attributes, separated by commas.
"""

from __future__ import annotations

import gc
import re

from ...errors import ProgramError
from ..blob_constants import Weights
from ..ir import Argument, Block, Function, Literal, Operation, Program, Value
from ..opsets import opset_of
from .cursor import NAME, Cursor, place
from .scope import Scope
from .statements import Statements
from .types import DTYPES, parse_type
from .values import parse_literal

_MAJOR = 1
_DEEPEST = 64
# An inline constant starts with its type.
_LITERAL = re.compile(rf"(?:tensor|list|tuple|dict|state)\s*<|(?:{'|'.join(DTYPES)})\s*\(")
_CALL = re.compile(rf"{NAME}\s*\(")
_VERSION = re.compile(r"[0-9]+\.[0-9]+")


def parse_program(text: str | bytes, name: str = "model.mil", weights: Weights | None = None) -> Program:
    """Parse MIL text. `weights` opens the weight files of constants when their values are first used.

    `name` is the name of the text in errors. Raises ProgramError with line and column, the expected and the found
    token: for a syntax error, a value used before it is defined or defined twice, a constant that does not match its
    type.
    """
    if isinstance(text, bytes):
        text = _decoded(text, name)
    # Parsing creates many objects and no cycles; repeated garbage collections would take half of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _Parser(text, name, weights).program()
    finally:
        if collects:
            gc.enable()


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        raise ProgramError(
            f"{name}, {place(before, len(before))}: expected UTF-8, found byte 0x{data[error.start]:02x}"
        ) from None


class _Parser:
    def __init__(self, text: str, name: str, weights: Weights | None) -> None:
        self.cursor = Cursor(text, name)
        self.weights = weights
        self.statements = Statements(weights)

    def program(self) -> Program:
        cursor = self.cursor
        cursor.expect("program")
        cursor.expect("(")
        start = cursor.space()
        version = self._version()
        if version.partition(".")[0] != str(_MAJOR):
            cursor.refuse(f"expected program version {_MAJOR}.x, found {version}", start)
        cursor.expect(")")
        attributes = self.attributes()
        cursor.expect("{", "'[' or ")
        functions: dict[str, Function] = {}
        while not cursor.peek("}"):
            at = cursor.space()
            function = self.function()
            if function.name in functions:
                cursor.refuse(f"function '{function.name}' is defined twice", at)
            functions[function.name] = function
        cursor.expect("}")
        cursor.space()
        if cursor.at != len(cursor.text):
            cursor.fail("the end of the text")
        if not functions:
            cursor.refuse("the program has no functions", len(cursor.text))
        return Program(functions, _MAJOR, attributes)

    def _version(self) -> str:
        found = _VERSION.match(self.cursor.text, self.cursor.at)
        if found is None:
            self.cursor.fail("a version such as 1.0")
        self.cursor.at = found.end()
        return found[0]

    def function(self) -> Function:
        cursor = self.cursor
        at = cursor.space()
        if cursor.expect_name("'func' or '}'") != "func":
            cursor.at = at
            cursor.fail("'func' or '}'")
        name = cursor.expect_name("the name of a function")
        cursor.expect("<")
        opset = opset_of(cursor.expect_name("an operation set such as ios16"))
        cursor.expect(">")
        scope = Scope({})
        inputs = self.inputs(scope)
        attributes = self.attributes()
        block = self.body((), scope, 0)
        cursor.expect(";")
        return Function(name, opset, inputs, block, attributes)

    def inputs(self, scope: Scope) -> tuple[Value, ...]:
        cursor = self.cursor
        cursor.expect("(")
        found = []
        while not cursor.peek(")"):
            found.append(self.value(scope))
            if not cursor.accept(","):
                break
        cursor.expect(")", "',' or ")
        return tuple(found)

    def body(self, inputs: tuple[Value, ...], scope: Scope, depth: int) -> Block:
        """`{ operations } -> (names)`."""
        cursor = self.cursor
        cursor.expect("{", "'[' or " if depth == 0 else "")
        operations: list[Operation] = []
        while True:
            self.statements.take(cursor, scope, operations)
            if cursor.accept("}"):
                break
            operations.append(self.operation(scope, depth))
        cursor.expect("->")
        cursor.expect("(")
        outputs = []
        while not cursor.peek(")"):
            at = cursor.space()
            outputs.append(scope.use(cursor, cursor.expect_name("the name of an output"), at))
            if not cursor.accept(","):
                break
        cursor.expect(")", "',' or ")
        return Block(inputs, tuple(operations), tuple(outputs))

    def operation(self, scope: Scope, depth: int) -> Operation:
        cursor = self.cursor
        start = cursor.space()
        results: list[tuple[Value, int]] = []
        if not self._is_call():
            results.append(self.named())
            while cursor.accept(","):
                results.append(self.named())
            cursor.expect("=", "',' or ")
        kind = cursor.expect_name("the name of an operation")
        inputs = self.arguments(scope)
        attributes = self.attributes()
        blocks = self.blocks(scope, depth)
        cursor.expect(";", "" if blocks else "'[', '(' or ")
        outputs = tuple(value for value, _ in results)
        operation = Operation(kind, inputs, outputs, blocks, attributes)
        if kind == "const":
            self._check_constant(operation, start)
        for value, at in results:
            self.define(scope, value, at)
        return operation

    def define(self, scope: Scope, value: Value, at: int) -> None:
        if not scope.define((value,)):
            self.cursor.refuse(f"'{value.name}' is defined twice", at)

    def _is_call(self) -> bool:
        """Whether the next operation has no results: a name directly followed by arguments."""
        return _CALL.match(self.cursor.text, self.cursor.space()) is not None

    def _check_constant(self, operation: Operation, start: int) -> None:
        value = operation.attributes.get("val")
        if value is None or len(operation.outputs) != 1:
            self.cursor.refuse(f"{operation} must have a 'val' attribute and one result", start)
        declared = operation.outputs[0].type
        if value.type != declared:
            self.cursor.refuse(f"{operation}: expected a value of type {declared}, found {value.type}", start)

    def arguments(self, scope: Scope) -> dict[str, tuple[Argument, ...]]:
        cursor = self.cursor
        cursor.expect("(")
        found: dict[str, tuple[Argument, ...]] = {}
        while not cursor.peek(")"):
            at = cursor.space()
            name = cursor.expect_name("the name of a parameter")
            if name in found:
                cursor.refuse(f"parameter '{name}' is bound twice", at)
            cursor.expect("=")
            found[name] = self.bound(scope)
            if not cursor.accept(","):
                break
        cursor.expect(")", "',' or ")
        return found

    def bound(self, scope: Scope) -> tuple[Argument, ...]:
        cursor = self.cursor
        if not cursor.accept("("):
            return (self.argument(scope),)
        found = []
        while not cursor.peek(")"):
            found.append(self.argument(scope))
            if not cursor.accept(","):
                break
        cursor.expect(")", "',' or ")
        return tuple(found)

    def argument(self, scope: Scope) -> Argument:
        cursor = self.cursor
        at = cursor.space()
        if _LITERAL.match(cursor.text, at):
            return parse_literal(cursor, self.weights)
        return scope.use(cursor, cursor.expect_name("a value"), at)

    def attributes(self) -> dict[str, Literal]:
        """`[name = literal, ..]`, or nothing."""
        cursor = self.cursor
        found: dict[str, Literal] = {}
        if not cursor.accept("["):
            return found
        while not cursor.peek("]"):
            at = cursor.space()
            name = cursor.expect_name("the name of an attribute")
            if name in found:
                cursor.refuse(f"attribute '{name}' is set twice", at)
            cursor.expect("=")
            found[name] = parse_literal(cursor, self.weights)
            if not cursor.accept(","):
                break
        cursor.expect("]", "',' or ")
        return found

    def blocks(self, scope: Scope, depth: int) -> tuple[Block, ...]:
        cursor = self.cursor
        found: list[Block] = []
        while cursor.peek("(" if not found else ","):
            if found:
                cursor.expect(",")
            if depth >= _DEEPEST:
                cursor.refuse(f"blocks are nested more than {_DEEPEST} levels deep", cursor.at)
            inner = Scope(scope.visible)
            inputs = self.inputs(inner)
            found.append(self.body(inputs, inner, depth + 1))
        return tuple(found)

    def value(self, scope: Scope) -> Value:
        value, at = self.named()
        self.define(scope, value, at)
        return value

    def named(self) -> tuple[Value, int]:
        """`type name`."""
        kind = parse_type(self.cursor)
        at = self.cursor.space()
        return Value(self.cursor.expect_name("a name"), kind), at
