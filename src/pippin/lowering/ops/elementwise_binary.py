"""Elementwise binary: functions of two tensors, broadcast against each other."""

from __future__ import annotations

from ..registry import Lowering, lowers_table

_BINARY = {"add": "Add", "mul": "Mul", "sub": "Sub"}


def _binary(onnx_kind: str) -> Lowering:
    return lambda g, x, y: g.emit(onnx_kind, x, y)


lowers_table(_BINARY, _binary)
