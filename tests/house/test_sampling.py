"""Sampling of the suite: a share of the rows of large tests, the same in every process, others with another seed."""

from __future__ import annotations

from functools import partial

from support.sampling import LARGE, file_of, function_of, unsampled

LARGE_TEST = [f"a/test_x.py::test_large[{i}]" for i in range(100)]
SMALL_TEST = [f"a/test_x.py::test_small[{i}]" for i in range(LARGE - 1)]
SLOW_TESTS = [f"a/test_{file}.py::test_{i}" for file in "yz" for i in range(10)]
rows_unsampled = partial(unsampled, group_of=function_of, large=LARGE)


def test_a_share_of_large_tests_and_all_of_small_ones():
    left_out = rows_unsampled([*LARGE_TEST, *SMALL_TEST], share=0.4, seed=0)
    assert len(left_out) == 60
    assert left_out <= set(LARGE_TEST)


def test_everything_by_default():
    assert not rows_unsampled(LARGE_TEST, share=1.0, seed=0)


def test_one_row_is_always_kept():
    assert len(rows_unsampled(LARGE_TEST, share=0.0, seed=0)) == len(LARGE_TEST) - 1


def test_the_seed_chooses_and_the_order_does_not():
    assert rows_unsampled(LARGE_TEST, share=0.4, seed=0) == rows_unsampled(LARGE_TEST[::-1], share=0.4, seed=0)
    assert rows_unsampled(LARGE_TEST, share=0.4, seed=0) != rows_unsampled(LARGE_TEST, share=0.4, seed=1)


def test_seeds_reach_every_row():
    kept = set().union(*(set(LARGE_TEST) - rows_unsampled(LARGE_TEST, share=0.4, seed=seed) for seed in range(30)))
    assert kept == set(LARGE_TEST)


def test_a_share_of_each_file():
    left_out = unsampled(SLOW_TESTS, file_of, 2, 0.5, seed=0)
    assert sorted(map(file_of, left_out)) == ["a/test_y.py"] * 5 + ["a/test_z.py"] * 5
