"""Network: walks the layers of a neural network; each becomes a few MIL operations, and so ONNX nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..errors import PippinError, ProgramError, UnsupportedOperationError
from ..program.ir import Block, Function, Operation, Value
from ..types import DataType, Shape, TensorType
from .layer_registry import LAYERS
from .lower_blocks import Builder
from .onnx_builder import Tensor, common_shape
from .op_registry import LOWERINGS

EXACT_MAPPING = 1
"""`EXACT_ARRAY_MAPPING`, `RANK4_IMAGE_MAPPING`: tensors have the rank that is described; else all have rank 5."""

LEFT = "\0left"
"""The value that says how a turn of a loop was left: 0, or one of `LEAVING`. No layer can have this name."""
LEAVING = {"loopContinue": 1.0, "loopBreak": 2.0}


class Network(Builder):
    """A Builder that walks layers instead of MIL operations. `layer` is the message of the one being lowered.

    `exact` is False for networks of before 2019, where each tensor is [sequence, batch, channel, height, width].
    """

    def __init__(self, message: Any) -> None:
        super().__init__(Function("main", "CoreML5", (), Block((), (), ())))
        self.message = message
        self.layer: Any = None
        self.exact = message.arrayInputShapeMapping == EXACT_MAPPING
        self.values: dict[str, Any] = {}
        """The tensors (or constants) by the names that layers give them."""

    def mil(self, kind: str, **arguments: Any) -> Any:
        """What a MIL operation gives for these arguments: Tensors, numpy constants, plain numbers and strings."""
        return LOWERINGS[kind].function(self, **arguments)

    def layers(self, messages: Any) -> None:
        """Lower layers in order; what they name is then in `values`. Where one may leave the turn of a loop, those
        behind it are a branch."""
        for number, message in enumerate(messages):
            before = self.values.get(LEFT)
            self.lower_layer(message)
            left = self.values.get(LEFT)
            if left is not before:
                self.either(left, (), messages[number + 1 :])
                return

    def either(self, condition: Any, first: Any, second: Any) -> None:
        """Lower the layers that run where a value is not 0, and those that run where it is."""
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
        """Whether a value is not 0, as the scalar that ONNX takes; of an array, its first element."""
        first = self.Slice(self.Reshape(condition, [-1]), [0], [1])
        flag: Tensor = self.Reshape(self.truth(first), np.zeros(0, np.int64))
        return flag

    def lower_layer(self, message: Any) -> None:
        kind = message.WhichOneof("layer")
        where = f"[{kind}] '{message.name}'"
        if kind not in LAYERS:
            raise UnsupportedOperationError(f"{where}: no such neural-network layer is known")
        missing = next((name for name in message.input if name not in self.values), None)
        if missing is not None:
            raise ProgramError(f"{where}: its input '{missing}' is given by nothing before it")
        around, self.layer, self.label = self.layer, message, message.name or kind
        # What a MIL lowering asks of its operation: the number and the names of the results.
        outputs = tuple(Value(name, TensorType(DataType.FLOAT32, None)) for name in message.output)
        self.op = Operation(kind, {}, outputs)
        try:
            results = self._results(kind, getattr(message, kind), [self.values[name] for name in message.input])
        except PippinError as error:
            if str(error).startswith("["):
                raise
            raise type(error)(f"{where}: {error}") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ProgramError(f"{where}: its parameters do not fit its inputs: {error}") from error
        finally:
            self.layer = around
        if len(results) < len(message.output) and results:
            raise ProgramError(f"{where}: has {len(results)} results, but {len(message.output)} are named")
        self.values.update(zip(message.output, results, strict=False))

    def _results(self, kind: str, parameters: Any, inputs: list[Any]) -> list[Any]:
        if inputs and kind not in _NOT_FOLDED and all(isinstance(x, np.ndarray) and x.size <= _SMALL for x in inputs):
            return self._folded(kind, parameters, inputs)
        results = LAYERS[kind](self, parameters, *inputs)
        values = results if isinstance(results, tuple | list) else () if results is None else (results,)
        return [self.cast(value, np.float32) for value in values]

    def _folded(self, kind: str, parameters: Any, inputs: list[Any]) -> list[np.ndarray]:
        """The results of a layer of constants, as constants: shapes that are computed from shapes stay known."""
        from onnx.reference import ReferenceEvaluator

        scratch = Network(self.message)
        scratch.layer, scratch.op, scratch.label = self.layer, self.op, self.label
        found = LAYERS[kind](scratch, parameters, *inputs)
        results = list(found) if isinstance(found, tuple | list) else [found]
        if not any(isinstance(value, Tensor) for value in results):
            return [np.asarray(value, np.float32) for value in results]
        named = [scratch.named(scratch.tensor(value), f"{i}") for i, value in enumerate(results)]
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(scratch.model("constants", [], named)).run(None, {})
        return [np.asarray(value, np.float32) for value in values]

    def truth(self, x: Any) -> Any:
        """Where a value is not 0: networks have no booleans."""
        return self.Not(self.Equal(x, 0.0)) if isinstance(x, Tensor) else np.asarray(x) != 0

    def integers(self, x: Any) -> Any:
        """A value as int64: networks count in floats."""
        return self.cast(x if isinstance(x, Tensor) else np.rint(x), np.int64)

    def filled(self, shape: Any, value: float) -> Any:
        """One number everywhere; a constant where the shape is known and small."""
        if isinstance(shape, np.ndarray) and np.prod(shape, initial=1) <= _SMALL:
            return np.full(tuple(shape), value, np.float32)
        return self.Expand(np.float32(value), shape)

    def sizes(self, x: Tensor) -> list[Any]:
        """Each size of x: an int where it is known, else a tensor of shape (1)."""
        return [self.Gather(self.Shape(x), [i]) if d is None else d for i, d in enumerate(x.shape or ())]

    def shape(self, *sizes: Any) -> Any:
        """Sizes, as `sizes` gives them, as one shape."""
        if not any(isinstance(size, Tensor) for size in sizes):
            return np.array(sizes, np.int64)
        return self.Concat(*(s if isinstance(s, Tensor) else np.array([s], np.int64) for s in sizes), axis=0)

    def as_images(self, x: Any, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """What `compute` makes of [n, C, H, W], where x has more axes in front (or none)."""
        x = self.tensor(x)
        if x.rank == 4:
            return compute(x)
        leading = self.sizes(x)[:-3]
        images = self.Reshape(x, self.shape(-1, *self.sizes(x)[-3:])) if x.rank != 5 or leading[0] != 1 else None
        if images is None:
            return self.Unsqueeze(compute(self.Squeeze(x, [0])), [0])
        y = compute(images)
        return self.Reshape(y, self.shape(*leading, *self.sizes(y)[-3:]))


def written(layers: Any) -> Iterator[str]:
    """Every name that layers give a value to, those of nested networks included."""
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
            yield from (name for name in written(inner) if name != LEFT)  # a loop leaves only itself


# Layers whose result is more than a function of their inputs.
_NOT_FOLDED = frozenset({"branch", "loop", "custom", "categoricalDistribution"}) | {
    f"random{kind}{how}" for kind in ("Normal", "Uniform", "Bernoulli") for how in ("Like", "Static", "Dynamic")
}
# Constants of more elements than this are left to the engine.
_SMALL = 4096
