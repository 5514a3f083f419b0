"""Reporting: how fast a model is here, how much memory it takes, what runs where, and how that compares."""

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
    """Measure models, each in each of the configurations (one with the defaults, where there are none).

    `inputs` are the features of the predictions; seeded random ones by default. `seconds` is how long predictions are
    measured, at least five. `progress` is called with what is measured and the share that is done, 0 to 1. Everything
    lies in a private cache, which is removed. Raises what `pippin.load` and a prediction raise.

    found = pippin.report("model.mlpackage")
    print(found.results[0].prediction.median)
    found.write_html("report.html")
    """
    from ..configuration import Configuration
    from .measure import Effort, measure_all

    chosen = list(configurations) if configurations is not None else [Configuration()]
    return measure_all([*models], chosen, inputs, Effort(seconds), progress)
