"""Targets: what a compression must reach: `size=4x`, `size=12MB`, `latency=5ms`, `memory=200MB`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ...errors import ConfigurationError

_UNITS = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_OF = {"size": ("x", "b", "kb", "mb", "gb"), "latency": ("us", "ms", "s"), "memory": ("b", "kb", "mb", "gb")}


@dataclass(frozen=True, slots=True)
class Target:
    """`size` is in bytes of weights, or a ratio to their bytes in float32; `latency` in seconds, `memory` in bytes."""

    kind: Literal["size", "latency", "memory"]
    amount: float
    is_ratio: bool
    text: str


def parse_target(text: str) -> Target:
    """Raises ConfigurationError for what is no target."""
    match = re.fullmatch(r"\s*(size|latency|memory)\s*=\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", text.lower())
    if match is None or match[3] not in _OF[match[1]] or not float(match[2]):
        raise ConfigurationError(f"target must be like size=4x, size=12MB, latency=5ms or memory=200MB, got {text!r}")
    kind, unit = match[1], match[3]
    if unit == "x":
        return Target("size", float(match[2]), True, text)
    return Target(kind, float(match[2]) * _UNITS[unit], False, text)  # type: ignore[arg-type]


def parse_seconds(text: str | float) -> float:
    """Seconds of `10 min`, `90 s`, `1h` or a number. Raises ConfigurationError."""
    match = re.fullmatch(r"\s*(\d+\.?\d*)\s*(s|sec|m|min|h)?\s*", str(text).lower())
    if match is None:
        raise ConfigurationError(f"budget must be a time such as '10 min', got {text!r}")
    return float(match[1]) * {"m": 60.0, "min": 60.0, "h": 3600.0}.get(match[2] or "s", 1.0)


def parse_share(text: str | float) -> float:
    """0.01 of `1%`, `0.01` or 0.01. Raises ConfigurationError."""
    given = str(text).strip()
    try:
        found = float(given[:-1]) / 100 if given.endswith("%") else float(given)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise ConfigurationError(f"max_drop must be a share such as 0.01 or '1%', got {text!r}")
    return found
