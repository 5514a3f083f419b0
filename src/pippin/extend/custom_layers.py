"""Custom layers: a registry, by class name, of Python code for layers whose computation is not in the model file.

    @pippin.custom_layer("Swish")
    def swish(x, *, parameters, weights):
        return x / (1 + np.exp(-parameters["beta"] * x))

A package can provide layers as entry points in the group `pippin.custom_layers`, named after the class. They are
imported when a model needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from ..errors import PredictionError, ProgramError, UnsupportedOperationError

if TYPE_CHECKING:  # `import pippin` imports this file, so keep it cheap
    from ..types import Shape

ENTRY_POINTS = "pippin.custom_layers"
Shapes: TypeAlias = "Sequence[Shape]"
F = TypeVar("F", bound=Callable[..., Any])


class _Registered(NamedTuple):
    code: Callable[..., Any]
    output_shapes: Callable[[Shapes], Shapes] | None


_registered: dict[str, _Registered] = {}


def custom_layer(class_name: str, *, output_shapes: Callable[[Shapes], Shapes] | None = None) -> Callable[[F], F]:
    """Register the code for custom layers of a class, replacing an earlier registration.

    A class is instantiated once for each layer of a loaded model, as `code(parameters, weights)`, and has the methods

    - `evaluate(*inputs)`: receives one float32 array for each input; returns one output or a tuple of outputs;
    - `output_shapes(shapes)`: the output shapes for the given input shapes; a size is None if only known at prediction
      time. Without this method each output has the shape of the first input.

    A function is used as `evaluate`. It receives the keyword arguments `parameters` and `weights` if its signature
    names them; its shapes come from the argument `output_shapes`.

    `parameters` maps names to numbers, strings and booleans. `weights` is a list of flat float32 arrays (uint8 if the
    file holds raw bytes). In a network from before 2019 arrays have the shape [sequence, batch, channel, height,
    width]. One object serves all predictions, concurrently: `evaluate` must not modify it or its inputs.
    """

    def register(code: F) -> F:
        _registered[class_name] = _Registered(code, output_shapes)
        return code

    return register


class CustomLayer:
    """The code of one layer of a loaded model. Raises UnsupportedOperationError if none is registered."""

    def __init__(self, class_name: str, parameters: Mapping[str, Any], weights: Sequence[np.ndarray]) -> None:
        self.class_name = class_name
        registered = _find(class_name)
        self._shapes = registered.output_shapes
        code: Callable[..., Any] = registered.code
        if isinstance(code, type):
            make: Any = code
            try:
                layer = make(dict(parameters), list(weights))
            except Exception as error:
                raise ProgramError(
                    f"the custom layer '{class_name}' could not be created: {_describe(error)}"
                ) from error
            self._evaluate: Callable[..., Any] = getattr(layer, "evaluate", layer)
            self._shapes = getattr(layer, "output_shapes", self._shapes)
        else:
            from inspect import signature

            accepted = signature(code).parameters
            known = {"parameters": dict(parameters), "weights": list(weights)}
            extra = {name: value for name, value in known.items() if name in accepted}
            self._evaluate = lambda *inputs: code(*inputs, **extra)
        if not callable(self._evaluate):
            raise ProgramError(f"the custom layer '{class_name}' has no method 'evaluate'")

    def output_shapes(self, shapes: Shapes, outputs: int) -> list[Shape]:
        """The output shapes. Raises ProgramError if the code returns another number of shapes."""
        if self._shapes is None:
            return [tuple(shapes[0])] * outputs
        try:
            result = [tuple(None if size is None else int(size) for size in shape) for shape in self._shapes(shapes)]
        except Exception as error:
            raise ProgramError(
                f"the custom layer '{self.class_name}': output_shapes failed: {_describe(error)}"
            ) from error
        if len(result) != outputs:
            raise ProgramError(
                f"the custom layer '{self.class_name}': output_shapes returned {len(result)} shapes, expected {outputs}"
            )
        return result

    def evaluate(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, in order. Raises PredictionError if the code fails."""
        try:
            result = self._evaluate(*inputs)
            return [np.asarray(value) for value in (result if isinstance(result, tuple | list) else (result,))]
        except Exception as error:
            raise PredictionError(f"the custom layer '{self.class_name}' failed: {_describe(error)}") from error


def _find(class_name: str) -> _Registered:
    if class_name not in _registered:
        from importlib.metadata import entry_points

        for entry in entry_points(group=ENTRY_POINTS, name=class_name):
            code = entry.load()  # may itself call `custom_layer`
            _registered.setdefault(class_name, _Registered(code, getattr(code, "output_shapes", None)))
            break
    if class_name not in _registered:
        raise UnsupportedOperationError(
            f"custom layer class '{class_name}': its code is not in the model file; register it with"
            f" @pippin.custom_layer('{class_name}') or as an entry point in the group '{ENTRY_POINTS}'"
        )
    return _registered[class_name]


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
