"""Metrics: from answers and truths to figures with intervals.

Every metric but average precision is a function of sums over the examples, so that thousands of resamples are one
matrix product. The numbers themselves are scikit-learn's, faster-coco-eval's and jiwer's where these have them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ..data import Dataset
from .boxes import average_precision

Records = Sequence[tuple[Any, Any]]
"""(truth, answer) of each example."""
SEED = 0
_RESAMPLES = 2000
_RESAMPLES_OF_BOXES = 100


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric's value with its 95 % interval: Wilson's for a share, the bootstrap's percentiles else."""

    value: float
    low: float
    high: float
    more_is_better: bool = True


@dataclass(frozen=True, slots=True)
class Metric:
    """`parts` gives what is summed over the examples, one row each; `total` makes the value of the sums' last axis."""

    name: str
    parts: Callable[[Records, Sequence[str]], np.ndarray]
    total: Callable[[np.ndarray], np.ndarray]
    more_is_better: bool = True
    share: bool = False
    """Whether it is a number of successes in a number of trials."""

    def figure(self, records: Records, classes: Sequence[str]) -> Figure:
        parts = self.parts(records, classes)
        sums = parts.sum(0)
        value = float(self.total(sums))
        if self.share:
            from scipy.stats import binomtest

            interval = binomtest(int(sums[0]), int(sums[1])).proportion_ci(0.95, "wilson")
            return Figure(value, float(interval.low), float(interval.high), self.more_is_better)
        low, high = np.nanpercentile(self.total(resampled(parts)), [2.5, 97.5])
        return Figure(value, float(low), float(high), self.more_is_better)


def resampled(parts: np.ndarray) -> np.ndarray:
    """The sums of as many examples drawn with replacement, (resamples, parts)."""
    count = len(parts)
    random = np.random.default_rng(SEED)
    found = np.empty((_RESAMPLES, parts.shape[1]))
    for number in range(_RESAMPLES):
        found[number] = np.bincount(random.integers(0, count, count), minlength=count) @ parts
    return found


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        made: np.ndarray = sums[..., 0] / sums[..., 1]
    return made


def _correct(records: Records, classes: Sequence[str]) -> np.ndarray:
    return np.array([[str(truth) == answer["label"], 1] for truth, answer in records], np.float64)


def _among_five(records: Records, classes: Sequence[str]) -> np.ndarray:
    return np.array([[str(truth) in answer["top"], 1] for truth, answer in records], np.float64)


def _surprise(records: Records, classes: Sequence[str]) -> np.ndarray:
    return np.array([[-math.log(max(answer["truth"] or 0.0, 1e-15)), 1] for _, answer in records])


def _hits(records: Records, classes: Sequence[str]) -> np.ndarray:
    """For each class: found and right, found, true."""
    place = {name: number for number, name in enumerate(classes)}
    made = np.zeros((len(records), 3, len(classes)))
    for number, (truth, answer) in enumerate(records):
        true, found = place[str(truth)], place.get(answer["label"])
        made[number, 2, true] = 1
        if found is not None:
            made[number, 1, found] = 1
            made[number, 0, found] = found == true
    return made.reshape(len(records), -1)


def _macro_f1(sums: np.ndarray) -> np.ndarray:
    right, found, true = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, -1), -2, 0)
    both = found + true
    f1 = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
    present = both > 0
    made: np.ndarray = f1.sum(-1) / np.maximum(present.sum(-1), 1)
    return made


def _errors(power: int) -> Callable[[Records, Sequence[str]], np.ndarray]:
    def parts(records: Records, classes: Sequence[str]) -> np.ndarray:
        pairs = [(np.ravel(truth).astype(np.float64), np.asarray(answer)) for truth, answer in records]
        return np.array([[(np.abs(t - a) ** power).sum(), t.size] for t, a in pairs])

    return parts


def _explained(records: Records, classes: Sequence[str]) -> np.ndarray:
    pairs = [(float(np.ravel(truth)[0]), float(answer[0])) for truth, answer in records]
    return np.array([[(t - a) ** 2, t, t * t, 1] for t, a in pairs])


def _r2(sums: np.ndarray) -> np.ndarray:
    residual, first, second, count = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        made: np.ndarray = 1 - residual / (second - first * first / count)
    return made


def _pixels(records: Records, classes: Sequence[str]) -> np.ndarray:
    """For each class: pixels in both, pixels in either."""
    made = np.zeros((len(records), 2, len(classes)))
    for number, (_, answer) in enumerate(records):
        for true, found, pixels in answer:
            made[number, 1, true] += pixels
            if found == true:
                made[number, 0, true] += pixels
            else:
                made[number, 1, found] += pixels
    return made.reshape(len(records), -1)


def _mean_iou(sums: np.ndarray) -> np.ndarray:
    both, either = np.moveaxis(sums.reshape(*sums.shape[:-1], 2, -1), -2, 0)
    iou = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    made: np.ndarray = iou.sum(-1) / np.maximum((either > 0).sum(-1), 1)
    return made


def _right_pixels(records: Records, classes: Sequence[str]) -> np.ndarray:
    return np.array([[sum(n for t, f, n in a if t == f), sum(n for *_, n in a)] for _, a in records], np.float64)


def _word_errors(records: Records, classes: Sequence[str]) -> np.ndarray:
    import jiwer

    made = []
    for truth, answer in records:
        found = jiwer.process_words(str(truth), str(answer))
        wrong = found.substitutions + found.deletions + found.insertions
        made.append([wrong, found.hits + found.substitutions + found.deletions])
    return np.array(made, np.float64)


def _place(number: int) -> Callable[[Records, Sequence[str]], np.ndarray]:
    return lambda records, classes: np.array([[answer[number], 1] for _, answer in records])


METRICS: Mapping[str, tuple[Metric, ...]] = {
    "classification": (
        Metric("accuracy", _correct, _ratio, share=True),
        Metric("macro_f1", _hits, _macro_f1),
        Metric("top5", _among_five, _ratio, share=True),
        Metric("log_loss", _surprise, _ratio, more_is_better=False),
    ),
    "regression": (
        Metric("mae", _errors(1), _ratio, more_is_better=False),
        Metric("rmse", _errors(2), lambda sums: np.sqrt(_ratio(sums)), more_is_better=False),
        Metric("r2", _explained, _r2),
    ),
    "segmentation": (Metric("mean_iou", _pixels, _mean_iou), Metric("pixel_accuracy", _right_pixels, _ratio)),
    "transcription": (Metric("wer", _word_errors, _ratio, more_is_better=False),),
    "image": (Metric("psnr", _place(0), _ratio), Metric("ssim", _place(1), _ratio)),
}
"""By task; the first is the one that variants are compared by."""


def metrics_of(data: Dataset, metric: str | Callable[[Any, Any], float], records: Records) -> list[Metric]:
    """The metrics of a task, those that the answers allow. Raises UnsupportedError for an unknown name."""
    if callable(metric):
        parts = np.array([[float(metric(truth, answer)), 1] for truth, answer in records])
        return [Metric(getattr(metric, "__name__", "metric"), lambda r, c: parts, _ratio)]
    listed = list(METRICS.get(data.task, ()))
    if data.task == "classification":
        if len(data.classes) <= 5:
            listed = [each for each in listed if each.name != "top5"]
        if any(answer["truth"] is None for _, answer in records):
            listed = [each for each in listed if each.name != "log_loss"]
    if metric == "auto":
        return listed
    chosen = [each for each in listed if each.name == metric]
    if not chosen:
        known = ", ".join(each.name for each in listed) or "none; pass a function of truth and answer"
        raise UnsupportedError(f"no metric '{metric}' for {data.task} (there are: {known})")
    return chosen + [each for each in listed if each.name != metric]


def box_figures(records: Records, classes: Sequence[str]) -> dict[str, Figure]:
    """COCO's mean average precision, at 0.5 to 0.95 and at 0.5, with bootstrap intervals over the images."""
    value = average_precision(records, classes)
    random = np.random.default_rng(SEED)
    samples = [
        average_precision([records[i] for i in random.integers(0, len(records), len(records))], classes)
        for _ in range(_RESAMPLES_OF_BOXES)
    ]
    found = {}
    for name, number in value.items():
        low, high = np.nanpercentile([sample[name] for sample in samples], [2.5, 97.5])
        found[name] = Figure(number, float(low), float(high))
    return found
