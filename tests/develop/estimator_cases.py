"""Cases: estimators of every kind that is converted, each with the data that it is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

ROWS, TRIED = 300, 2000


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], Any]
    data: str
    nan: bool = False
    weights: bool = False

    def __str__(self) -> str:
        return f"{self.name}-{self.data}{'-nan' * self.nan}{'-weights' * self.weights}"


def case(name: str, make: Callable[[], Any], *data: str, nan: bool = False, weights: bool = False) -> list[Case]:
    return [Case(name, make, each, nan, weights) for each in data]


@cache
def numbers(seed: int, rows: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.array([[0, 2, -1, 100, 0.01, 3.0], [3, -2, 1, 103, 0.02, 1.0], [-3, 0, 2, 97, 0.03, 2.0]])
    spread = np.array([2, 2, 2, 5, 0.02, 2.0])
    kinds = random.integers(0, 3, rows)
    return centres[kinds] + random.normal(size=(rows, 6)) * spread


def targets(x: np.ndarray, data: str) -> np.ndarray:
    score = x[:, 0] - x[:, 1] + 0.3 * (x[:, 3] - 100) + 20 * x[:, 4] + np.sin(x[:, 5] * 3)
    kinds = np.digitize(score, np.quantile(score, [0.35, 0.7]))
    match data:
        case "binary":
            return (kinds > 0).astype(int)
        case "names":
            return np.array(["cold", "mild", "warm"])[kinds]
        case "three" | "counts" | "codes":
            return kinds
        case "positive":
            return np.exp(score / 10)
        case "several":
            return np.stack([score, x[:, 0] * 2], axis=1)
    return score


def rows(case: Case, seed: int, count: int) -> np.ndarray:
    x = numbers(seed, count).copy()
    if case.data == "counts":
        x = np.random.default_rng(seed).poisson(np.abs(x[:, [0, 1, 2, 5]]) + 0.5).astype(float)
    if case.data == "codes":
        x = np.digitize(x[:, [0, 1, 2, 5]], [-1, 0, 2]).astype(float)
    if case.nan:
        x[np.random.default_rng(seed + 1).random(x.shape) < 0.1] = np.nan
    return x


def fitted(case: Case) -> Any:
    base = numbers(0, ROWS)
    x, y = rows(case, 0, ROWS), targets(base, case.data)
    estimator = case.make()
    if case.weights:
        return estimator.fit(x, y, sample_weight=np.random.default_rng(2).uniform(0.1, 3, ROWS))
    return estimator.fit(x, y)
