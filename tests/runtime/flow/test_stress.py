"""Stress: a short one of `bench/stress.py`: every result right, counters that add up, no slot lost."""

from __future__ import annotations

from bench import stress


def test_tasks_and_threads_at_once():
    found, wrong = stress.run(1500, seed=1)
    assert not wrong
    assert found.right and found.cancelled and found.bad
