"""Swapped graph: a model compiled once, whose weights are inputs, so that a trial is a run and not a compilation.

Lowering may move a weight's elements, join weights or fold them away. Which element goes where is found by lowering the
program with numbers in their place: first the number of the weight, then the digits of the element's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ...engines import Compiled
from ...format.asset import Asset
from ...lowering.lower_model import lower_model
from ...lowering.lowered_model import Lowered
from ...lowering.weight_arrays import array_of
from ...specialization.exactness import compile_exact
from .weights import Weight, with_values

Inputs = Sequence[Mapping[str, np.ndarray]]
"""The arrays of each prediction."""
_BASE = 1024  # digits that float16 holds exactly
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a weight stands in the graph: the input, and for each of its elements the element of the weight."""

    tensor: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    elements: np.ndarray


class SwappedGraph:
    """Runs the model with other values of its weights. `swappable` are the weights that the graph takes as they are."""

    def __init__(self, asset: Asset, weights: list[Weight], function: str | None) -> None:
        described = asset.description.function(function)
        self.lowered = lower_model(asset, described, np.float32)
        self._places = _places(asset, weights, self.lowered, described)
        self.swappable = frozenset(self._places)
        self._own = self._placed({weight.name: weight.array for weight in weights if weight.name in self._places})
        self._compiled = self._compile()

    def _compile(self) -> Compiled:
        made = onnx.ModelProto()
        made.CopyFrom(self.lowered.model)
        taken = {place.tensor for places in self._places.values() for place in places}
        kept = [tensor for tensor in made.graph.initializer if tensor.name not in taken]
        for tensor in made.graph.initializer:
            if tensor.name in taken:
                made.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        del made.graph.initializer[:]
        made.graph.initializer.extend(kept)
        return compile_exact(replace(self.lowered, model=made))

    def run(self, inputs: Inputs, values: Mapping[str, np.ndarray] | None = None) -> list[dict[str, np.ndarray]]:
        """The outputs of each prediction, by name; `values` replace weights, by name, in float32."""
        weights = self._own | self._placed(values or {})
        found = (self._compiled.run({**each, **weights}) for each in inputs)
        return [{port.name: outputs[port.tensor] for port in self.lowered.outputs} for outputs in found]

    def _placed(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of the graph that hold these weights."""
        return {
            place.tensor: weight.reshape(-1)[place.elements].reshape(place.shape).astype(place.dtype)
            for name, weight in values.items()
            for place in self._places.get(name, ())
        }


def _places(asset: Asset, weights: list[Weight], own: Lowered, described: Any) -> dict[str, list[Place]]:
    """{weight: its places}, for weights that the graph holds element by element and nothing else with them."""

    def lowered(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        made = lower_model(with_values(asset, values), described, np.float32)
        return _arrays(made)

    shapes = {weight.name: weight.array.shape for weight in weights}
    numbers = lowered({name: np.full(shape, number + 1.0) for number, (name, shape) in enumerate(shapes.items())})
    digits = max(1, int(np.ceil(np.log(max(w.array.size for w in weights)) / np.log(_BASE)))) if weights else 0
    counted = [
        lowered({n: np.arange(np.prod(s)).reshape(s) // _BASE**digit % _BASE for n, s in shapes.items()})
        for digit in range(digits)
    ]
    arrays = _arrays(own)
    found: dict[str, list[Place]] = {}
    spoiled: set[str] = set()
    for tensor, array in arrays.items():
        if any(tensor not in each or each[tensor].shape != array.shape for each in (numbers, *counted)):
            continue
        for number in set(np.unique(numbers[tensor]).tolist()):
            place = int(number) - 1
            if number != int(number) or not 0 <= place < len(weights) or (numbers[tensor] != number).any():
                continue
            weight = weights[place]
            elements = sum(each[tensor].astype(np.int64) * _BASE**digit for digit, each in enumerate(counted))
            elements = np.asarray(elements).reshape(-1)
            inside = (elements >= 0) & (elements < weight.array.size)
            if inside.all() and np.array_equal(
                weight.array.reshape(-1)[elements].astype(array.dtype), array.reshape(-1)
            ):
                found.setdefault(weight.name, []).append(Place(tensor, array.dtype, array.shape, elements))
    held = {weight.name for weight in weights if weight.name in found}
    for weight in weights:
        if weight.name in held and not _complete(found[weight.name], weight):
            spoiled.add(weight.name)
    return {name: places for name, places in found.items() if name not in spoiled}


def _arrays(lowered: Lowered) -> dict[str, np.ndarray]:
    """The float constants, which may belong to the lowered model."""
    return {t.name: np.array(array_of(t)) for t in lowered.model.graph.initializer if t.data_type in _FLOATS}


def _complete(places: list[Place], weight: Weight) -> bool:
    """Whether the places hold all elements: else a part of the weight went into something else."""
    seen = np.zeros(weight.array.size, bool)
    for place in places:
        seen[place.elements] = True
    return bool(seen.all())
