"""OpenVINO profile: reads the kernel times of profiled requests, and which nodes of the model each kernel computes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from .base import Kernel


def kernels(runtime_model: Any, runs: Sequence[Sequence[Any]]) -> list[Kernel]:
    """`runtime_model` is the executable graph of a compiled model, `runs` the profiling information of requests."""
    seconds: dict[str, list[float]] = {}
    for run in runs:
        for info in run:
            if took := info.real_time.total_seconds():
                seconds.setdefault(info.node_name, []).append(took)
    nodes = _computed_nodes(runtime_model)
    return [Kernel(statistics.median(times), nodes.get(name, (name,))) for name, times in seconds.items()]


def _computed_nodes(runtime_model: Any) -> dict[str, tuple[str, ...]]:
    """{kernel: nodes of the model}. A kernel that the engine added, such as a reordering, belongs to the one that reads
    its output, else to the one before it."""
    found = {}
    for op in runtime_model.get_ordered_ops():
        readers = [reader.get_node() for output in op.outputs() for reader in output.get_target_inputs()]
        makers = [entry.get_source_output().get_node() for entry in op.inputs()]
        found[op.get_friendly_name()] = next(
            (names for names in map(_original_names, [op, *readers, *makers]) if names), ()
        )
    return found


def _original_names(op: Any) -> tuple[str, ...]:
    info = op.get_rt_info()
    names = info["originalLayersNames"].astype(str) if "originalLayersNames" in info else ""
    return tuple(name for name in names.split(",") if "/" in name)
