"""Device: describes a compute device to users, the cache key and the compute plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

DeviceKind = Literal["cpu", "gpu", "neuralEngine"]


@dataclass(frozen=True, slots=True)
class ComputeDevice:
    """A device of one kind. It is available if `engines` is not empty; otherwise `absent` has the reasons."""

    kind: DeviceKind
    name: str
    engines: Mapping[str, str] = field(default_factory=dict)
    """The engines that reach it, with their versions."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """For each engine that does not reach it, the reason and what to install."""
    cores: int = 0
    instruction_sets: tuple[str, ...] = ()
    driver: str = ""

    @property
    def available(self) -> bool:
        return bool(self.engines)
