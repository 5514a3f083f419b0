"""Builder: walks the blocks of a MIL function; each operation's lowering emits its ONNX nodes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import PippinError, ProgramError, UnsupportedOperationError
from ..program.ir import Argument, Block, Function, Literal, Operation, Value
from ..support.boundary import described
from ..types import DataType, Shape, StateType, TensorType
from . import limits
from .held_states import Held, held, materialized
from .index_checks import CheckedGraph
from .lowered_model import Check
from .onnx_builder import Tensor
from .op_registry import LOWERINGS, Entry
from .regions import Bounds


@dataclass(frozen=True, slots=True)
class State:
    """A state bound to a MIL name. Its current tensor is `Builder.states[name]`."""

    name: str
    type: TensorType


@dataclass(frozen=True, slots=True)
class Classification:
    """The result of `classify`, left to the decoder: strings and dictionaries do not pass through an engine."""

    probabilities: Tensor
    classes: tuple[Any, ...]
    outputs: tuple[str, ...]
    """MIL names of the class label and the probability dictionary."""


# Operations that return some of their operands, or what float16 holds exactly if it holds the operands.
_EXACT = frozenset({
    "abs", "ceil", "clip", "concat", "cond", "expand_dims", "floor", "gather", "gather_along_axis", "gather_nd",
    "identity", "list_gather", "list_read", "max_pool", "maximum", "minimum", "read_state", "reduce_max", "reduce_min",
    "relu", "relu6", "reshape", "reshape_like", "reverse", "reverse_sequence", "round", "select", "sign",
    "slice_by_index", "slice_by_size", "split", "squeeze", "stack", "tile", "transpose", "while_loop",
})  # fmt: skip
# Operations whose lowerings take a held state, and the arguments that may be one; all others get a tensor.
_HOLD = frozenset({
    "cast", "identity", "read_state", "scatter", "scatter_nd", "slice_by_index", "slice_by_size", "slice_update",
    "split", "write_state",
})  # fmt: skip
_HELD = frozenset({"data", "input", "x"})


class Builder(CheckedGraph):
    """A Graph built from a MIL function. `op` is the operation being lowered.

    With `rounds`, the result of every float16 operation is rounded to float16, whatever type it is computed in.
    """

    lowerings: Mapping[str, Entry] = LOWERINGS
    unknown = "unknown MIL operation ('pippin ops' lists the known ones)"
    holding = _HOLD
    exact = _EXACT

    def __init__(self, function: Function, float16: np.dtype[Any] | type = np.float32, rounds: bool = False) -> None:
        super().__init__(float16)
        self.rounds = rounds
        self.function = function
        self.op: Operation = Operation("", {}, ())
        self.states: dict[str, Tensor | Held] = {}
        self.written: set[str] = set()
        self.classification: Classification | None = None
        self.fixed_lists: set[str] = set()
        """Names of Tensors that are lists of a fixed length."""
        self.computed: dict[str, Callable[[], np.ndarray]] = {}
        """Values, by name, of Tensors computed from constants only, for operations that need them now."""
        self.sparse_integers: dict[int, Any] = {}
        """Sparse scaled integers, by the identity of their numbers (`ops/constexpr_ops.py`)."""
        self.checks: list[Check] = []
        self.check_outputs: list[Tensor] = []
        """What the graph returns for `checks`."""
        self.bounds = Bounds(self)
        self.states_after: dict[int, tuple[Any, Tensor]] = {}
        """Whole states after some of their updates, by the last one."""
        self.scope: dict[str, Any] = {}
        """The values that are defined where the lowering is, by their MIL names."""
        self._whole: dict[int, tuple[Held, Tensor]] = {}
        self._returned_bounds: dict[str, Tensor] = {}

    @property
    def where(self) -> str:
        return str(self.op)

    @property
    def opset(self) -> int:
        """The iOS release of the function's operation set: 15 to 18 and above."""
        digits = "".join(filter(str.isdigit, self.function.opset)) or "0"
        return int(digits) if self.function.opset.lower().startswith("ios") else int(digits) + 10

    def dtype(self, dtype: DataType) -> np.dtype[Any]:
        """The element type used to compute values of a MIL type."""
        if dtype in (DataType.FLOAT16, DataType.BFLOAT16):
            return self.float16
        return dtype.numpy

    def input(self, value: Value) -> Tensor:
        """The graph input for a function input."""
        kind = value.type.wrapped if isinstance(value.type, StateType) else value.type
        if not isinstance(kind, TensorType):
            raise UnsupportedOperationError(f"the input '{value.name}' must be a tensor, got {value.type}")
        limits.tensor(kind.shape)
        tensor = Tensor(value.name, self.dtype(kind.dtype), kind.shape)
        if isinstance(value.type, StateType):
            self.states[value.name] = held(value.name, tensor)
            self.scope[value.name] = State(value.name, kind)
        else:
            self.scope[value.name] = self._rounded(tensor, kind.dtype)
        return tensor

    def refuse(self, wrong: Tensor, values: Tensor, message: str) -> None:
        """Fail a prediction if any of `wrong` is true; the first such of `values` follows the message."""
        if self.nested:
            self.refuse_inside(wrong, values, message)
            return
        name = self.unique("check")
        found = self.Compress(self.Reshape(values, [-1]), self.Reshape(wrong, [-1]), axis=0)
        self.check_outputs.append(self.named(found, name))
        self.checks.append(Check(name, f"{self.op}: {message}", computed=True))

    def block(self, block: Block, *arguments: Any) -> tuple[Any, ...]:
        """Lower a block inline with these input values. Returns the values of its outputs."""
        if len(arguments) != len(block.inputs):
            raise ProgramError(f"the block takes {len(block.inputs)} values, got {len(arguments)}")
        outer, around = self.scope, (self.op, self.label)
        self.scope = {**outer, **{v.name: a for v, a in zip(block.inputs, arguments, strict=True)}}
        try:
            for operation in block.operations:
                self.lower(operation)
            return tuple(self.value_of(value) for value in block.outputs)
        finally:
            self.scope = outer
            self.op, self.label = around

    def lower(self, operation: Operation) -> None:
        """Emit the nodes of one operation and bind its results to their MIL names."""
        self.op, self.label = operation, operation.name
        entry = self.lowerings.get(operation.kind)
        if entry is None:
            raise UnsupportedOperationError(f"{operation}: {self.unknown}")
        try:
            if operation.blocks:
                self._let_go(operation)
            arguments = self._arguments(entry, operation)
            if entry.floats_only:
                _check_floats(arguments.get("x"))
            results = entry.function(self, **arguments)
        except PippinError as error:
            if str(error).startswith("["):
                raise
            located = type(error)(f"{operation}: {error}")
            located.__notes__ = getattr(error, "__notes__", [])
            raise located from None
        except Exception as error:
            # Lowerings do not check that arguments have the kinds the operation declares.
            raise ProgramError(f"{operation}: invalid arguments: {described(error)}") from error
        self.op, self.label = operation, operation.name
        self._bind(operation, results)

    def whole(self, value: Any) -> Any:
        """The value, as a tensor if it is a held state."""
        if not isinstance(value, Held):
            return value
        if self.nested:  # what a branch computes cannot be used outside
            return materialized(self, value)
        if id(value) not in self._whole:
            self._whole[id(value)] = value, materialized(self, value)
        return self._whole[id(value)][1]

    def state(self, name: str) -> Tensor:
        """The current value of a state."""
        value: Tensor = self.whole(self.states[name])
        return value

    def returned(self, bound: Tensor) -> Tensor:
        """The bound of a slice as a graph output."""
        if bound.name not in self._returned_bounds:
            name = self.unique("start")
            self._returned_bounds[bound.name] = self.named(bound, name)
        return self._returned_bounds[bound.name]

    def _let_go(self, operation: Operation) -> None:
        """Make tensors of the states that the blocks of an operation use: a branch or loop passes them on as such."""
        uses = {op.kind for block in operation.blocks for op in block.walk()}
        if uses & {"read_state", "write_state"}:
            for name, value in self.states.items():
                if isinstance(value, Held):
                    self.states[name] = self.state(name)
                    self.written.update([name] if value.updates else [])

    def _arguments(self, entry: Entry, operation: Operation) -> dict[str, Any]:
        # Constants and the operands of constexpr operations are stored as attributes.
        attributes = {name: (value,) for name, value in operation.attributes.items() if name in entry.parameters}
        given: dict[str, tuple[Argument, ...]] = {**attributes, **operation.inputs}
        arguments: dict[str, Any] = {}
        holds = operation.kind in self.holding and not self.nested
        for name, parameter in entry.parameters.items():
            bound = given.pop(name, None)
            value_of = self._value_of if holds and name in _HELD else self.value_of
            if entry.is_variadic(name):
                arguments[name] = tuple(value_of(argument) for argument in bound or ())
            elif bound:
                arguments[name] = value_of(bound[0])
            elif parameter.default is inspect.Parameter.empty:
                raise ProgramError(f"the argument '{name}' is missing")
        if given:
            known = ", ".join(entry.parameters)
            raise UnsupportedOperationError(f"unknown argument '{next(iter(given))}' (known: {known})")
        return arguments

    def value_of(self, argument: Argument) -> Any:
        """An argument as its lowering receives it: a Tensor, a constant or a State."""
        return self.whole(self._value_of(argument))

    def _value_of(self, argument: Argument) -> Any:
        if isinstance(argument, Literal):
            return _scalar(argument.value)
        if argument.name not in self.scope:
            raise ProgramError(f"'{argument.name}' is not defined in this scope")
        return self.scope[argument.name]

    def _bind(self, operation: Operation, results: Any) -> None:
        values = results if isinstance(results, tuple | list) else () if results is None else (results,)
        if len(values) != len(operation.outputs):
            raise ProgramError(
                f"{operation}: returns {len(values)} results, but the program names {len(operation.outputs)}"
            )
        for output, value in zip(operation.outputs, values, strict=True):
            self.scope[output.name] = self._declared(output, value)

    def _declared(self, output: Value, value: Any) -> Any:
        """A result cast to its declared element type, with unknown sizes taken from the declaration."""
        if not isinstance(output.type, TensorType) or isinstance(value, str):
            return value
        if output.type.dtype is DataType.STRING or not isinstance(value, Tensor | np.ndarray | np.generic):
            return value
        if not isinstance(value, Tensor) and value.dtype == np.float16 and output.type.dtype.is_float:
            return value  # a stored constant stays compact; the graph casts it where it is used
        if value.dtype.kind == "f" and output.type.dtype.is_integer:  # engines cut what no int32 is to either end
            value = LOWERINGS["cast"].function(self, value, output.type.dtype.value)
        value = self.cast(value, self.dtype(output.type.dtype))
        if self.op.kind not in self.exact:
            value = self._rounded(value, output.type.dtype)
        if isinstance(value, Tensor):
            return Tensor(value.name, value.dtype, _merge(value.shape, output.type.shape))
        return value

    def _rounded(self, value: Any, dtype: DataType) -> Any:
        """The value rounded to float16 if that is its declared type, and a float32 that should have been float16."""
        if not self.rounds or dtype is not DataType.FLOAT16:
            return value
        return self.cast(self.cast(value, np.float16), value.dtype)

    def choose(self, condition: Any, a: Any, b: Any) -> Any:
        """a where the condition holds, else b. ONNX Runtime has no boolean Where."""
        if a.dtype != np.bool_:
            return self.Where(condition, a, b)
        return self.Or(self.And(condition, a), self.And(self.Not(condition), b))


def _scalar(value: Any) -> Any:
    """A constant of shape () as a numpy scalar, so that it behaves like a number."""
    return value[()] if isinstance(value, np.ndarray) and value.shape == () else value


def _merge(found: Shape | None, declared: Shape | None) -> Shape | None:
    """The inferred shape, completed by the declared one."""
    if found is None or declared is None or len(found) != len(declared):
        return found if found is not None else declared
    return tuple(d if f is None else f for f, d in zip(found, declared, strict=True))


def _check_floats(x: Any) -> None:
    """MIL defines these operations for floats, and the engines compute integers in them differently."""
    if isinstance(x, Tensor | np.ndarray | np.generic) and x.dtype.kind in "iub":
        raise ProgramError(f"'x' must be a tensor of floats, got {x.dtype}")
