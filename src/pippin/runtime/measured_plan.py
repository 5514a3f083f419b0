"""Measured plan: the compute plan of a loaded model with the times of its operations, from the engine's profiler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..configuration import Configuration
from ..engines import PYTHON_ENGINE, engine_named
from ..errors import UnsupportedError
from .loading import Loaded, Source

if TYPE_CHECKING:
    from ..specialization.compute_plan import ComputePlan


def profiled(
    loaded: Loaded, source: Source, configuration: Configuration, features: Mapping[str, Any] | None = None
) -> ComputePlan:
    """The plan of a loaded model with the measured seconds of each operation, for these features or random ones. Time
    without an operation is under "".

    Raises UnsupportedError for a model of which a segment runs in Python.
    """
    from ..specialization.prepared_models import sources
    from ..specialization.profile import with_measurements
    from ..specialization.sample_inputs import example_inputs
    from ..specialization.segment import between
    from ..specialization.specializer import lower_function

    plan, segments = loaded.compute_plan(), loaded.segments
    if any(segment.engine == PYTHON_ENGINE for segment in segments):
        raise UnsupportedError("cannot profile the operations of a model that runs Python code")
    lowered = lower_function(source.open(), configuration, rounds=segments[0].settings.device == "cpu")
    session, kernels = loaded.session, []
    values = dict(example_inputs(session.function, lowered) if features is None else session.tensors(features))
    for segment in segments:
        one = len(segments) == 1
        model = lowered.model if one else between(lowered.model, segment.inputs, segment.outputs)
        arrays = values if one else {name: values[name] for name in segment.inputs}
        engine = engine_named(segment.engine)
        with sources(model, [engine]) as readable_by:
            kernels += engine.profile(readable_by[engine.name], segment.settings, arrays) or []
            if segment is not segments[-1]:  # what the next one reads
                values |= engine.compile(readable_by[engine.name], segment.settings).run(arrays)
    return with_measurements(plan, lowered.model, kernels)
