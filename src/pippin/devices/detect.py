"""Detect: finds the available devices by asking the engines. Detection is lazy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from ..configuration import ComputeUnits
from . import cpu
from .device import ComputeDevice, DeviceKind

if TYPE_CHECKING:
    from ..engines import Engine

_ALLOWED: Mapping[ComputeUnits, tuple[DeviceKind, ...]] = {
    ComputeUnits.ALL: ("cpu", "gpu", "neuralEngine"),
    ComputeUnits.CPU_ONLY: ("cpu",),
    ComputeUnits.CPU_AND_GPU: ("cpu", "gpu"),
    ComputeUnits.CPU_AND_NE: ("cpu", "neuralEngine"),
}
_NVIDIA_DRIVER = "/proc/driver/nvidia/version"


@cache
def all_compute_devices() -> tuple[ComputeDevice, ...]:
    """The CPU, the GPU and the Neural Engine, whether available or not."""
    return (_cpu(), _other("gpu", "GPU"), _other("neuralEngine", "Neural Engine (NPU)"))


def available_compute_devices() -> tuple[ComputeDevice, ...]:
    """The devices of this machine that can run a model."""
    return tuple(device for device in all_compute_devices() if device.available)


def devices_of(units: ComputeUnits) -> tuple[ComputeDevice, ...]:
    """The available devices that `units` allows. Engines are not asked about any others."""
    if units is ComputeUnits.CPU_ONLY:
        return (_cpu(),)
    return tuple(device for device in available_compute_devices() if device.kind in _ALLOWED[units])


def _engines() -> Mapping[str, Engine]:
    from ..engines import all_engines  # local: `import pippin` loads this file and must stay light

    return all_engines()


@cache
def _cpu() -> ComputeDevice:
    versions = {name: engine.version for name, engine in _engines().items() if engine.installed}
    absent = {name: engine.absence("cpu") for name, engine in _engines().items() if not engine.installed}
    return ComputeDevice(
        "cpu", cpu.name(), versions, absent, cores=cpu.cores(), instruction_sets=cpu.instruction_sets()
    )


def _other(kind: DeviceKind, default_name: str) -> ComputeDevice:
    reached, absent, name = {}, {}, default_name
    for engine in _engines().values():
        found = engine.device_name(kind) if engine.installed else None
        if found is None:
            absent[engine.name] = engine.absence(kind)
        else:
            reached[engine.name], name = engine.version, found
    driver = ""
    if kind == "gpu" and os.path.isfile(_NVIDIA_DRIVER):  # noqa: PTH113  pathlib is a tenth of `import pippin`
        from pathlib import Path

        driver = Path(_NVIDIA_DRIVER).read_text(errors="replace").splitlines()[0]
    return ComputeDevice(kind, name, reached, absent, driver=driver)
