"""Load log: tells the logger "pippin", at INFO, what a load decided and why. Nothing is shown by default."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import CacheError
from ..support.units import format_duration
from ..support.visible_text import visible

if TYPE_CHECKING:
    from ..specialization.compute_plan import ComputePlan


def log_decision(model: str, label: str, plan: Callable[[], ComputePlan]) -> None:
    """Log one line: engine, precision and device, whether cached, and why the others lost."""
    logging = sys.modules.get("logging")  # nobody listens who has not imported it
    if logging is None or not (log := logging.getLogger("pippin")).isEnabledFor(logging.INFO):
        return
    try:
        reasons = decision(plan())
    except CacheError as error:
        reasons = f"its plan cannot be read: {error}"
    log.info("%s (%s): %s", visible(model), label, visible(reasons))


def log_line(line: str, *words: str) -> None:
    """Log a line at INFO, its words made visible."""
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.getLogger("pippin").info(line, *map(visible, words))


def decision(plan: ComputePlan) -> str:
    """The chosen engines with the measured time, and each other candidate with the reason why not."""
    times = [candidate.seconds for candidate in plan.chosen() if candidate.seconds is not None]
    measured = f"measured at {format_duration(sum(times))}" if times else "not measured"
    lost = [f"not {candidate}: {candidate.note}" for candidate in plan.candidates if candidate.note]
    declined = [f"{engine} cannot run all of it: {why}" for engine, why in plan.declined.items()]
    return "; ".join([f"{plan.engines}, {measured}", *lost, *declined])
