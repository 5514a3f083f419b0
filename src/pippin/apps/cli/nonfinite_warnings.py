"""Non-finite warnings: says which outputs hold NaN or infinity, and which operation made the first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...configuration import Configuration
from ...errors import PippinError
from .loading_bar import loading_bar

if TYPE_CHECKING:
    from ...format.asset import Asset


def not_finite(values: Mapping[str, Any]) -> list[str]:
    """A sentence for each value that holds NaN or infinity."""
    found = []
    for name, value in values.items():
        nan, infinite, size = _counts(value)
        if nan:
            also = f", {infinite:,} infinite" if infinite else ""
            found.append(f"{name}: {nan:,} of {size:,} numbers {'is' if nan == 1 else 'are'} NaN{also}")
        elif infinite:
            found.append(f"{name}: {infinite:,} of {size:,} numbers {'is' if infinite == 1 else 'are'} infinite")
    return found


def _counts(value: Any) -> tuple[int, int, int]:
    """How many numbers are NaN and infinite, and how many there are."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            return 0, 0, value.size
        return int(np.isnan(value).sum()), int(np.isinf(value).sum()), value.size
    listed = [n for n in (value if isinstance(value, list) else [value]) if isinstance(n, float)]
    return sum(map(math.isnan, listed)), sum(map(math.isinf, listed)), len(listed)


@dataclass(slots=True)
class Origins:
    """Names the operation that made the first NaN or infinity, once in a command."""

    asset: Asset
    configuration: Configuration
    _told: bool = False

    def of(self, features: Mapping[str, Any], states: Mapping[str, np.ndarray], outputs: Mapping[str, Any]) -> str:
        """Where the values of this prediction come from; "" if it was said before or cannot be found."""
        if self._told:
            return ""
        self._told = True
        given = not_finite({**features, **states})
        if given:
            return f"the input {given[0]}"
        try:
            with loading_bar("look for the origin"):
                from ...reporting.first_nonfinite import first_nonfinite

                origin = first_nonfinite(self.asset, features, self.configuration, states)
        except PippinError:
            return ""
        if origin is not None:
            return str(origin)
        halves = [name for name, value in outputs.items() if getattr(value, "dtype", None) == np.float16]
        if any(name in halves and _counts(value)[1] for name, value in outputs.items()):
            return f"finite in float32, and too large for float16, the type of {', '.join(halves)}"
        return "all values are finite in float32: --precision float32 avoids it"
