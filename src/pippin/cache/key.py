"""Key: derives the cache key from the named ingredients of a specialization, such as its devices and versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..configuration import Configuration
from ..devices import ComputeDevice
from ..version import __version__

LAYOUT = 8
"""Version of the entry format."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """Everything a specialization depends on, by name."""

    values: Mapping[str, Any]

    @property
    def key(self) -> str:
        text = json.dumps(self.values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:40]

    def changed(self, other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """The differences from another entry: {ingredient: (other value, own value)}."""
        names = dict.fromkeys([*other, *self.values])
        pairs = {name: (other.get(name), self.values.get(name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def ingredients(digest: str, configuration: Configuration, devices: tuple[ComputeDevice, ...]) -> Ingredients:
    """The ingredients for a model with this digest, on these devices."""
    values: dict[str, Any] = {"model": digest, "function": configuration.function_name or ""}
    options = asdict(configuration)
    options["compute_units"] = configuration.compute_units.value
    hints = options.pop("hints")
    if hints["specialization_strategy"] == "progressive":  # its second stage is what "default" stores
        hints["specialization_strategy"] = "default"
    del options["function_name"]
    values |= {f"configuration.{name}": value for name, value in (options | hints).items()}
    for device in devices:
        values[f"device.{device.kind}"] = [device.name, device.cores, list(device.instruction_sets), device.driver]
        values |= {f"engine.{name}": version for name, version in device.engines.items()}
    return Ingredients(values | {"pippin": f"{__version__} layout {LAYOUT}"})
