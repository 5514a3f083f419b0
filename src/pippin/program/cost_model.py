"""Cost model: estimates the relative cost of operations from their declared sizes.

A roofline with one machine-independent ratio: the cost is arithmetic or memory traffic, whichever takes longer. Only
the proportions between operations of one model are meaningful.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ..types import StateType, TensorType, ValueType
from .ir import Argument, Function, Operation

# Multiply-adds per byte of memory traffic on a CPU core; the same order of magnitude everywhere.
_ARITHMETIC_PER_BYTE = 4.0
# Assumed size of an axis that is only known at prediction time.
_UNKNOWN = 16


def relative_costs(function: Function) -> dict[int, float]:
    """The share of each operation in the total cost, 0 to 1, by `id(operation)`. Constants have no entry.

    Operations in nested blocks are counted as if the block ran once.
    """
    costs = {id(op): _cost(op) for op in function.block.walk() if not is_constant(op)}
    total = sum(costs.values()) or 1.0
    return {key: cost / total for key, cost in costs.items()}


def is_constant(operation: Operation) -> bool:
    """Whether the operation is computed before predictions: a const or a compressed weight."""
    return operation.kind == "const" or operation.kind.startswith("constexpr_")


def _cost(operation: Operation) -> float:
    arguments = [argument for bound in operation.inputs.values() for argument in bound]
    moved = sum(_bytes(a.type) for a in arguments) + sum(_bytes(o.type) for o in operation.outputs)
    arithmetic = _ARITHMETIC.get(operation.kind, _elementwise)(operation)
    return max(arithmetic / _ARITHMETIC_PER_BYTE, moved)


def _elementwise(operation: Operation) -> float:
    return sum(_elements(output.type) for output in operation.outputs)


def _convolution(operation: Operation) -> float:
    """Each output element takes one multiply-add per kernel element and input channel of its group."""
    weight = _shape(operation.inputs["weight"][0])
    return _elementwise(operation) * math.prod(weight[1:])


def _transposed(operation: Operation) -> float:
    """Each input element is multiplied with the whole kernel of its channel."""
    weight = _shape(operation.inputs["weight"][0])
    return _elements(operation.inputs["x"][0].type) * math.prod(weight[1:])


def _product(operation: Operation) -> float:
    return _elementwise(operation) * (_shape(operation.inputs["x"][0])[-1:] or (1,))[0]


def _attention(operation: Operation) -> float:
    query, key = _shape(operation.inputs["query"][0]), _shape(operation.inputs["key"][0])
    return 2.0 * math.prod(query) * key[-2]


def _recurrent(operation: Operation) -> float:
    """Each step multiplies the input and the hidden state by the weights of all gates."""
    steps = math.prod(_shape(operation.inputs["x"][0])[:2])
    weights = [_elements(b[0].type) for name, b in operation.inputs.items() if name.startswith("weight")]
    return float(steps * sum(weights))


_ARITHMETIC: Mapping[str, Callable[[Operation], float]] = {
    "conv": _convolution,
    "conv_quantized": _convolution,
    "conv_transpose": _transposed,
    "linear": _product,
    "matmul": _product,
    "scaled_dot_product_attention": _attention,
    "lstm": _recurrent,
    "gru": _recurrent,
    "rnn": _recurrent,
}


def _tensor(kind: ValueType) -> TensorType | None:
    kind = kind.wrapped if isinstance(kind, StateType) else kind
    return kind if isinstance(kind, TensorType) else None


def _shape(argument: Argument) -> tuple[int, ...]:
    tensor = _tensor(argument.type)
    return tuple(_UNKNOWN if d is None else d for d in (tensor.shape or ())) if tensor else ()


def _elements(kind: ValueType) -> int:
    tensor = _tensor(kind)
    return math.prod(_UNKNOWN if d is None else d for d in tensor.shape or ()) if tensor else 0


def _bytes(kind: ValueType) -> float:
    tensor = _tensor(kind)
    return _elements(kind) * tensor.dtype.bits / 8 if tensor else 0.0
