"""Random operations by their distributions: bounds of six standard errors on samples of 40,000."""

import numpy as np
import pytest

from lowering.harness import ENGINES, Case, case, dynamic, rows, run

COUNT = 40_000


def _near(expected, deviation):
    def holds(x):
        error = 6 * deviation / np.sqrt(x.size)
        assert abs(x.mean() - expected) < error, f"mean {x.mean()}, expected {expected} within {error}"
        assert abs(x.std() - deviation) < 0.05 * deviation

    return holds


def _uniform(low, high):
    near = _near((low + high) / 2, (high - low) / np.sqrt(12))

    def holds(x):
        near(x)
        assert x.min() >= low and x.max() <= high
        quarters = np.histogram(x, 4, (low, high))[0] / x.size
        assert np.abs(quarters - 0.25).max() < 0.02

    return holds


def _normal(mean, deviation):
    near = _near(mean, deviation)

    def holds(x):
        near(x)
        within = [(np.abs(x - mean) < k * deviation).mean() for k in (1, 2)]
        assert np.abs(np.array(within) - [0.6827, 0.9545]).max() < 0.02

    return holds


def _bernoulli(p):
    def holds(x):
        assert set(np.unique(x)) <= {0.0, 1.0}
        assert abs(x.mean() - p) < 6 * np.sqrt(p * (1 - p) / x.size)

    return holds


def _categorical(probabilities):
    def holds(x):
        found = np.array([(x == i).mean() for i in range(len(probabilities))])
        assert np.abs(found - probabilities).max() < 0.02

    return holds


P = np.array([0.1, 0.2, 0.7], np.float32)
SHAPE = np.array([200, 200], np.int32)
CASES = [
    case("random_uniform", shape=[200, 200], low=-1.0, high=3.0, dtypes=["fp32"], expect=_uniform(-1, 3)),
    case("random_uniform", shape=SHAPE, low=0.0, high=1.0, dtypes=["fp32"], label="runtime", expect=_uniform(0, 1)),
    case("random_uniform", shape=[200, 200], seed=7, dtypes=["fp32"], expect=_uniform(0, 1)),
    case("random_normal", shape=[200, 200], mean=2.0, stddev=0.5, dtypes=["fp32"], expect=_normal(2, 0.5)),
    case("random_normal", shape=SHAPE, mean=0.0, stddev=1.0, dtypes=["fp32"], label="runtime", expect=_normal(0, 1)),
    case("random_bernoulli", shape=[200, 200], prob=0.3, dtypes=["fp32"], expect=_bernoulli(0.3)),
    case("random_bernoulli", shape=SHAPE, dtypes=["fp32"], label="runtime", expect=_bernoulli(0.5)),
    case("random_categorical", x=np.log(P)[None], size=COUNT, mode="logits", dtypes=["fp32"], expect=_categorical(P)),
    case("random_categorical", x=P[None], size=COUNT, mode="probs", dtypes=["fp32"], expect=_categorical(P)),
    case(
        "random_categorical",
        x=dynamic(np.stack([P] * 4)),
        size=COUNT // 4,
        mode="probs",
        dtypes=["fp32"],
        expect=_categorical(P),
    ),
]


@rows(CASES)
def test_random(row: Case, engine: str, dtype: str):
    (found,) = run(row, row.arguments, engine)
    row.expect(found)


@pytest.mark.parametrize("engine", ENGINES)
def test_two_draws_differ(engine):
    row = case(
        "random_uniform",
        shape=[8],
        expect=None,
        build=lambda mb: (mb.random_uniform(shape=[8]), mb.random_uniform(shape=[8])),
    )
    first, second = run(row, {}, engine)
    assert not np.array_equal(first, second)
