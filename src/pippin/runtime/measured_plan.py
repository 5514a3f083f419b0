"""Measured plan: the compute plan of a loaded model with the times of its operations, from the engine's profiler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..configuration import Configuration
from ..engines import engine_named
from ..errors import UnsupportedError
from .loading import Loaded, Source

if TYPE_CHECKING:
    from ..specialization.compute_plan import ComputePlan


def profiled(
    loaded: Loaded, source: Source, configuration: Configuration, features: Mapping[str, Any] | None = None
) -> ComputePlan:
    """The plan of a loaded model with the measured seconds of each operation, for these features or random ones. Time
    without an operation is under "".

    Raises UnsupportedError for a model split into several segments.
    """
    from ..specialization.prepared_models import sources
    from ..specialization.profile import with_measurements
    from ..specialization.sample_inputs import example_inputs
    from ..specialization.specializer import lower_function

    plan = loaded.compute_plan()
    if len(loaded.segments) > 1:
        raise UnsupportedError("cannot profile the operations of a model split into several segments")
    (segment,) = loaded.segments
    lowered = lower_function(source.open(), configuration, rounds=segment.settings.device == "cpu")
    engine = engine_named(segment.engine)
    with sources(lowered.model, [engine]) as readable_by:
        session = loaded.session
        arrays = example_inputs(session.function, lowered) if features is None else session.tensors(features)
        kernels = engine.profile(readable_by[engine.name], segment.settings, arrays) or []
    return with_measurements(plan, lowered.model, kernels)
