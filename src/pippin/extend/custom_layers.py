"""Custom layers: the Python code of layers whose computation is not in the model file, by the name of their class.

    @pippin.custom_layer("Swish")
    def swish(x, *, parameters, weights):
        return x / (1 + np.exp(-parameters["beta"] * x))

A package announces its layers in the entry-point group `pippin.custom_layers`, where the name of the entry is that of
the class; they are imported when a model asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from ..errors import PredictionError, ProgramError, UnsupportedOperationError

if TYPE_CHECKING:  # the package imports this file: it should cost little
    from ..types import Shape

ENTRY_POINTS = "pippin.custom_layers"
Shapes: TypeAlias = "Sequence[Shape]"
F = TypeVar("F", bound=Callable[..., Any])


class _Registered(NamedTuple):
    code: Callable[..., Any]
    output_shapes: Callable[[Shapes], Shapes] | None


_registered: dict[str, _Registered] = {}


def custom_layer(class_name: str, *, output_shapes: Callable[[Shapes], Shapes] | None = None) -> Callable[[F], F]:
    """Register the code of the custom layers of a class, in the place of what was registered before.

    A class is made once for each layer of a loaded model, as `code(parameters, weights)`, and has the methods

    - `evaluate(*inputs)`: one float32 array for each input, as a tuple or alone the output or outputs;
    - `output_shapes(shapes)`: the shapes of the outputs, from those of the inputs; a size is None where it is only
      known at a prediction. Without this method each output has the shape of the first input.

    A function is `evaluate` itself; it gets the keyword arguments `parameters` and `weights` where it names them, and
    its shapes are the argument `output_shapes` here.

    `parameters` is the layer's map of names to numbers, strings and booleans, `weights` a list of its weights, each a
    flat float32 array (uint8 where the file holds raw bytes). In a network of before 2019 arrays have the shape
    [sequence, batch, channel, height, width]. One object serves all predictions, several at once: `evaluate` must not
    change it, nor its inputs.
    """

    def register(code: F) -> F:
        _registered[class_name] = _Registered(code, output_shapes)
        return code

    return register


class CustomLayer:
    """The code of one layer of a loaded model. Raises UnsupportedOperationError where there is none."""

    def __init__(self, class_name: str, parameters: Mapping[str, Any], weights: Sequence[np.ndarray]) -> None:
        self.class_name = class_name
        found = _find(class_name)
        self._shapes = found.output_shapes
        code: Callable[..., Any] = found.code
        if isinstance(code, type):
            make: Any = code
            try:
                layer = make(dict(parameters), list(weights))
            except Exception as error:
                raise ProgramError(f"the custom layer '{class_name}' cannot be made: {_what(error)}") from error
            self._evaluate: Callable[..., Any] = getattr(layer, "evaluate", layer)
            self._shapes = getattr(layer, "output_shapes", self._shapes)
        else:
            from inspect import signature

            wanted = signature(code).parameters
            given = {"parameters": dict(parameters), "weights": list(weights)}
            extra = {name: value for name, value in given.items() if name in wanted}
            self._evaluate = lambda *inputs: code(*inputs, **extra)
        if not callable(self._evaluate):
            raise ProgramError(f"the custom layer '{class_name}' has no method 'evaluate'")

    def output_shapes(self, shapes: Shapes, outputs: int) -> list[Shape]:
        """The shapes of so many outputs. Raises ProgramError where the code gives something else."""
        if self._shapes is None:
            return [tuple(shapes[0])] * outputs
        try:
            found = [tuple(None if size is None else int(size) for size in shape) for shape in self._shapes(shapes)]
        except Exception as error:
            raise ProgramError(f"the custom layer '{self.class_name}': output_shapes failed: {_what(error)}") from error
        if len(found) != outputs:
            raise ProgramError(
                f"the custom layer '{self.class_name}': output_shapes gives {len(found)} shapes for {outputs} outputs"
            )
        return found

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, in order. Raises PredictionError where the code fails."""
        try:
            found = self._evaluate(*inputs)
            return [np.asarray(value) for value in (found if isinstance(found, tuple | list) else (found,))]
        except Exception as error:
            raise PredictionError(f"the custom layer '{self.class_name}' failed: {_what(error)}") from error


def _find(class_name: str) -> _Registered:
    if class_name not in _registered:
        from importlib.metadata import entry_points

        for entry in entry_points(group=ENTRY_POINTS, name=class_name):
            code = entry.load()  # which may call `custom_layer` by itself
            _registered.setdefault(class_name, _Registered(code, getattr(code, "output_shapes", None)))
            break
    if class_name not in _registered:
        raise UnsupportedOperationError(
            f"a custom layer of the class '{class_name}': its code is not in the file; give it with"
            f" @pippin.custom_layer('{class_name}'), or in a package with an entry point in '{ENTRY_POINTS}'"
        )
    return _registered[class_name]


def _what(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
