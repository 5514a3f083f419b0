"""ONNX Runtime, bound: small inputs and outputs in memory that is named to the library once, not at each prediction.

A small network takes 5 us in place of 6 (`bench/predict_overhead.py`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

# Up to so many bytes of inputs and outputs, copying them costs less than naming them anew.
_SMALL = 32 << 10
_DTYPES = {
    f"tensor({name})": np.dtype(dtype)
    for name, dtype in {
        "float": np.float32, "float16": np.float16, "double": np.float64, "bool": np.bool_, "int8": np.int8,
        "uint8": np.uint8, "int16": np.int16, "uint16": np.uint16, "int32": np.int32, "int64": np.int64,
    }.items()
}  # fmt: skip

_Fixed = tuple[str, tuple[int, ...], np.dtype[Any]]
# What the library runs, its inputs, and its outputs.
_Bound = tuple[Any, list[tuple[str, np.ndarray, tuple[int, ...], np.dtype[Any]]], list[tuple[str, np.ndarray]]]


class NotBound(Exception):
    """An output did not come into the memory that was named for it."""


def written(value: Any, own: np.ndarray) -> bool:
    """Whether an output of a run lies in this memory: one that is an input of the graph does not, whatever is bound."""
    return bool(value.data_ptr() == own.ctypes.data)


class BoundRuns:
    """Runs of one session whose inputs and outputs all have fixed shapes. Any thread may run it: what is bound serves
    one prediction at a time, and idle ones wait in a pool, which grows when all are busy."""

    def __init__(self, session: Any, inputs: list[_Fixed], outputs: list[_Fixed]) -> None:
        self._session = session
        self._run = getattr(session, "_sess", session).run_with_iobinding
        self._inputs, self._outputs = inputs, outputs
        self._idle: deque[_Bound] = deque()  # append and pop are atomic
        self.trusted = False
        """It has worked: what fails from now on is for the inputs' sake."""

    @classmethod
    def of(cls, session: Any) -> BoundRuns | None:
        """None where there is nothing to gain: large or flexible shapes, strings and sequences."""
        inputs, outputs = _fixed(session.get_inputs()), _fixed(session.get_outputs())
        if inputs is None or outputs is None:
            return None
        size = sum(math.prod(shape) * dtype.itemsize for _, shape, dtype in inputs + outputs)
        return cls(session, inputs, outputs) if 0 < size <= _SMALL else None

    def run(self, inputs: Mapping[str, np.ndarray], options: Any) -> dict[str, np.ndarray] | None:
        """New arrays; None where the inputs are not of the declared dtypes and shapes.

        Raises NotBound where the library leaves outputs elsewhere.
        """
        try:
            bound = self._idle.pop()
        except IndexError:
            bound = self._made()
        binding, takes, gives = bound
        for name, own, shape, dtype in takes:
            array = inputs[name]
            if array.shape != shape or array.dtype != dtype:
                self._idle.append(bound)
                return None
            own[...] = array
        self._run(binding, options)
        if not self.trusted:
            if not all(map(written, binding.get_outputs(), (own for _, own in gives))):
                raise NotBound
            self.trusted = True  # it is the graph that decides this
        values = {}
        for name, own in gives:  # a comprehension is a call more
            values[name] = own.copy()
        self._idle.append(bound)
        return values

    def _made(self) -> _Bound:
        binding = self._session.io_binding()
        takes = [(name, np.empty(shape, dtype), shape, dtype) for name, shape, dtype in self._inputs]
        gives = [(name, np.empty(shape, dtype)) for name, shape, dtype in self._outputs]
        for name, own, _, _ in takes:
            binding.bind_input(name, "cpu", 0, own.dtype, own.shape, own.ctypes.data)
        for name, own in gives:
            binding.bind_output(name, "cpu", 0, own.dtype, own.shape, own.ctypes.data)
        return getattr(binding, "_iobinding", binding), takes, gives


def _fixed(values: list[Any]) -> list[_Fixed] | None:
    found = []
    for value in values:
        dtype = _DTYPES.get(value.type)
        if dtype is None or not all(isinstance(size, int) and size > 0 for size in value.shape):
            return None
        found.append((value.name, tuple(value.shape), dtype))
    return found
