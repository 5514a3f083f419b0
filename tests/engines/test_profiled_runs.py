"""Profiled runs: what the profilers of the engines tell becomes the seconds of one run."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate
from types import SimpleNamespace

import pytest

from pippin.engines import openvino_profile, profiled_runs
from pippin.engines.profiled_runs import repeat, typical


def averages(runs):
    """OpenVINO's figures after each run: the average of all runs so far, in whole microseconds."""
    return [total // count for count, total in enumerate(accumulate(runs), 1)]


GRAPH = SimpleNamespace(get_ordered_ops=list)


def kernels(figures, cumulative):
    runs = [[SimpleNamespace(node_name="k", real_time=timedelta(microseconds=figure))] for figure in figures]
    return [1e6 * kernel.seconds for kernel in openvino_profile.kernels(GRAPH, runs, cumulative)]


# Microseconds of each run, the first one a warm-up; of the kernel; how exactly.
CUMULATIVE = {
    "a slow first run": ([6691] + [4] * 29, 4, 1.0),
    "a slow first run, and many more": ([6691] + [4] * 199, 4, 0.5),
    "no warm-up to speak of": ([5] * 8, 5, 0.5),
    "few long runs": ([90_000] + [30_000] * 7, 30_000, 10),
    "one that was disturbed": ([300, *[100] * 4, 5000, *[100] * 6], 100, 5),
    "two that were disturbed": ([300, *[1000] * 4, 9000, *[1000] * 6, 7000, *[1000] * 8], 1000, 25),
    "less than the resolution, now and then": ([100] + [0, 1, 1, 0, 1] * 20, 0.6, 0.35),
}


@pytest.mark.parametrize(("runs", "microseconds", "error"), CUMULATIVE.values(), ids=CUMULATIVE)
def test_averages_since_compilation(runs, microseconds, error):
    (found,) = kernels(averages(runs), cumulative=True)
    assert found == pytest.approx(microseconds, abs=error)


def test_figures_of_each_run():
    assert kernels([500, 10, 12, 11, 300, 10, 12, 11, 11], cumulative=False) == [pytest.approx(11.25)]


@pytest.mark.parametrize("cumulative", [True, False])
def test_what_takes_no_time_is_not_a_kernel(cumulative):
    assert kernels([0] * 9, cumulative) == []


@pytest.mark.parametrize(
    ("times", "found"),
    [([3.0], 3), ([1.0, 2, 900], 301), ([4.0, 4, 4, 5, 5, 900, 4, 5], 4.5), ([2.0, 2, 2, 2, 3, 3, 3, 3], 2.5)],
)
def test_typical(times, found):
    assert typical(times) == pytest.approx(found)


@pytest.mark.parametrize(("seconds", "count"), [(1.0, 7), (0.01, 30), (1e-6, 200)])
def test_shorter_predictions_are_repeated_more_often(seconds, count, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(profiled_runs.time, "perf_counter", lambda: clock[0])

    def run():
        clock[0] += seconds

    assert repeat(run) == pytest.approx(count, abs=1)
