"""Reporting: measures a model's speed, memory and device placement on this machine, and compares reports.

In: model files and configurations. Out: a `Report`, written as JSON, CSV or HTML.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..configuration import Configuration
    from .performance_report import Report


def report(
    *models: str | os.PathLike[str],
    configurations: Iterable[Configuration] | None = None,
    inputs: Mapping[str, Any] | None = None,
    seconds: float = 2.0,
    progress: Callable[[str, float], object] | None = None,
) -> Report:
    """Measure each model in each configuration (default: one configuration with the defaults).

    `inputs` are the features to predict with; seeded random values by default. Predictions are measured for `seconds`,
    at least five of them. `progress` is called with the current step and the completed share, 0 to 1. A private cache
    is used and removed afterwards. Raises what `pippin.load` and predictions raise.

    found = pippin.report("model.mlpackage")
    print(found.results[0].prediction.median)
    found.write_html("report.html")
    """
    from ..configuration import Configuration
    from .measure import Effort, measure_all

    chosen = list(configurations) if configurations is not None else [Configuration()]
    return measure_all([*models], chosen, inputs, Effort(seconds), progress)
