"""Model facts: what a model says about itself: features, labels, engine, plan, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # deferred: needed only once a model is loaded
    from ..configuration import Configuration
    from ..format.description import FeatureDescription, ModelDescription
    from ..specialization.compute_plan import ComputePlan
    from .loading import Loaded, Source
    from .progressive import SecondStage

_FEATURES = 3  # inputs or outputs that are shown on a line


class ModelFacts:
    """The part of `Model` that predicts nothing. What is asked of a lazy model loads it; showing it does not."""

    def __init__(self, source: Source, configuration: Configuration) -> None:
        self._source = source
        self.configuration = configuration
        self._loaded: Loaded | None = None
        self._closed = False
        self._second_stage: SecondStage | None = None

    def _opened(self) -> Loaded:
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The name of the model's file or folder, such as "model.mlpackage"."""
        return self._source.name

    @property
    def inputs(self) -> dict[str, FeatureDescription]:
        """The inputs by name: `type`, `dtype`, `shape`, `range`, `shapes`, `optional`, `default`, `doc`."""
        return {feature.name: feature for feature in self._opened().session.function.inputs}

    @property
    def outputs(self) -> dict[str, FeatureDescription]:
        """The outputs by name."""
        return {feature.name: feature for feature in self._opened().session.function.outputs}

    @property
    def labels(self) -> tuple[str | int, ...] | None:
        """The class labels of a classifier; None for other models."""
        return self.description.class_labels

    @property
    def description(self) -> ModelDescription:
        """Inputs and outputs of the model."""
        return self._opened().description

    @property
    def function_name(self) -> str:
        return self._opened().session.function.name

    @property
    def engine(self) -> str:
        """The engine that runs the model. Several are joined by "+" if its segments use different engines."""
        return "+".join(dict.fromkeys(segment.engine for segment in self._opened().segments))

    @property
    def compute_plan(self) -> ComputePlan:
        """What runs where, and why. Raises CacheError if its cache entry was removed."""
        plan = self._opened().compute_plan()
        stage = self._second_stage.stage if self._second_stage is not None else ""
        return replace(plan, stage=stage) if stage else plan

    @property
    def specialized(self) -> SecondStage:
        """The second stage of a progressive specialization, which is complete for other strategies: `wait()`, `done`,
        `complete`, and `stage` in words."""
        from .progressive import SecondStage

        self._opened()
        return self._second_stage or SecondStage()

    def measured_plan(self, features: Mapping[str, Any] | None = None) -> ComputePlan:
        """The compute plan with the measured time of each operation, if the engine can profile; with random features
        by default."""
        from .measured_plan import profiled

        return profiled(self._opened(), self._source, self.configuration, features)

    @property
    def content(self) -> str:
        """The hash of the model's files. Raises StateError for a model that has none, or whose files changed."""
        return self._opened().session.content()

    @property
    def load_label(self) -> str:
        """ "cached" if loaded from the cache, else "prepare and cache"."""
        return self._opened().label

    def __repr__(self) -> str:
        from ..support.visible_text import quoted

        loaded, name = self._loaded, quoted(self.name)
        if loaded is None:
            return f"<pippin.Model {name}, {'closed' if self._closed else 'not loaded'}>"
        function = loaded.session.function
        main = "" if len(loaded.description.functions) == 1 else f", function {quoted(function.name)}"
        return (
            f"<pippin.Model {name}{main}: {_listed(function.inputs)} -> {_listed(function.outputs)};"
            f" {loaded.engines}, {loaded.label}>"
        )

    def _repr_html_(self) -> str:
        """For notebooks: a table of the features."""
        from ..support.html_table import html_table, html_text

        loaded = self._loaded
        if loaded is None:
            return f"<code>{html_text(repr(self))}</code>"
        function = loaded.session.function
        roles = ("input", function.inputs), ("output", function.outputs), ("state", function.states)
        rows = (
            (f.name, f"{role} (optional)" if f.optional else role, f.type, f.doc) for role, many in roles for f in many
        )
        title = f"{self.name}, function {function.name}; {loaded.engines}, {loaded.label}"
        return html_table(title, ("feature", "", "type", "description"), rows)


def _listed(features: Iterable[FeatureDescription]) -> str:
    from ..support.visible_text import quoted, visible

    every = list(features)
    shown = [f"{quoted(f.name)[1:-1]}: {visible(str(f.type))[:60]}" for f in every[:_FEATURES]]
    more = [f"{len(every) - _FEATURES} more"] if len(every) > _FEATURES else []
    return ", ".join([*shown, *more]) or "nothing"
