"""Elementwise unary: functions of one tensor, element by element."""

from __future__ import annotations

from ..registry import Lowering, lowers_table

_UNARY = {"abs": "Abs", "ceil": "Ceil", "exp": "Exp", "floor": "Floor", "sqrt": "Sqrt", "tanh": "Tanh"}


def _unary(onnx_kind: str) -> Lowering:
    return lambda g, x: g.emit(onnx_kind, x)


lowers_table(_UNARY, _unary)
