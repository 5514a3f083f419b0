"""Failure conditions: evaluates `prediction.median > 1.1 * baseline` on the figures of a report, without `eval`.

figures     prediction.median, load.cached.median, load.uncached.first, compilation.average, throughput[4],
            memory.peak, memory.steady, signal_to_noise, size (seconds, bytes, dB, predictions a second)
baseline    the compared figure in the saved report; baseline.prediction.minimum: another figure of it
units       us, ms, s, KB, MB, GB: prediction.median > 5 * ms
operators   + - * / < <= > >= == != and or not ( )
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ReportError

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_LONGEST = 1000
"""Maximum characters in a condition."""


class Condition:
    """A parsed condition. Raises ReportError if the text is not a condition."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            if len(text) > _LONGEST:
                raise SyntaxError("too long")
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise self._wrong("it cannot be parsed") from None
        if not isinstance(self._tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
            raise self._wrong("it must contain a comparison")
        for node in ast.walk(self._tree):
            self._check(node)

    def holds(self, figures: Mapping[str, float], baseline: Mapping[str, float] | None = None) -> bool:
        """Whether the condition holds. Raises ReportError for an unknown figure."""
        try:
            return bool(self._value(self._tree, figures, baseline, None))
        except ZeroDivisionError:
            raise self._wrong("it divides by zero") from None

    def _value(
        self, node: ast.expr, figures: Mapping[str, float], baseline: Mapping[str, float] | None, compared: str | None
    ) -> Any:
        """`compared` is the figure that a bare `baseline` refers to."""

        def of(inner: ast.expr, about: str | None = compared) -> Any:
            return self._value(inner, figures, baseline, about)

        match node:
            case ast.Constant(value=value):
                return value
            case ast.BoolOp(op=ast.And()):
                return all(of(value) for value in node.values)
            case ast.BoolOp():
                return any(of(value) for value in node.values)
            case ast.UnaryOp(op=ast.Not()):
                return not of(node.operand)
            case ast.UnaryOp(op=ast.USub()):
                return -of(node.operand)
            case ast.BinOp():
                return _ARITHMETIC[type(node.op)](of(node.left), of(node.right))
            case ast.Compare():
                about = next((path for path in map(_path, ast.walk(node)) if path in figures), compared)
                sides = [of(side, about) for side in (node.left, *node.comparators)]
                pairs = zip(node.ops, sides, sides[1:], strict=False)
                return all(_COMPARISONS[type(op)](left, right) for op, left, right in pairs)
        path = _path(node)
        assert path is not None
        if path in _UNITS:
            return _UNITS[path]
        if path.partition(".")[0] == "baseline":
            return self._of_baseline(path.partition(".")[2] or compared, baseline)
        return self._figure(path, figures, "the report")

    def _of_baseline(self, path: str | None, baseline: Mapping[str, float] | None) -> float:
        if baseline is None:
            raise self._wrong("no baseline for this model (pass a saved report with --baseline FILE)")
        if path is None:
            raise self._wrong(
                "bare 'baseline' needs a figure to compare with; write baseline.prediction.median, for example"
            )
        return self._figure(path, baseline, "the baseline")

    def _figure(self, path: str, figures: Mapping[str, float], source: str) -> float:
        if path not in figures:
            raise self._wrong(f"{source} has no '{path}' (available: {', '.join(figures)})")
        return figures[path]

    def _check(self, node: ast.AST) -> None:
        """Reject everything that `_value` does not handle."""
        match node:
            case ast.Constant(value=bool() | complex() | str() | bytes() | None):
                raise self._wrong(f"{node.value!r} is not a number")
            case ast.Subscript(slice=ast.Constant(value=int())) | ast.Constant() | ast.Name() | ast.Attribute():
                return
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                return
            case ast.Compare() if all(type(op) in _COMPARISONS for op in node.ops):
                return
            case ast.UnaryOp(op=ast.Not() | ast.USub()) | ast.BoolOp():
                return
            case ast.operator() | ast.cmpop() | ast.boolop() | ast.unaryop() | ast.expr_context():
                return
        raise self._wrong(f"{type(node).__name__} is not supported")

    def _wrong(self, why: str) -> ReportError:
        return ReportError(f"the condition '{self.text[:200]}': {why}")


def _path(node: ast.AST) -> str | None:
    """`load.cached.median` or `throughput[4]` as written; None if the node is not a name."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            before = _path(node.value)
            return None if before is None else f"{before}.{node.attr}"
        case ast.Subscript(value=inner, slice=ast.Constant(value=int(index))):
            before = _path(inner)
            return None if before is None else f"{before}[{index}]"
    return None
