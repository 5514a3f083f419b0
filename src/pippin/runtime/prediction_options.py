"""Prediction options: settings of one prediction. Names follow Core ML's `MLPredictionOptions`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """Options of one prediction."""

    output_backings: Mapping[str, Any] = field(default_factory=dict)
    """The caller's arrays for multiarray outputs, in the output's shape and dtype; the result contains these arrays.
    The engine writes into them directly if they are in its compute dtype and C order; otherwise its output is copied
    into them. Their contents are undefined until the prediction completes or fails."""
