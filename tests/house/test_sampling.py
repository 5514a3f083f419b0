"""Sampling of the suite: a share of the rows of large tests, the same in every process, others with another seed."""

from __future__ import annotations

from support.sampling import LARGE, unsampled

LARGE_TEST = [f"a/test_x.py::test_large[{i}]" for i in range(100)]
SMALL_TEST = [f"a/test_x.py::test_small[{i}]" for i in range(LARGE - 1)]


def test_a_share_of_large_tests_and_all_of_small_ones():
    out = unsampled([*LARGE_TEST, *SMALL_TEST], 0.4, seed=0)
    assert len(out) == 60
    assert set(out) <= set(LARGE_TEST)


def test_one_row_is_always_kept():
    assert len(unsampled(LARGE_TEST, 0.0, seed=0)) == len(LARGE_TEST) - 1


def test_the_seed_chooses_and_the_order_does_not():
    assert set(unsampled(LARGE_TEST, 0.4, 0)) == set(unsampled(LARGE_TEST[::-1], 0.4, 0))
    assert set(unsampled(LARGE_TEST, 0.4, 0)) != set(unsampled(LARGE_TEST, 0.4, 1))


def test_seeds_reach_every_row():
    kept = set().union(*(set(LARGE_TEST) - set(unsampled(LARGE_TEST, 0.4, seed)) for seed in range(30)))
    assert kept == set(LARGE_TEST)
