"""Index checks: every index that a graph uses lies on its axis, and -1 is the last element.

The engines disagree on an index outside: an error, 0, the first or last element, or whatever the memory held. So each
index is one of four things:

    constant          checked at load
    proven            its range follows from the graph (`value_ranges.py`): ArgMax, TopK, NonZero, clip
    a graph input     checked before the prediction, which costs no node
    computed          clamped to the axis; the graph also returns it, and it is checked after the prediction

A branch or loop body may not run, or run many times. It returns one number for each check, the first index outside or
0, and a loop ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ..errors import ProgramError
from .lowered_model import IndexCheck
from .onnx_builder import Graph, Tensor, value_info
from .value_ranges import value_range

# Operators that only move elements.
_MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True, slots=True)
class _Code:
    """A check in a branch or loop body."""

    first: Tensor
    """The first index outside, or 0: a scalar."""
    none: Tensor
    """Whether it is 0."""
    check: IndexCheck

    @property
    def zero(self) -> np.ndarray:
        return np.zeros((), self.first.dtype)


class CheckedGraph(Graph):
    """A Graph whose operations may pass indices through `inside`."""

    def __init__(self, float16: np.dtype[Any] | type = np.float32) -> None:
        super().__init__(float16)
        self.first: set[str] = set()
        """Graph inputs that arrive as the caller gave them."""
        self.index_checks: list[IndexCheck] = []
        self.index_outputs: dict[str, Tensor] = {}
        """The values that the checks read after a prediction."""
        self._codes: list[_Code] = []
        """The checks of the branch or loop body that is being lowered."""
        self._returned: dict[str, list[_Code]] = {}
        """The checks whose codes a finished body returns after its results."""

    @property
    def where(self) -> str:
        """What is being lowered, for messages."""
        return f"'{self.label}'"

    def inside(self, indices: Any, sizes: Any, negative: bool = True) -> Any:
        """The indices (int32 or int64), none of them outside; `sizes` (int64) has one size, or one for each number of
        an index, which are then on the last axis. Without `negative`, they count from 0 only.

        Raises ProgramError for a constant index outside.
        """
        if isinstance(indices, Tensor) and indices.name in self.initializers:
            indices = self.initializers[indices.name]
        indices = self.cast(indices, _wide(indices.dtype if isinstance(indices, Tensor) else np.asarray(indices).dtype))
        if isinstance(sizes, Tensor):
            return self._inside_computed(indices, sizes, negative)
        check = IndexCheck("", self.where, tuple(sizes.tolist()), negative)
        if not isinstance(indices, Tensor):
            wrong = replace(check, given=tuple(indices.reshape(-1).tolist())).error({})
            if wrong is not None:
                raise ProgramError(str(wrong).removeprefix(f"{self.where}: "))
            return indices
        low, high = value_range(self, indices) or (-np.inf, np.inf)
        if (-sizes.min() if negative else 0) <= low and high < sizes.min():
            return indices
        if not self.nested and self._checked_before(indices, check):
            return indices
        sizes = sizes.astype(indices.dtype)[0] if len(sizes) == 1 else sizes.astype(indices.dtype)
        clamped = self.Max(self.Min(indices, sizes - 1), -sizes if negative else 0 * sizes)
        if self.nested:
            self._codes.append(self._code(indices, clamped, sizes, check))
        else:
            self._after(indices, check)
        return clamped

    def _inside_computed(self, indices: Any, sizes: Tensor, negative: bool) -> Any:
        """`inside` for sizes that only the prediction knows."""
        check = IndexCheck("", self.where, (), negative, sizes_from=sizes.name)
        known, constant = sizes, not isinstance(indices, Tensor)
        if not constant:
            sizes = self.cast(sizes, indices.dtype)
        elif not indices.size:
            return indices
        if constant and not self.nested:
            self.index_outputs.setdefault(known.name, known)
            columns = indices.reshape(-1, sizes.static_size(0))
            given = np.concatenate([columns.min(axis=0), columns.max(axis=0)])
            self.index_checks.append(replace(check, given=tuple(given.tolist())))
        indices = self.tensor(indices, sizes.dtype)
        if indices.shape == ():
            sizes = self.Squeeze(sizes, [0])
        first = self.Neg(sizes) if negative else np.zeros((), sizes.dtype)
        clamped = self.Max(self.Min(indices, self.Sub(sizes, 1)), first)
        if self.nested:
            self._codes.append(self._code(indices, clamped, sizes, replace(check, sizes_from="")))
        elif not constant:
            self.index_outputs.setdefault(known.name, known)
            self._after(indices, check)
        return clamped

    def _checked_before(self, indices: Tensor, check: IndexCheck) -> bool:
        """Check the graph input that these indices are, if they are one."""
        source, added = self._source(indices, check)
        found = replace(check, tensor=source.name, added=added, before=True)
        if source.name not in self.first:
            return False
        if found not in self.index_checks:
            self.index_checks.append(found)
        return True

    def _after(self, indices: Tensor, check: IndexCheck) -> None:
        source, added = self._source(indices, check)
        if source.name not in self.makers:  # an output that is also an input confuses OpenVINO
            source = self.Identity(source)
        self.index_outputs.setdefault(source.name, source)
        self.index_checks.append(replace(check, tensor=source.name, added=added))

    def _source(self, indices: Tensor, check: IndexCheck) -> tuple[Tensor, int]:
        """The value that these indices were, before it was moved or cast, and what was then added if negative.

        A float is checked as a float, because the engines cast large ones and NaN differently.
        """
        found, added, single = indices, 0, len(check.sizes) == 1
        while (made := self.makers.get(found.name)) is not None and (before := made.operands[0]) is not None:
            kind = made.node.op_type
            if kind == "Where" and single and not added and found.dtype.kind == "i":
                given, size = self._counted_from_end(made.operands)
                if given is None or size > check.sizes[0]:
                    break
                before, added = given, size
            elif kind == "Cast":
                if not (_keeps(before.dtype, found.dtype) or (before.dtype.kind == "f" and found.dtype.kind == "i")):
                    break
                if added and before.dtype.kind == "f":
                    break
            elif kind not in _MOVES or not single:
                break
            found = before
        return found, added

    def _counted_from_end(self, operands: Sequence[Tensor | None]) -> tuple[Tensor | None, int]:
        """i and n of Where(i >= 0, i, i + n): converters write it before operations that only count from 0."""
        condition, other = (self.makers.get(t.name) if t is not None else None for t in (operands[0], operands[2]))
        given = operands[1]
        if condition is None or other is None or given is None:
            return None, 0
        zero, size = (self._number(m.operands[-1]) for m in (condition, other))
        same = all(m.operands[0] is not None and m.operands[0].name == given.name for m in (condition, other))
        pattern = condition.node.op_type == "GreaterOrEqual" and other.node.op_type == "Add" and zero == 0
        return (given, size) if same and pattern and size is not None and size >= 0 else (None, 0)

    def _number(self, t: Tensor | None) -> int | None:
        array = self.initializers.get(t.name) if t is not None else None
        return int(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype.kind == "i" else None

    def _code(self, indices: Tensor, clamped: Tensor, sizes: Any, check: IndexCheck) -> _Code:
        same = self.Equal(indices, clamped)
        if isinstance(sizes, Tensor) or not np.all(sizes):  # an axis of size 0 has no index 0: report -1
            same = self.And(same, self.Greater(sizes, 0))
            indices = self.Where(self.Equal(indices, 0), -1, indices)
        first = self.Where(same, 0, indices)
        if first.shape == () and same.shape == ():
            return _Code(first, same, check)
        if first.static_shape is not None and np.prod(first.static_shape) == 1:
            first = self.Reshape(first, np.zeros(0, np.int64))
        else:
            flat = self.Concat(self.Reshape(first, [-1]), np.zeros(1, first.dtype), axis=0)
            high = self.ReduceMax(flat, keepdims=0)
            first = self.Where(self.Greater(high, 0), high, self.ReduceMin(flat, keepdims=0))
        return _Code(first, self.Equal(first, 0), check)

    # Branches and loops

    def subgraph(self, *arguments: Any, **keywords: Any) -> onnx.GraphProto:
        around, self._codes = self._codes, []
        try:
            return super().subgraph(*arguments, **keywords)
        finally:
            self._codes = around

    def complete(self, name: str, arguments: list[Tensor], results: list[Tensor]) -> None:
        """Return the codes after the results. A loop ends at the first index outside."""
        loops = bool(arguments)
        for code in self._codes:
            if loops:
                arguments.append(Tensor(self.unique("in"), code.first.dtype, ()))
                results[0] = self.And(results[0], code.none)
            results.append(code.first)
        self._returned |= {name: self._codes} if self._codes else {}

    def emit(self, kind: str, *inputs: Any, outputs: int | None = None, types: Any = None, **attributes: Any) -> Any:
        bodies = [value for value in attributes.values() if isinstance(value, onnx.GraphProto)]
        returned = [self._returned.pop(body.name, []) for body in bodies]
        codes = [code for each in returned for code in each]
        if not codes:
            return super().emit(kind, *inputs, outputs=outputs, types=types, **attributes)
        if kind == "If":
            self._balance(bodies, returned)
        own = outputs or 1
        zeros = [code.zero for code in codes] if kind == "Loop" else []
        types = [*types, *((code.first.dtype, ()) for code in codes)]
        results = super().emit(kind, *inputs, *zeros, outputs=own + len(codes), types=types, **attributes)
        for first, code in zip(results[own:], codes, strict=True):
            self._arrived(first, code.check)
        return results[:own] if own > 1 else results[0]

    def _balance(self, branches: Sequence[onnx.GraphProto], returned: Sequence[Sequence[_Code]]) -> None:
        """Both branches return the codes of the first, then those of the second: 0 for those of the other one."""
        for number, branch in enumerate(branches):
            own = list(branch.output[len(branch.output) - len(returned[number]) :])
            del branch.output[len(branch.output) - len(own) :]
            absent = []
            for code in returned[1 - number]:
                missing = Tensor(self.unique("Identity"), code.first.dtype, ())
                zero = self.tensor(code.zero).name
                branch.node.append(helper.make_node("Identity", [zero], [missing.name], name=missing.name))
                absent.append(value_info(missing))
            branch.output.extend([*absent, *own] if number else [*own, *absent])

    def _arrived(self, first: Tensor, check: IndexCheck) -> None:
        """A code that a branch or loop returned."""
        if self.nested:
            self._codes.append(_Code(first, self.Equal(first, 0), check))
            return
        self.index_outputs.setdefault(first.name, first)
        self.index_checks.append(replace(check, tensor=first.name, carried=True))


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type for indices: int32 and int64 stay as they are."""
    return dtype if dtype in (np.int32, np.int64) else np.dtype(np.int64 if dtype.itemsize > 2 else np.int32)


def _keeps(narrow: np.dtype[Any], wide: np.dtype[Any]) -> bool:
    return narrow.kind in "iuf" and np.can_cast(narrow, wide, "safe") and (narrow.kind == "f") == (wide.kind == "f")
