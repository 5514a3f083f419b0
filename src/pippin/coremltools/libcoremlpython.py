"""libcoremlpython: replaces coremltools' native module; calls from coremltools enter, results in its types leave.

Classes, methods and exceptions (RuntimeError for all Core ML errors) match Apple's extension, which exists only in the
macOS wheel; coremltools checks for these classes with `isinstance`. One difference: a prediction releases the GIL, so
threads predict concurrently.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np

from ..configuration import ComputeUnits, Configuration, Hints
from ..devices.detect import available_compute_devices
from ..errors import ConfigurationError, FormatError, PippinError, PredictionError, UnsupportedError
from ..format.asset import NEWEST_SPECIFICATION, Asset
from ..program import open_model, save_compiled
from ..runtime.model import Model, load
from ..runtime.prediction_options import PredictionOptions
from ..runtime.state import State
from .model_structure import Plan, model_structure
from .model_structure import _MLModelStructureNeuralNetworkLayerProxy as _MLModelStructureNeuralNetworkLayerProxy
from .model_structure import _MLModelStructureProgramOperationProxy as _MLModelStructureProgramOperationProxy
from .values import from_array, from_outputs, to_features

T = TypeVar("T")

_COMPILED = ".mlmodelc"
loading: Callable[[], AbstractContextManager[Any]] = nullcontext
"""Entered around each load; yields its `progress`. `pippin run` shows a bar."""
# Core ML resizes no picture in a prediction.
_AS_CORE_ML = PredictionOptions(resize="error")


@contextmanager
def _as_runtime_error(kind: str = "") -> Iterator[None]:
    """Convert errors to RuntimeError, with the opening words of Core ML's compiler and runtime errors."""
    try:
        yield
    except PredictionError as error:
        executed = "ML Program" if kind == "mlProgram" else "a neural network model"
        raise RuntimeError(f"Unable to compute the prediction using {executed}. {error.report()}") from error
    except (FormatError, UnsupportedError) as error:
        raise RuntimeError(f'Error compiling model: "{error.report()}".') from error
    except PippinError as error:
        raise RuntimeError(error.report()) from error


class _MLModelProxy:
    """A loaded model. Any thread may call `predict`."""

    def __init__(
        self,
        path: str,
        compute_units: str,
        function_name: str,
        optimization_hints: Mapping[str, str] | None = None,
        asset: _MLModelAssetProxy | None = None,
    ) -> None:
        self._asset: Asset | None = None
        self._compiled: Path | None = None
        self._predicting: int | None = None
        with _as_runtime_error():
            configuration = _configuration(compute_units, function_name, optimization_hints)
            if asset is not None:
                opened = asset.asset
            else:
                opened = self._asset = open_model(_path(path))
                if path.rstrip("/").endswith(_COMPILED):
                    self._compiled = _path(path)
            started = time.perf_counter_ns()
            with loading() as progress:
                self._model: Model = load(opened, configuration, progress=progress)
            self._loading = time.perf_counter_ns() - started

    def predict(self, data: Mapping[str, Any], state: _State | None = None) -> dict[str, Any]:
        return self._timed(lambda: self._predict(data, state))

    def batchPredict(self, data: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return self._timed(lambda: [self._predict(features, None) for features in data])

    def _predict(self, data: Mapping[str, Any], state: _State | None) -> dict[str, Any]:
        model, held = self._model, state.state if state else None
        return from_outputs(model, model.predict(to_features(model, data), state=held, options=_AS_CORE_ML))

    def _timed(self, predict: Callable[[], T]) -> T:
        started = time.perf_counter_ns()
        with _as_runtime_error(self._model.description.kind):
            results = predict()
        self._predicting = time.perf_counter_ns() - started
        return results

    def newState(self) -> _State:
        with _as_runtime_error():
            return _State(self._model.make_state())

    def get_compiled_model_path(self) -> str | None:
        """Path of the compiled model, valid for the lifetime of this object; None for a model loaded from an asset."""
        if self._compiled is None and self._asset is not None:
            self._compiled = _compile(self._asset)
            weakref.finalize(self, shutil.rmtree, self._compiled, ignore_errors=True)
        return None if self._compiled is None else str(self._compiled)

    def get_load_duration_in_nano_seconds(self) -> int | None:
        return self._loading

    def get_last_predict_duration_in_nano_seconds(self) -> int | None:
        return self._predicting

    @staticmethod
    def maximum_supported_specification_version() -> int:
        return NEWEST_SPECIFICATION

    @staticmethod
    def auto_set_specification_version(specification: Any) -> Any:
        """The specification (bytes or a Model message) with the lowest version that supports all its features."""
        from .specification_version import with_lowest_version

        with _as_runtime_error():
            return with_lowest_version(specification)

    @staticmethod
    def compileModel(path: str) -> str:
        """Compile to a temporary folder, which the caller must remove."""
        with _as_runtime_error():
            return str(_compile(open_model(_path(path))))

    @staticmethod
    def create_model_asset_from_path(path: str) -> Any:
        from coremltools.models.model import MLModelAsset

        with _as_runtime_error():
            return MLModelAsset(_MLModelAssetProxy(open_model(_path(path))))

    @staticmethod
    def create_model_asset_from_memory(specification: bytes, weights: Mapping[str, bytes]) -> Any:
        from coremltools.models.model import MLModelAsset

        with _as_runtime_error():
            return MLModelAsset(_MLModelAssetProxy(open_model(specification, dict(weights))))

    @staticmethod
    def get_model_structure(path: str) -> Any:
        with _as_runtime_error():
            return model_structure(open_model(_path(path)))

    @staticmethod
    def get_compute_plan(path: str, compute_units: str) -> Any:
        from coremltools.models.compute_plan import MLComputePlan

        with _as_runtime_error():
            configuration = _configuration(compute_units, "")
            return MLComputePlan(_MLComputePlanProxy(Plan(open_model(_path(path)), configuration, _device)))

    @staticmethod
    def get_available_compute_devices() -> list[Any]:
        return [_device(device.kind) for device in available_compute_devices()]

    @staticmethod
    def get_all_compute_devices() -> list[Any]:
        """The available devices; macOS does not list absent ones either."""
        return [_device(device.kind) for device in available_compute_devices()]


class _State:
    """The state of a stateful model, kept between predictions."""

    def __init__(self, state: State) -> None:
        self.state = state

    def read_state(self, name: str) -> np.ndarray:
        with _as_runtime_error():
            return from_array(self.state.read(name))

    def write_state(self, name: str, value: np.ndarray) -> None:
        if not isinstance(value, np.ndarray):
            raise RuntimeError(f"the state '{name}' must be a numpy array, got {type(value).__name__}")
        with _as_runtime_error():
            self.state.write(name, value)


class _MLModelAssetProxy:
    """An opened model. Keeps an in-memory model alive."""

    def __init__(self, asset: Asset) -> None:
        self.asset = asset


class _MLCPUComputeDeviceProxy:
    """The CPU."""


class _MLGPUComputeDeviceProxy:
    """A GPU."""


class _MLNeuralEngineComputeDeviceProxy:
    """A Neural Engine (NPU). The core count is 0, since no engine reports it."""

    def get_total_core_count(self) -> int:
        return 0


class _MLComputePlanProxy:
    """A compute plan. coremltools subclasses it for plans of remote devices."""

    def __init__(self, plan: Any = None) -> None:
        self._plan = plan

    @property
    def model_structure(self) -> Any:
        return None if self._plan is None else self._plan.structure

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        return None if self._plan is None else self._plan.usage(operation)

    def get_compute_device_usage_for_neuralnetwork_layer(self, layer: Any) -> Any:
        return None if self._plan is None else self._plan.usage(layer)

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        return None if self._plan is None else self._plan.cost(operation)


def _configuration(
    compute_units: str, function_name: str, optimization_hints: Mapping[str, str] | None = None
) -> Configuration:
    """The configuration. Threads and engine come from the environment, since coremltools has no options for them."""
    threads = os.environ.get("PIPPIN_THREADS")
    if threads is not None and not threads.isdecimal():
        raise ConfigurationError(f"the environment variable PIPPIN_THREADS must be a number, got {threads!r}")
    return Configuration(
        function_name=function_name or None,
        compute_units=ComputeUnits[compute_units],
        threads=int(threads) if threads else None,
        engine=os.environ.get("PIPPIN_ENGINE") or None,
        hints=_hints(optimization_hints or {}),
    )


def _hints(given: Mapping[str, str]) -> Hints:
    """Hints from coremltools' names; PIPPIN_SPECIALIZATION sets the strategy if the script does not.

    The default strategy is `fast_load`, which measures nothing and computes in float32: coremltools scripts mostly
    check conversions, so they load each model once and compare its numbers.
    """
    strategy = os.environ.get("PIPPIN_SPECIALIZATION") or "fast_load"
    strategy = {"FastPrediction": "fast_prediction", "Default": strategy}.get(
        given.get("specializationStrategy", "Default"), strategy
    )
    frequency = "infrequent" if given.get("reshapeFrequency") == "Infrequent" else "frequent"
    return Hints(specialization_strategy=strategy, reshape_frequency=frequency)  # type: ignore[arg-type]


def _device(kind: str) -> Any:
    from coremltools.models import compute_device as c

    made = {
        "cpu": lambda: c.MLCPUComputeDevice(_MLCPUComputeDeviceProxy()),
        "gpu": lambda: c.MLGPUComputeDevice(_MLGPUComputeDeviceProxy()),
        "neuralEngine": lambda: c.MLNeuralEngineComputeDevice(_MLNeuralEngineComputeDeviceProxy()),
    }
    return made[kind]()


def _path(path: str) -> Path:
    return Path(path.rstrip("/") or "/").expanduser()


def _compile(asset: Asset) -> Path:
    """Compile to a new temporary folder and return its path."""
    path = Path(tempfile.gettempdir()) / f"{Path(asset.name).stem}-{uuid4().hex}{_COMPILED}"
    save_compiled(asset, path)
    return path
