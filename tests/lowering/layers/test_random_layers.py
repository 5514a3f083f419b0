"""Layers of chance: the distribution that is asked for, the shape, and the seed."""

from __future__ import annotations

import numpy as np
import pytest

import pippin
from lowering.layers.layer_harness import ENGINES, row, specification

SHAPE = (50, 40)
BLANK, SIZES = {"x": np.zeros(SHAPE, np.float32)}, {"s": np.array(SHAPE, np.float32)}
NORMAL, UNIFORM, BERNOULLI = (2, 3), (2, 6 / 12**0.5), (0.25, 0.1875**0.5)  # mean, deviation
PROBABILITIES = np.array([[0.2, 0.5, 0.3]], np.float32)


def static(add):
    """A layer without inputs; a network needs one."""
    return lambda b: (add(b, "k"), b.add_add_broadcastable("add", ["x", "k"], "y"))


ROWS = [
    row("randomNormalStatic", static(lambda b, to: b.add_random_normal_static("l", to, SHAPE, 2.0, 3.0, 7)), BLANK, NORMAL),
    row("randomNormalLike", lambda b: b.add_random_normal_like("l", "x", "y", 2.0, 3.0, 7), BLANK, NORMAL),
    row("randomNormalDynamic", lambda b: b.add_random_normal_dynamic("l", ["s"], "y", 2.0, 3.0, 7), SIZES, NORMAL),
    row("randomUniformStatic", static(lambda b, to: b.add_random_uniform_static("l", to, SHAPE, -1.0, 5.0, 7)), BLANK, UNIFORM),
    row("randomUniformLike", lambda b: b.add_random_uniform_like("l", "x", "y", -1.0, 5.0, 7), BLANK, UNIFORM),
    row("randomUniformDynamic", lambda b: b.add_random_uniform_dynamic("l", ["s"], "y", -1.0, 5.0, 7), SIZES, UNIFORM),
    row("randomBernoulliStatic", static(lambda b, to: b.add_random_bernoulli_static("l", to, SHAPE, 0.25, 7)), BLANK, BERNOULLI),
    row("randomBernoulliLike", lambda b: b.add_random_bernoulli_like("l", "x", "y", 0.25, 7), BLANK, BERNOULLI),
    row("randomBernoulliDynamic", lambda b: b.add_random_bernoulli_dynamic("l", ["s"], "y", 0.25, 7), SIZES, BERNOULLI),
    row("categoricalDistribution", lambda b: b.add_categorical_distribution("l", "x", "y", 2000, is_logits=False, seed=7), {"x": PROBABILITIES}, (1.1, (0.2 * 1.1**2 + 0.5 * 0.1**2 + 0.3 * 0.9**2) ** 0.5)),
    row("categoricalDistribution", lambda b: b.add_categorical_distribution("l", "x", "y", 2000, is_logits=True, temperature=0.5, seed=7), {"x": np.log(np.sqrt(PROBABILITIES))}, (1.1, (0.2 * 1.1**2 + 0.5 * 0.1**2 + 0.3 * 0.9**2) ** 0.5), label="logits"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("r", ROWS, ids=[f"{r.layer}-{r.label}" for r in ROWS])
def test_distribution(r, engine):
    try:
        model = pippin.load(specification(r), pippin.Configuration(engine=engine))
    except pippin.errors.UnsupportedOperationError:
        assert engine == "openvino"
        pytest.skip("openvino declines it")
    found = model.predict(r.inputs)["y"]
    mean, deviation = r.expect
    assert found.size == 2000
    assert found.mean() == pytest.approx(mean, abs=5 * deviation / found.size**0.5)
    assert found.std() == pytest.approx(deviation, rel=0.1)
