"""Run: predicts every example with every model, keeps the answers, and makes the evaluation of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...configuration import Configuration
from ...errors import ConfigurationError, DataError
from ...features.image_input import Resize
from ...reporting import report
from ...reporting.results import Result
from ...runtime.model import Model, load
from ...runtime.prediction_options import PredictionOptions
from ..data import Dataset, Example, Task, open_dataset
from .answers import answer_for, described_by, features_of
from .evaluation import ClassFigures, Evaluation, Mistake, Variant
from .metrics import Metric, Records, box_figures, metrics_of
from .records import AnswerFile
from .significance import Difference, difference

_LISTED = 100  # mistakes, disagreements
_BINS = 10

Progress = Callable[[int, int | None, float | None], object]
"""Called with the examples done, their number, and the seconds left; None if not known."""


def evaluate(
    models: Any,
    data: Any,
    metric: str | Callable[[Any, Any], float] = "auto",
    *,
    label: str | None = None,
    task: Task | None = None,
    output: str | None = None,
    resize: Resize | None = None,
    configuration: Configuration | None = None,
    limit: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    costs: bool = True,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate one or several models on labelled data, side by side.

    `models` is a path or a loaded model, or a list of these. `data` is what `open_dataset` takes; `label` names the
    column of the truth, `task` says what it is. `metric` is "auto", the name of the one to compare by, or a function of
    truth and answer. `output` names the model's output, where it has several. `limit` stops after so many examples.
    With `resume`, answers are appended to that file, and those it has are not made again. `costs` measures size, loads,
    latency, throughput and memory as `pippin.report` does. Examples are read one at a time, and only answers are kept.

    Raises DataError for data that cannot be read, UnsupportedModelError and UnsupportedError for a model or metric that
    does not fit, and what loading and predicting raise.

    found = pippin.evaluate(["model.mlpackage", "small.mlpackage"], "photos/")
    print(found.variants[1].figures["accuracy"])
    """
    opened = open_dataset(data, label, task)
    if limit is not None and limit < 1:
        raise ConfigurationError(f"limit must be a positive integer, got {limit}")
    sources = list(models) if isinstance(models, list | tuple) else [models]
    loaded = [each if isinstance(each, Model) else load(each, configuration) for each in sources]
    names = _names(loaded)
    records = _answers(loaded, names, opened, _Asked(output, resize, limit, resume, metric), progress)
    results = [_cost(source, configuration) if costs else None for source in sources]
    return _evaluation(opened, names, records, metric, results)


class _Asked:
    """How the examples are predicted."""

    def __init__(
        self, output: str | None, resize: Resize | None, limit: int | None, resume: Any, metric: object
    ) -> None:
        self.output, self.limit = output, limit
        self.options = None if resize is None else PredictionOptions(resize=resize)
        self.resume = None if resume is None else Path(resume)
        self.raw = callable(metric)


def _names(models: Sequence[Model]) -> list[str]:
    """The models' names, numbered where they are equal."""
    names = [model.name for model in models]
    return [f"{name} ({names[: n + 1].count(name)})" if names.count(name) > 1 else name for n, name in enumerate(names)]


def _answers(
    models: Sequence[Model], names: Sequence[str], data: Dataset, asked: _Asked, progress: Progress | None
) -> tuple[list[str], list[list[tuple[Any, Any]]]]:
    """The examples' names, and for each model the pairs of truth and answer."""
    task: Task = "other" if asked.raw and data.task == "other" else data.task
    answerers = [answer_for(task, model, asked.output) for model in models]
    total = data.count if asked.limit is None else min(data.count or asked.limit, asked.limit)
    seen: list[str] = []
    records: list[list[tuple[Any, Any]]] = [[] for _ in models]
    started, fresh = time.monotonic(), 0
    with AnswerFile(asked.resume, data, models, names) as kept:
        for number, example in enumerate(data):
            if asked.limit is not None and number >= asked.limit:
                break
            seen.append(example.name)
            for place, (model, answer) in enumerate(zip(models, answerers, strict=True)):
                found = kept.known(place, example.name)
                if found is None:
                    found, fresh = _asked(model, answer, example, asked.options), fresh + 1
                    kept.add(place, example.name, found)
                records[place].append((example.truth, found))
            if progress is not None:
                left = None
                if total and fresh:
                    left = (time.monotonic() - started) / fresh * len(models) * (total - number - 1)
                progress(number + 1, total, left)
    if not seen:
        raise DataError(f"{data.name}: no examples")
    return seen, records


def _asked(model: Model, answer: Any, example: Example, options: PredictionOptions | None) -> Any:
    try:
        outputs = model.predict(features_of(described_by(model), example), options=options)
        return answer(outputs, example)
    except Exception as error:
        error.add_note(f"in the example {example.name}")
        raise


def _cost(source: Any, configuration: Configuration | None) -> Result | None:
    """What `pippin report` measures; None for a model that was loaded from memory."""
    if isinstance(source, Model) or not isinstance(source, str | os.PathLike):
        return None
    return report(source, configurations=None if configuration is None else [configuration], seconds=1.0).results[0]


def _evaluation(
    data: Dataset, names: Sequence[str], answers: tuple[list[str], list[list[tuple[Any, Any]]]], metric: Any,
    results: Sequence[Result | None],
) -> Evaluation:  # fmt: skip
    seen, records = answers
    classes = _classes(data, records)
    every = [pair for listed in records for pair in listed]
    metrics = (
        [] if data.task == "detection" and not callable(metric) else metrics_of(_with(data, classes), metric, every)
    )
    metrics = metrics if not callable(metric) else []
    variants = []
    differences: list[Difference] = []
    for place, (name, listed) in enumerate(zip(names, records, strict=True)):
        own = metrics_of(data, metric, listed) if callable(metric) else metrics
        variants.append(_variant(data.task, name, seen, listed, own, classes, results[place]))
        if place:
            differences += _differences((names[0], name), records[0], listed, metrics, classes)
    apart = [
        (example, _word(group[0][0]), *(_word(answer) for _, answer in group))
        for example, *group in zip(seen, *records, strict=True)
        if len(records) > 1 and any(_said(answer) != _said(group[0][1]) for _, answer in group)
    ]
    return Evaluation(
        data.name, data.task, len(seen), tuple(classes), tuple(variants), tuple(differences), tuple(apart[:_LISTED])
    )


def _with(data: Dataset, classes: Sequence[str]) -> Dataset:
    from dataclasses import replace

    return replace(data, classes=tuple(classes))


def _classes(data: Dataset, records: Sequence[Records]) -> tuple[str, ...]:
    """Those of the data, and labels that only models answer."""
    task = data.task
    if task == "classification":
        known = data.classes or tuple(sorted({str(truth) for listed in records for truth, _ in listed}))
        answered = {answer["label"] for listed in records for _, answer in listed if isinstance(answer, dict)}
        return (*known, *sorted(answered - set(known)))
    if data.classes:
        return data.classes
    if task == "detection":
        return tuple(sorted({box[0] for listed in records for truth, _ in listed for box in truth}))
    if task == "segmentation":
        most = max((max(t, f) for listed in records for _, answer in listed for t, f, _ in answer), default=0)
        return tuple(str(number) for number in range(most + 1))
    return ()


def _differences(
    names: tuple[str, str], first: Records, second: Records, metrics: Iterable[Metric], classes: Sequence[str]
) -> list[Difference]:
    return [difference(names, each, first, second, classes) for each in metrics]


def _variant(
    task: Task, name: str, seen: Sequence[str], records: Records, metrics: Sequence[Metric], classes: Sequence[str],
    cost: Result | None,
) -> Variant:  # fmt: skip
    if task == "detection" and not metrics:
        return Variant(name, box_figures(records, classes), (), (), (), cost)
    figures = {metric.name: metric.figure(records, classes) for metric in metrics}
    if task == "segmentation":
        return Variant(name, figures, _by_class_of_pixels(records, classes), (), (), cost)
    if task != "classification" or not all(isinstance(answer, dict) for _, answer in records):
        return Variant(name, figures, (), (), (), cost)
    wrong = [
        Mistake(example, str(truth), answer["label"], answer.get("p"))
        for example, (truth, answer) in zip(seen, records, strict=True)
        if str(truth) != answer["label"]
    ]
    wrong.sort(key=lambda mistake: -(mistake.probability or 0.0))
    return Variant(
        name, figures, _by_class(records, classes), _confusion(records, classes), tuple(wrong[:_LISTED]), cost,
        _calibration(records),
    )  # fmt: skip


def _by_class(records: Records, classes: Sequence[str]) -> tuple[ClassFigures, ...]:
    from sklearn.metrics import precision_recall_fscore_support

    truths, answers = [str(truth) for truth, _ in records], [answer["label"] for _, answer in records]
    columns = precision_recall_fscore_support(truths, answers, labels=list(classes), zero_division=0.0)
    return tuple(
        ClassFigures(name, int(count), {"precision": float(p), "recall": float(r), "f1": float(f)})
        for name, p, r, f, count in zip(classes, *columns, strict=True)
    )


def _by_class_of_pixels(records: Records, classes: Sequence[str]) -> tuple[ClassFigures, ...]:
    from .metrics import METRICS

    sums = METRICS["segmentation"][0].parts(records, classes).sum(0).reshape(2, -1)
    present = [sum(any(t == number for t, _, _ in answer) for _, answer in records) for number in range(len(classes))]
    return tuple(
        ClassFigures(name, present[number], {"iou": float(both / either) if either else 0.0})
        for number, (name, both, either) in enumerate(zip(classes, *sums, strict=True))
    )


def _confusion(records: Records, classes: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    from sklearn.metrics import confusion_matrix

    truths, answers = [str(truth) for truth, _ in records], [answer["label"] for _, answer in records]
    return tuple(tuple(map(int, row)) for row in confusion_matrix(truths, answers, labels=list(classes)))


def _calibration(records: Records) -> float | None:
    """The mean gap between the probability of the answered label and how often it is right, in ten equal bins: Naeini
    et al., "Obtaining well calibrated probabilities using Bayesian binning", 2015."""
    pairs = [(answer.get("p"), str(truth) == answer["label"]) for truth, answer in records]
    if any(p is None for p, _ in pairs):
        return None
    sure, right = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = (abs(sure[bins == n].mean() - right[bins == n].mean()) * (bins == n).mean() for n in set(bins.tolist()))
    return float(sum(gaps))


def _said(answer: Any) -> Any:
    return answer["label"] if isinstance(answer, dict) else answer


def _word(value: Any) -> str:
    text = str(_said(value))
    return text if len(text) <= 80 else f"{text[:79]}…"
