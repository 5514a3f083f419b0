"""Network: walks the layers of a neural network; each calls a few MIL lowerings, which emit its ONNX nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import PippinError, ProgramError, UnsupportedOperationError
from ..program.ir import Block, Function, Operation, Value
from ..support.boundary import described
from ..types import DataType, Shape, TensorType
from . import limits
from .layer_registry import LAYERS
from .lower_blocks import Builder
from .onnx_builder import Tensor, common_shape
from .op_registry import LOWERINGS

EXACT_MAPPING = 1
"""`EXACT_ARRAY_MAPPING` and `RANK4_IMAGE_MAPPING`: tensors have the described rank; otherwise all have rank 5."""

LEFT = "\0left"
"""The value, among those of the layers, that tells how a loop iteration ended: 0, or one of `LEAVING`. It is one of
them so that branches return it; a layer that uses the name is refused."""
LEAVING = {"loopContinue": 1.0, "loopBreak": 2.0}


class Network(Builder):
    """A Builder for layers instead of MIL operations. `layer` is the message of the layer being lowered.

    `exact` is False for networks from before 2019, where each tensor is [sequence, batch, channel, height, width].
    """

    def __init__(self, message: Any) -> None:
        super().__init__(Function("main", "CoreML5", (), Block((), (), ())))
        self.message = message
        self.layer: Any = None
        self.exact = message.arrayInputShapeMapping == EXACT_MAPPING
        self.values: dict[str, Any] = {}
        """Tensors and constants by the names that layers give them."""

    @property
    def where(self) -> str:
        return f"[{self.op.kind}] '{self.layer.name if self.layer is not None else self.label}'"

    def mil(self, kind: str, **arguments: Any) -> Any:
        """Call a MIL lowering with these arguments: Tensors, numpy constants, plain numbers and strings."""
        return LOWERINGS[kind].function(self, **arguments)

    def layers(self, messages: Any) -> None:
        """Lower layers in order and store their outputs in `values`. If a layer may end the loop iteration, the layers
        after it become a branch."""
        for number, message in enumerate(messages):
            before = self.values.get(LEFT)
            self.lower_layer(message)
            left = self.values.get(LEFT)
            if left is not before:
                self.either(left, (), messages[number + 1 :])
                return

    def either(self, condition: Any, first: Any, second: Any) -> None:
        """Lower a branch: `first` runs if the condition is nonzero, `second` if it is 0."""
        if not isinstance(condition, Tensor):
            self.layers(first if np.any(condition) else second)
            return
        names_of = [set(written(layers)) for layers in (first, second)]
        outer = dict(self.values)
        names = sorted((names_of[0] & names_of[1]) | ((names_of[0] | names_of[1]) & outer.keys()))
        if not names:
            return
        kinds: list[list[tuple[np.dtype[Any], Shape | None]]] = []

        def build(layers: Any) -> list[Tensor]:
            self.values = dict(outer)
            self.layers(layers)
            found = [self.tensor(self.values[name]) for name in names]
            kinds.append([(t.dtype, t.shape) for t in found])
            return found

        graphs = [self.subgraph(lambda layers=layers: build(layers)) for layers in (first, second)]
        self.values = outer
        types = [(dtype, common_shape(shape, other)) for (dtype, shape), (_, other) in zip(*kinds, strict=True)]
        branches = {"then_branch": graphs[0], "else_branch": graphs[1]}
        results = self.If(self.flag(condition), **branches, outputs=len(names), types=types)
        self.values.update(zip(names, results if isinstance(results, tuple) else (results,), strict=True))

    def flag(self, condition: Any) -> Tensor:
        """Whether a value is nonzero, as the scalar ONNX expects. Only the first element of an array counts."""
        first = self.Slice(self.Reshape(condition, [-1]), [0], [1])
        flag: Tensor = self.Reshape(self.truth(first), np.zeros(0, np.int64))
        return flag

    def lower_layer(self, message: Any) -> None:
        kind = message.WhichOneof("layer")
        where = f"[{kind}] '{message.name}'"
        if kind not in LAYERS:
            raise UnsupportedOperationError(f"{where}: unknown neural-network layer")
        missing = next((name for name in message.input if name not in self.values), None)
        if missing is not None:
            raise _unprovided(message, missing)
        around = self.layer, self.label  # of the branch or loop that contains this layer
        self.layer, self.label = message, message.name or kind
        # MIL lowerings read the number and names of the results from their operation.
        outputs = tuple(Value(name, TensorType(DataType.FLOAT32, None)) for name in message.output)
        self.op = Operation(kind, {}, outputs)
        try:
            results = self._results(kind, getattr(message, kind), [self.values[name] for name in message.input])
        except PippinError as error:
            if str(error).startswith("["):
                raise
            raise type(error)(f"{where}: {error}") from None
        except Exception as error:
            raise ProgramError(f"{where}: parameters do not match the inputs: {described(error)}") from error
        finally:
            self.layer, self.label = around
        if len(results) < len(message.output) and results:
            raise ProgramError(f"{where}: returns {len(results)} results, but the network names {len(message.output)}")
        self.values.update(zip(message.output, results, strict=False))

    def _results(self, kind: str, parameters: Any, inputs: list[Any]) -> list[Any]:
        if inputs and kind not in _NOT_FOLDED and all(isinstance(x, np.ndarray) and x.size <= _SMALL for x in inputs):
            return self._folded(kind, parameters, inputs)
        results = LAYERS[kind](self, parameters, *inputs)
        values = results if isinstance(results, tuple | list) else () if results is None else (results,)
        return [self.cast(value, np.float32) for value in values]

    def _folded(self, kind: str, parameters: Any, inputs: list[Any]) -> list[np.ndarray]:
        """Evaluate a layer of constants now, so that shapes computed from shapes stay known."""
        from onnx.reference import ReferenceEvaluator

        scratch = Network(self.message)
        scratch.layer, scratch.op, scratch.label = self.layer, self.op, self.label
        found = LAYERS[kind](scratch, parameters, *inputs)
        results = list(found) if isinstance(found, tuple | list) else [found]
        if not any(isinstance(value, Tensor) for value in results):
            return [np.asarray(value, np.float32) for value in results]
        named = [scratch.named(scratch.tensor(value), f"{i}") for i, value in enumerate(results)]
        limits.constant(scratch.elements)
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(scratch.model("constants", [], named)).run(None, {})
        return [np.asarray(value, np.float32) for value in values]

    def truth(self, x: Any) -> Any:
        """x != 0, by element: networks have no booleans."""
        return self.Not(self.Equal(x, 0.0)) if isinstance(x, Tensor) else np.asarray(x) != 0

    def integers(self, x: Any) -> Any:
        """A value as int64: networks use floats for integers."""
        return self.cast(x if isinstance(x, Tensor) else np.rint(x), np.int64)

    def filled(self, shape: Any, value: float) -> Any:
        """A tensor filled with one number; a constant if the shape is known and small."""
        if isinstance(shape, np.ndarray) and math.prod(shape.tolist()) <= _SMALL:
            return limits.full(shape, value, np.float32)
        return self.Expand(np.float32(value), shape)

    def sizes(self, x: Tensor) -> list[Any]:
        """Each size of x: an int if known, else a tensor of shape (1)."""
        return [self.Gather(self.Shape(x), [i]) if d is None else d for i, d in enumerate(x.shape or ())]

    def shape(self, *sizes: Any) -> Any:
        """Join sizes, as returned by `sizes`, into one shape."""
        if not any(isinstance(size, Tensor) for size in sizes):
            return np.array(sizes, np.int64)
        return self.Concat(*(s if isinstance(s, Tensor) else np.array([s], np.int64) for s in sizes), axis=0)

    def as_images(self, x: Any, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `compute`, which takes [n, C, H, W], to x with any number of leading axes."""
        x = self.tensor(x)
        if x.rank == 4:
            return compute(x)
        leading = self.sizes(x)[:-3]
        images = self.Reshape(x, self.shape(-1, *self.sizes(x)[-3:])) if x.rank != 5 or leading[0] != 1 else None
        if images is None:
            return self.Unsqueeze(compute(self.Squeeze(x, [0])), [0])
        y = compute(images)
        return self.Reshape(y, self.shape(*leading, *self.sizes(y)[-3:]))


def check_inputs_of_layers(layers: Any, given: Iterable[str]) -> None:
    """Raise ProgramError for a layer that reads a name that is not `given` and that no layer writes.

    Such a file is damaged, which matters more than whatever else is wrong with it.
    """
    known = {*given, *written(layers)}
    for message in every_layer(layers):
        if LEFT in (*message.input, *message.output):
            raise ProgramError(
                f"[{message.WhichOneof('layer')}] {message.name!r}: no value of a network may have the name {LEFT!r}"
            )
        missing = next((name for name in message.input if name not in known), None)
        if missing is not None:
            raise _unprovided(message, missing)


def _unprovided(message: Any, name: str) -> ProgramError:
    where = f"[{message.WhichOneof('layer')}] '{message.name}'"
    return ProgramError(f"{where}: no network input or earlier layer provides its input '{name}'")


def every_layer(layers: Any) -> Iterator[Any]:
    """The layers, and those of their nested networks."""
    for message in layers:
        yield message
        kind = message.WhichOneof("layer")
        if kind == "branch":
            yield from every_layer(message.branch.ifBranch.layers)
            yield from every_layer(message.branch.elseBranch.layers)
        elif kind == "loop":
            yield from every_layer(message.loop.conditionNetwork.layers)
            yield from every_layer(message.loop.bodyNetwork.layers)


def written(layers: Any) -> Iterator[str]:
    """Every name that layers assign, including in nested networks."""
    for message in layers:
        yield from message.output
        kind = message.WhichOneof("layer")
        if kind in LEAVING:
            yield LEFT
        elif kind == "branch":
            yield from written(message.branch.ifBranch.layers)
            yield from written(message.branch.elseBranch.layers)
        elif kind == "loop":
            inner = (*message.loop.bodyNetwork.layers, *message.loop.conditionNetwork.layers)
            yield from (name for name in written(inner) if name != LEFT)  # leaving a loop does not leave the outer one


# Layers whose results depend on more than their inputs.
_NOT_FOLDED = frozenset({"branch", "loop", "custom", "categoricalDistribution"}) | {
    f"random{kind}{how}" for kind in ("Normal", "Uniform", "Bernoulli") for how in ("Like", "Static", "Dynamic")
}
# Elements; larger constants are left to the engine.
_SMALL = 4096
