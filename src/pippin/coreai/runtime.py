"""Runtime: the names of Apple's `coreai.runtime`, computed by Pippin.

`AIModel.load`, `load_function`, calls with inputs and states, descriptors and `NDArray` are those of Apple's
documentation of `coreai-core` 1.0.0b3. Where Apple's package is installed, its own `NDArray` is used.
"""

from __future__ import annotations

import ctypes
import enum
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..configuration import Configuration
from ..format.description import FeatureDescription, FunctionDescription, MultiArray, State
from ..runtime.model import Model, load_async
from ..runtime.model import load as load_model

configuration = Configuration()
"""What every model is loaded with; `pippin.coreai.install(configuration)` sets it."""


class StorageKind(enum.StrEnum):
    """Where the numbers of an NDArray lie; only BYTES is known beside macOS."""

    BYTES = "bytes"
    IO_SURFACE = "io_surface"
    METAL = "metal"


class NDArray:
    """An array; `numpy` shows it without a copy."""

    def __init__(self, data: Any, backing: StorageKind = StorageKind.BYTES) -> None:
        if not isinstance(backing, StorageKind):
            raise TypeError(f"backing must be a StorageKind, got {type(backing).__name__}")
        array = np.array(data)
        self._array = array if array.flags.c_contiguous else np.ascontiguousarray(array)

    @classmethod
    def from_descriptor(cls, descriptor: NDArrayDescriptor) -> NDArray:
        """Zeros of a shape; a size that only the prediction knows counts as 1."""
        return cls(np.zeros([size or 1 for size in descriptor.shape], _numpy(descriptor.dtype)))

    @property
    def dtype(self) -> str:
        return self._array.dtype.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def strides(self) -> tuple[int, ...]:
        """In elements."""
        return tuple(step // self._array.itemsize for step in self._array.strides)

    def numpy(self) -> np.ndarray:
        return self._array

    def __str__(self) -> str:
        return f"NDArray({self.dtype}, {list(self.shape)})"


@dataclass(frozen=True, slots=True)
class NDArrayDescriptor:
    shape: list[int | None]
    dtype: str


class InferenceFunctionDescriptor:
    """The names of a function's inputs, outputs and states, and what they hold."""

    def __init__(self, function: FunctionDescription) -> None:
        self._function = function

    @property
    def name(self) -> str:
        return self._function.name

    @property
    def input_names(self) -> list[str]:
        return [feature.name for feature in self._function.inputs]

    @property
    def output_names(self) -> list[str]:
        return [feature.name for feature in self._function.outputs]

    @property
    def state_names(self) -> list[str]:
        return [feature.name for feature in self._function.states]

    def input_descriptor(self, name: str) -> NDArrayDescriptor:
        return _descriptor(self._function.inputs, name)

    def output_descriptor(self, name: str) -> NDArrayDescriptor:
        return _descriptor(self._function.outputs, name)

    def state_descriptor(self, name: str) -> NDArrayDescriptor:
        return _descriptor(self._function.states, name)


def _descriptor(features: tuple[FeatureDescription, ...], name: str) -> NDArrayDescriptor:
    feature = next((feature for feature in features if feature.name == name), None)
    if feature is None:
        raise KeyError(f"no tensor {name!r} (there are: {', '.join(f.name for f in features) or 'none'})")
    array = feature.type.array if isinstance(feature.type, State) else feature.type
    assert isinstance(array, MultiArray)
    return NDArrayDescriptor(list(array.sizes or ()), array.dtype.numpy.name)


class InferenceFunction:
    """One function of a model; a call predicts."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def desc(self) -> InferenceFunctionDescriptor:
        return InferenceFunctionDescriptor(self._model.description.function(self._model.function_name))

    def __str__(self) -> str:
        return repr(self._model)

    async def __call__(
        self, inputs: Mapping[str, Any] | None = None, state: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The outputs by name. The arrays of `state` hold the new state afterwards."""
        given = {name: _array(name, "input", value) for name, value in (inputs or {}).items()}
        kept = {name: _array(name, "state", value) for name, value in (state or {}).items()}
        if not self.desc.state_names:
            return _wrapped(await self._model.predict_async(given))
        own = self._model.make_state()
        for name, array in kept.items():
            own.write(name, array)
        outputs = await self._model.predict_async(given, state=own)
        for name, array in kept.items():
            _overwrite(array, own.read(name))
        return _wrapped(outputs)


class AIModel:
    """A model whose functions predict with Pippin."""

    _path: Path
    _first: Model
    specialization_options: Any = None

    def __init__(self) -> None:
        raise TypeError("Use `await AIModel.load(path)` to construct an AIModel instance.")

    @classmethod
    async def load(cls, path: Path | str, specialization_options: Any = None) -> AIModel:
        """Open an `.aimodel`. What the options ask of Apple's processors has no effect."""
        found: AIModel = object.__new__(cls)
        found._path = Path(path)
        found.specialization_options = specialization_options
        found._first = await load_async(found._path, configuration)
        return found

    @property
    def function_names(self) -> list[str]:
        return [function.name for function in self._first.description.functions]

    def load_function(
        self, function_name: str, intermediate_logger: Any = None, profiler: Any = None
    ) -> InferenceFunction:
        """One function. Raises KeyError if there is none of this name."""
        if function_name not in self.function_names:
            raise KeyError(f"No function named {function_name!r}")
        if function_name == self._first.function_name:
            return InferenceFunction(self._first)
        from dataclasses import replace

        return InferenceFunction(load_model(self._path, replace(configuration, function_name=function_name)))

    def __str__(self) -> str:
        return repr(self._first)


def _array(name: str, role: str, value: Any) -> np.ndarray:
    numpy = getattr(value, "numpy", None)
    if not callable(numpy) or isinstance(value, np.ndarray):
        raise TypeError(f'Value for "{name}" in {role} is not an NDArray')
    found: np.ndarray = numpy()
    return found


def _wrapped(outputs: Mapping[str, Any]) -> dict[str, Any]:
    package = sys.modules.get("coreai.runtime")
    kind = getattr(package, "NDArray", NDArray)
    return {name: kind(np.ascontiguousarray(value).reshape(np.shape(value))) for name, value in outputs.items()}


def _overwrite(array: np.ndarray, value: np.ndarray) -> None:
    """Write into the memory of an array, which Apple's `NDArray` shows as one that cannot be written."""
    if array.flags.writeable:
        array[...] = value
        return
    new = np.ascontiguousarray(value, array.dtype)
    if array.flags.c_contiguous:
        ctypes.memmove(array.__array_interface__["data"][0], new.ctypes.data, new.nbytes)
        return
    raise TypeError("a state must be contiguous in memory")


def _numpy(name: str) -> np.dtype[Any]:
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found
