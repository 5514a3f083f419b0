"""OpenVINO profile: reads the kernel times of profiled requests, and which nodes of the model each kernel computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .base import Kernel
from .profiled_runs import typical


def kernels(runtime_model: Any, runs: Sequence[Sequence[Any]], cumulative: bool) -> list[Kernel]:
    """`runtime_model` is the executable graph of a compiled model, `runs` the profiling information after each run of
    one request; the first one was a warm-up.

    On the CPU the information is `cumulative`: averages over all runs so far, the warm-up included, in which OpenVINO
    packs weights (30 times as long as a run).
    """
    seconds: dict[str, list[float]] = {}
    for run in runs:
        for info in run:
            seconds.setdefault(info.node_name, []).append(info.real_time.total_seconds())
    nodes = _computed_nodes(runtime_model)
    read = _from_averages if cumulative else lambda times: typical(times[1:])
    found = {name: read(times) for name, times in seconds.items() if any(times)}
    return [Kernel(took, nodes.get(name, (name,))) for name, took in found.items() if took]


def _from_averages(averages: Sequence[float]) -> float:
    """Seconds of one run from the averages after each run, which are cut to whole microseconds.

    The sum after k runs is known to k microseconds only. So the sums of runs that lie apart are compared, as little
    apart as makes the difference known to a tenth: a run that was disturbed then spoils few of the differences.
    """
    mean = np.rint(1e6 * np.asarray(averages))
    count = np.arange(1, len(mean) + 1)
    least = np.maximum.accumulate(count * mean)
    most = np.minimum.accumulate((count * mean + count - 1)[::-1])[::-1]
    apart = 1
    while True:
        each = (least + most)[apart:] - (least + most)[:-apart]
        each, error = each / (2 * apart), (most - least)[apart:] / apart
        found = float(np.median(each))
        if np.median(error) <= found / 10 or 4 * apart > len(mean):
            return max(found, 0.0) / 1e6
        apart *= 2


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
