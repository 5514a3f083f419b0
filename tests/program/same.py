"""Same: whether two programs are equal, values bit for bit."""

from __future__ import annotations

import numpy as np

from pippin.program import Literal


def assert_same_program(found, expected):
    assert found.functions.keys() == expected.functions.keys() and found.version == expected.version
    assert_same_literals(found.attributes, expected.attributes, "the program")
    for name, function in expected.functions.items():
        other = found.functions[name]
        assert (other.name, other.opset, other.inputs) == (function.name, function.opset, function.inputs)
        assert_same_literals(other.attributes, function.attributes, name)
        assert_same_block(other.block, function.block)


def assert_same_block(found, expected):
    assert found.inputs == expected.inputs and found.outputs == expected.outputs
    assert len(found.operations) == len(expected.operations)
    for one, other in zip(found.operations, expected.operations, strict=True):
        where = str(other)
        assert (one.kind, one.outputs) == (other.kind, other.outputs), where
        assert one.inputs.keys() == other.inputs.keys(), where
        for parameter, bound in other.inputs.items():
            assert len(one.inputs[parameter]) == len(bound), where
            for a, b in zip(one.inputs[parameter], bound, strict=True):
                if isinstance(b, Literal):
                    assert_same_literal(a, b, where)
                else:
                    assert a == b, where
        assert_same_literals(one.attributes, other.attributes, where)
        assert len(one.blocks) == len(other.blocks), where
        for a, b in zip(one.blocks, other.blocks, strict=True):
            assert_same_block(a, b)


def assert_same_literals(found, expected, where):
    assert found.keys() == expected.keys(), where
    for name, literal in expected.items():
        assert_same_literal(found[name], literal, f"{where} {name}")


def assert_same_literal(found, expected, where=""):
    assert isinstance(found, Literal) and found.type == expected.type, where
    assert (found.file, found.offset) == (expected.file, expected.offset), where
    if expected.file is None:  # else the same bytes of the same file
        assert_same_value(found.value, expected.value, where)


def assert_same_value(found, expected, where=""):
    assert type(found) is type(expected), (where, found, expected)
    if isinstance(expected, np.ndarray):
        assert found.shape == expected.shape and found.dtype == expected.dtype, where
        if expected.dtype == object:
            assert found.tolist() == expected.tolist(), where
        else:
            assert found.tobytes() == expected.tobytes(), where
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for a, b in zip(found, expected, strict=True):
            assert_same_value(a, b, where)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_same_value(found[key], value, where)
    else:
        assert found == expected, where
