"""Index checks: every index that a graph uses lies on its axis, and -1 is the last element.

The engines disagree on an index outside: an error, 0, the first or last element, or whatever the memory held. So each
index is one of four things:

    constant          checked at load
    proven            its interval follows from the graph (`intervals.py`): ArgMax, TopK, NonZero, clip
    a graph input     checked before the prediction, which costs no node
    computed          clamped to the axis; the graph also returns it, and it is checked after the prediction

A branch or loop body may not run, or run many times. It returns two scalars for each check, an index and whether all
are inside, and a loop ends at the first one outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ..errors import ProgramError
from ..types import Shape
from .interval import EXACT, Interval
from .intervals import of_builder
from .lowered_model import IndexCheck
from .onnx_builder import Graph, Tensor, value_info

# Operators that only move elements.
_MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True, slots=True)
class _Code:
    """A check in a branch or loop body: two scalars."""

    index: Tensor
    """An index that is outside, if there is one."""
    inside: Tensor
    """Whether there is none."""
    check: IndexCheck

    @property
    def types(self) -> tuple[tuple[np.dtype[Any], Shape], ...]:
        return (self.index.dtype, ()), (self.inside.dtype, ())

    @property
    def nothing(self) -> tuple[np.ndarray, np.ndarray]:
        """What a body that does not run returns."""
        return np.zeros((), self.index.dtype), np.ones((), np.bool_)


class CheckedGraph(Graph):
    """A Graph whose operations may pass indices through `inside`."""

    def __init__(self, float16: np.dtype[Any] | type = np.float32) -> None:
        super().__init__(float16)
        self.first: set[str] = set()
        """Graph inputs that arrive as the caller gave them."""
        self.index_checks: list[IndexCheck] = []
        self.index_outputs: dict[str, Tensor] = {}
        """The values that the checks read after a prediction."""
        self._intervals = of_builder(self)
        self.casts: dict[str, Tensor] = {}
        """The floats that were cast to these integers in more than one node."""
        self.counted: dict[str, tuple[Tensor, int, int]] = {}
        """(turn, start, step) of the floats that a loop counts."""
        self._made: dict[Any, Any] = {}
        """The checked indices where the lowering is, by the indices and the axis."""
        self._codes: list[_Code] = []
        """The checks of the branch or loop body that is being lowered."""
        self._returned: dict[str, list[_Code]] = {}
        """The checks whose codes a finished body returns after its results."""

    @property
    def where(self) -> str:
        """What is being lowered, for messages."""
        return f"'{self.label}'"

    def interval(self, t: Tensor) -> Interval:
        """The numbers that a tensor can hold."""
        return self._intervals.of(t.name, t.dtype)

    def reshaped(self, x: Any, shape: Any, **how: Any) -> Tensor:
        """A Reshape. To a vector of a computed length it goes by way of a column, because OpenVINO does not compare
        that length with the elements that there are."""
        x = self.tensor(x)
        length = shape.static_shape if isinstance(shape, Tensor) else np.shape(shape)
        free = not isinstance(shape, Tensor) and (x.static_shape is not None or -1 in shape)
        if length != (1,) or free:
            found: Tensor = self.Reshape(x, shape, **how)
            return found
        ones = np.ones(1, np.int64)
        both = self.Concat(self.cast(shape, np.int64), ones, axis=0) if isinstance(shape, Tensor) else [*shape, 1]
        column = self.Reshape(x, both, **how)
        # Not to -1: ONNX Runtime makes one Reshape of the two, which must compare the length as well.
        vector: Tensor = self.Reshape(column, shape)
        return vector

    def declare(self, counters: Iterable[tuple[Tensor, tuple[int, int]]]) -> None:
        """Note the least and the greatest number of integers that the graph does not show."""
        for t, (low, high) in counters:
            self._intervals.values[t.name] = Interval(low, high, t.dtype)

    def inside(self, indices: Any, sizes: Any, negative: bool = True, lengths: bool = False) -> Any:
        """The indices (int32 or int64), none of them outside; `sizes` (int64) has one size, or one for each number of
        an index, which are then on the last axis. Without `negative`, they count from 0 only. `lengths` are numbers of
        elements, which messages then call them; their `sizes` are one more than the axis has.

        Raises ProgramError for a constant index outside.
        """
        if isinstance(indices, Tensor) and indices.name in self.initializers:
            indices = self.initializers[indices.name]
        indices = self.cast(indices, _wide(indices.dtype if isinstance(indices, Tensor) else np.asarray(indices).dtype))
        if isinstance(sizes, Tensor):
            computed = IndexCheck("", self.where, (), negative, sizes_from=sizes.name, lengths=lengths)
            if isinstance(indices, Tensor):
                return self._once(indices, computed, lambda: self._inside_computed(indices, sizes, computed))
            return self._constant_inside(indices, sizes, computed)
        check = IndexCheck("", self.where, tuple(sizes.tolist()), negative, lengths=lengths)
        if isinstance(indices, Tensor):
            return self._once(indices, check, lambda: self._inside(indices, sizes, check))
        wrong = replace(check, given=tuple(indices.reshape(-1).tolist())).error({})
        if wrong is not None:
            raise ProgramError(str(wrong).removeprefix(f"{self.where}: "))
        return indices

    def _once(self, indices: Tensor, check: IndexCheck, make: Callable[[], Any]) -> Any:
        """One check for all operations that use the same indices of the same axis."""
        key = (indices.name, check.sizes, check.sizes_from, check.negative, check.lengths)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _inside(self, indices: Tensor, sizes: np.ndarray, check: IndexCheck) -> Any:
        indices, negative = self._exact_counter(indices, check), check.negative
        if self.interval(indices).inside(-sizes.min() if negative else 0, sizes.min() - 1):
            self._number_check(indices, check)
            return indices
        if not self.nested and self._checked_before(indices, check):
            return indices
        sizes = sizes.astype(indices.dtype)[0] if len(sizes) == 1 else sizes.astype(indices.dtype)
        clamped = self.Max(self.Min(indices, sizes - 1), -sizes if negative else 0 * sizes)
        if self.nested:
            self._codes.append(self._nested_code(indices, clamped, sizes, check))
        else:
            self._after(indices, check)
        return clamped

    def _exact_counter(self, indices: Tensor, check: IndexCheck) -> Tensor:
        """An index that a loop counts in floats, from the number of the turn: no engine's 16-bit floats round that."""
        source, _ = self._source(indices, check)
        if source.name not in self.counted or indices.static_shape not in ((), (1,)):
            return indices
        turn, start, step = self.counted[source.name]
        count = self.Add(self.Mul(turn, step) if step != 1 else turn, start) if (start, step) != (0, 1) else turn
        found = self.Reshape(self.cast(count, indices.dtype), np.array(indices.static_shape, np.int64))
        ends = self.interval(source)
        self.declare([(found, (int(ends.lo), int(ends.hi)))])
        return found

    def _inside_computed(self, indices: Tensor, sizes: Tensor, check: IndexCheck) -> Any:
        """`inside` for sizes that only the prediction knows."""
        known, sizes = sizes, self.cast(sizes, indices.dtype)
        if indices.shape == ():
            sizes = self.Squeeze(sizes, [0])
        first = self.Neg(sizes) if check.negative else np.zeros((), sizes.dtype)
        # In this order, index 0 of an empty axis becomes -1 and is seen to be outside.
        clamped = self.Min(self.Max(indices, first), self.Sub(sizes, 1))
        if self.nested:
            self._codes.append(self._nested_code(indices, clamped, sizes, replace(check, sizes_from="")))
        else:
            self.index_outputs.setdefault(known.name, known)
            self._after(indices, check)
        return clamped

    def _constant_inside(self, indices: np.ndarray, sizes: Tensor, check: IndexCheck) -> Any:
        """Constant indices are inside if the axis is long enough; 0 and -1 are, unless it is empty."""
        if not indices.size:
            return indices
        columns = indices.reshape(-1, sizes.static_size(0)).astype(np.int64)
        least, greatest = columns.min(axis=0), columns.max(axis=0)
        if self.nested:
            enough = self.GreaterOrEqual(sizes, np.maximum(greatest + 1, -least))
            worst = np.where(greatest + 1 >= -least, greatest, least)
            self._codes.append(self._code(self.tensor(worst), enough, replace(check, sizes_from="")))
        else:
            self.index_outputs.setdefault(sizes.name, sizes)
            self.index_checks.append(replace(check, given=(*least.tolist(), *greatest.tolist())))
        if check.negative and least.min() >= -1 and greatest.max() <= 0:
            return indices
        if indices.shape == ():
            sizes = self.Squeeze(sizes, [0])
        clamped = self.tensor(indices, np.int64)
        if (greatest > 0).any():
            clamped = self.Min(clamped, self.Sub(sizes, 1))
        return self.Max(clamped, self.Neg(sizes)) if (least < 0).any() else clamped

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
            if found.name in self.casts:
                before = self.casts[found.name]
            elif kind == "Where" and single and not added and found.dtype.kind == "i":
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

    def _number_check(self, indices: Tensor, check: IndexCheck) -> None:
        """Indices that are inside unless they were NaN, which a cast made 0: their sum tells."""
        source, _ = self._source(indices, check)
        if source.dtype.kind != "f" or not self.interval(source).nan:
            return
        total = self.ReduceSum(self.cast(source, np.float32), keepdims=0)
        if self.nested:
            self._codes.append(_Code(total, self.Less(total, np.float32(np.inf)), check))
        else:
            self.index_outputs[total.name] = total
            self.index_checks.append(replace(check, tensor=total.name, total=True))

    def _nested_code(self, indices: Tensor, clamped: Tensor, sizes: Any, check: IndexCheck) -> _Code:
        """The check of computed indices: a float is checked as a float, if it has all sizes exactly."""
        source, added = self._source(indices, check)
        if source.dtype.kind != "f" or max(check.sizes, default=0) + added >= EXACT:
            return self._code(indices, self.Equal(indices, clamped), check)
        source, end = self.cast(source, np.float32), self.cast(sizes, np.float32)
        # A float is cut to an integer. Every comparison with NaN is false, but OpenVINO's `greater` is "not less".
        below = np.float32(-1) - np.float32(added)
        if check.negative:
            below = self.Sub(below, end) if isinstance(end, Tensor) else below - end
        above = self.Less(below, source)
        return self._code(source, self.And(above, self.Less(source, end)), check)

    def _code(self, indices: Tensor, inside: Tensor, check: IndexCheck) -> _Code:
        """The check of these indices, of which those are right where `inside` holds."""
        if indices.shape == () and inside.shape == ():
            return _Code(indices, inside, check)
        if indices.static_shape is not None and np.prod(indices.static_shape) == 1:
            scalar = np.zeros(0, np.int64)
            return _Code(self.Reshape(indices, scalar), self.Reshape(inside, scalar), check)
        wrong = self.Concat(self.Reshape(self.cast(self.Not(inside), np.int32), [-1]), np.zeros(1, np.int32), axis=0)
        known = self.Concat(self.Reshape(indices, [-1]), np.zeros(1, indices.dtype), axis=0)
        place = self.ArgMax(wrong, axis=0, keepdims=0)
        return _Code(self.Gather(known, place), self.Equal(self.Gather(wrong, place), 0), check)

    # Branches and loops

    def refuse_inside(self, wrong: Tensor, values: Tensor, message: str) -> None:
        """Fail a prediction if any of `wrong` is true in this branch or loop body; one of these values follows the
        message."""
        self._codes.append(self._code(values, self.Not(wrong), IndexCheck("", self.where, message=message)))

    def subgraph(self, *arguments: Any, **keywords: Any) -> onnx.GraphProto:
        around, self._codes = self._codes, []
        made, self._made = self._made, dict(self._made)
        try:
            return super().subgraph(*arguments, **keywords)
        finally:
            self._codes, self._made = around, made

    def returns_checks(self, body: onnx.GraphProto) -> bool:
        """Whether a finished body checks anything in each run."""
        return body.name in self._returned

    def complete(self, name: str, arguments: list[Tensor], results: list[Tensor]) -> None:
        """Return the codes after the results. A loop ends at the first index outside."""
        loops, made = bool(arguments), {output for node in self.nodes for output in node.output}
        for code in self._codes:
            index, inside = (t if t.name in made else self.Identity(t) for t in (code.index, code.inside))
            if loops:
                before, was = (Tensor(self.unique("in"), dtype, ()) for dtype, _ in code.types)
                arguments += [before, was]
                # It was: else the loop had ended. But OpenVINO loses what goes into a body that does not use it.
                inside = self.And(inside, was)
                results[0] = self.And(results[0], inside)
            results += [index, inside]
        if self._codes:
            self._returned[name] = self._codes

    def emit(self, kind: str, *inputs: Any, outputs: int | None = None, types: Any = None, **attributes: Any) -> Any:
        bodies = [value for value in attributes.values() if isinstance(value, onnx.GraphProto)]
        returned = [self._returned.pop(body.name, []) for body in bodies]
        codes = [code for each in returned for code in each]
        if not codes:
            return super().emit(kind, *inputs, outputs=outputs, types=types, **attributes)
        if kind == "If":
            self._balance(bodies, returned)
        own = outputs or 1
        initial = [value for code in codes for value in code.nothing] if kind == "Loop" else []
        types = [*types, *(each for code in codes for each in code.types)]
        results = super().emit(kind, *inputs, *initial, outputs=len(types), types=types, **attributes)
        for code, index, inside in zip(codes, results[own::2], results[own + 1 :: 2], strict=True):
            self._arrived(_Code(index, inside, code.check))
        return results[:own] if own > 1 else results[0]

    def _balance(self, branches: Sequence[onnx.GraphProto], returned: Sequence[Sequence[_Code]]) -> None:
        """Both branches return the codes of the first, then those of the second, and nothing for those of the other."""
        for number, branch in enumerate(branches):
            own = list(branch.output[len(branch.output) - 2 * len(returned[number]) :])
            del branch.output[len(branch.output) - len(own) :]
            absent = []
            for value in (value for code in returned[1 - number] for value in code.nothing):
                missing = Tensor(self.unique("Identity"), value.dtype, ())
                node = helper.make_node("Identity", [self.tensor(value).name], [missing.name], name=missing.name)
                branch.node.append(node)
                absent.append(value_info(missing))
            branch.output.extend([*absent, *own] if number else [*own, *absent])

    def _arrived(self, code: _Code) -> None:
        """What a branch or loop returned."""
        if self.nested:
            self._codes.append(code)
            return
        self.index_outputs |= {t.name: t for t in (code.index, code.inside)}
        self.index_checks.append(replace(code.check, tensor=code.index.name, carried=code.inside.name))


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type for indices: int32 and int64 stay as they are."""
    return dtype if dtype in (np.int32, np.int64) else np.dtype(np.int64 if dtype.itemsize > 2 else np.int32)


def _keeps(narrow: np.dtype[Any], wide: np.dtype[Any]) -> bool:
    return narrow.kind in "iuf" and np.can_cast(narrow, wide, "safe") and (narrow.kind == "f") == (wide.kind == "f")
