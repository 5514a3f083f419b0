"""Network: the layers of a neural network, one after the other, become MIL operations and so ONNX nodes."""

from __future__ import annotations

from typing import Any

from ..errors import PippinError, ProgramError, UnsupportedOperationError
from ..program.ir import Block, Function
from .builder import Builder
from .registry import LOWERINGS

_EXACT = 1
"""`EXACT_ARRAY_MAPPING`, `RANK4_IMAGE_MAPPING`: tensors have the rank that is described; else all have rank 5."""


class Network(Builder):
    """A Builder that walks layers instead of MIL operations. `layer` is the message of the one being lowered.

    `exact` is False for networks of before 2019, where each tensor is [sequence, batch, channel, height, width].
    """

    def __init__(self, message: Any) -> None:
        super().__init__(Function("main", "CoreML5", (), Block((), (), ())))
        self.message = message
        self.layer: Any = None
        self.exact = message.arrayInputShapeMapping == _EXACT
        self.values: dict[str, Any] = {}
        """The tensors (or constants) by the names that layers give them."""

    def mil(self, kind: str, **arguments: Any) -> Any:
        """What a MIL operation gives for these arguments: Tensors, numpy constants, plain numbers and strings."""
        return LOWERINGS[kind].function(self, **arguments)

    def layers(self, messages: Any) -> None:
        """Lower layers in order; what they name is then in `values`."""
        for message in messages:
            self.lower_layer(message)

    def lower_layer(self, message: Any) -> None:
        from .layers.registry import LAYERS  # the layers are written in terms of this class

        kind = message.WhichOneof("layer")
        where = f"[{kind}] '{message.name}'"
        if kind not in LAYERS:
            raise UnsupportedOperationError(f"{where}: no such neural-network layer is known")
        missing = next((name for name in message.input if name not in self.values), None)
        if missing is not None:
            raise ProgramError(f"{where}: its input '{missing}' is given by nothing before it")
        around, self.layer, self.label = self.layer, message, message.name or kind
        try:
            results = LAYERS[kind](self, getattr(message, kind), *(self.values[name] for name in message.input))
        except PippinError as error:
            if str(error).startswith("["):
                raise
            raise type(error)(f"{where}: {error}") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ProgramError(f"{where}: its parameters do not fit its inputs: {error}") from error
        finally:
            self.layer = around
        values = results if isinstance(results, tuple | list) else () if results is None else (results,)
        if len(values) < len(message.output):
            raise ProgramError(f"{where}: has {len(values)} results, but {len(message.output)} are named")
        self.values.update(zip(message.output, values, strict=False))
