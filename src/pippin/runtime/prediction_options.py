"""Options: what one prediction may be told. The words are `MLPredictionOptions`'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """Options of a prediction."""

    output_backings: Mapping[str, Any] = field(default_factory=dict)
    """Arrays of the caller's for outputs that are multiarrays, in the output's shape and dtype; the result holds these
    very arrays. Where the layout is what the engine gives too (the dtype it computes in, C order), it writes into them
    and nothing is copied; else what it gives is copied into them. Undefined until the prediction is done, or fails."""
