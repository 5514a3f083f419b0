"""Device: a compute device as it is described to people, to the cache's key and to the compute plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DeviceKind = Literal["cpu", "gpu", "neuralEngine"]


@dataclass(frozen=True, slots=True)
class ComputeDevice:
    """A device of one kind. It can be used where `engines` is not empty; else `absent` tells why not."""

    kind: DeviceKind
    name: str
    engines: Mapping[str, str] = field(default_factory=dict)
    """The engines that reach it, with their versions."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """For each engine that does not reach it the reason, and what to install."""
    cores: int = 0
    instruction_sets: tuple[str, ...] = ()
    driver: str = ""

    @property
    def available(self) -> bool:
        return bool(self.engines)
