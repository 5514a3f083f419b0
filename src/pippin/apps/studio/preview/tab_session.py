"""Desk: the predictions of one browser tab: a state or features are carried on, results become panels.

Everything slow happens in a thread; the page only waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....errors import StateError
from ....runtime.model import Model
from ....runtime.state import State
from .kinds import Kind, carried
from .output_panels import Curve, Options, Panel, panel_of, panels_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..open_models import Opened


@dataclass(frozen=True, slots=True)
class Made:
    """The outputs of a prediction, and what they are shown as."""

    outputs: Mapping[str, Any]
    panels: Sequence[Panel]
    seconds: float
    """The prediction alone."""
    predictions: int = 1


class Desk:
    """For one tab of one browser; its methods are called one after the other."""

    def __init__(self, opened: Opened, model: Model) -> None:
        self.model = model
        self.function = opened.function
        self.kind: Kind = opened.kind
        self.options = Options()
        self.carried = carried(self.function)
        """{output: input} that may be handed on."""
        self.carries = True
        self.steps = 0
        self._handed: dict[str, Any] = {}
        self._state: State | None = None

    @property
    def has_memory(self) -> bool:
        return bool(self.function.states or self.carried)

    def reset(self) -> None:
        """Forget the state, and what was handed on."""
        self._state, self._handed, self.steps = None, {}, 0

    @property
    def handed(self) -> frozenset[str]:
        """The inputs that the last prediction gave, and that so need not be given."""
        return frozenset(self._handed) if self.carries else frozenset()

    async def predict(self, features: Mapping[str, Any], source: Image | None) -> Made:
        """One prediction; a model with memory goes on from the one before. Raises what `Model.predict` does."""
        return await asyncio.to_thread(self._predict, features, source)

    async def listen(self, windows: Sequence[Mapping[str, Any]]) -> Made:
        """Predictions one after the other over the windows of a sound: single numbers become curves."""
        return await asyncio.to_thread(self._listen, windows)

    async def batch(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Predictions of many rows: outputs or an error for each."""
        return await asyncio.to_thread(self.model.predict_batch, rows, return_exceptions=True)

    def states(self) -> list[Panel]:
        """What the model remembers now."""
        state = self._state
        return [] if state is None else [panel_of(name, state.read(name)) for name in state.names]

    def redrawn(self, made: Made, source: Image | None) -> Made:
        """The same outputs, drawn with other options."""
        return replace(made, panels=panels_of(self.kind, self.function, made.outputs, source, self.options))

    def _predict(self, features: Mapping[str, Any], source: Image | None) -> Made:
        started = time.perf_counter()
        outputs = self._step(features)
        seconds = time.perf_counter() - started
        return Made(outputs, panels_of(self.kind, self.function, outputs, source, self.options), seconds)

    def _step(self, features: Mapping[str, Any]) -> dict[str, Any]:
        given = dict(features) | (self._handed if self.carries else {})
        if self.function.states and self._state is None:
            self._state = self.model.make_state()
        try:
            outputs = self.model.predict(given, state=self._state)
        except StateError:  # the model was unloaded meanwhile: it has another session now
            self.reset()
            raise
        self._handed = {i: outputs[o] for o, i in self.carried.items() if o in outputs}
        self.steps += 1
        return outputs

    def _listen(self, windows: Sequence[Mapping[str, Any]]) -> Made:
        self.reset()
        started = time.perf_counter()
        heard = [self._step(features) for features in windows]
        seconds = time.perf_counter() - started
        last = dict(heard[-1])
        curves: list[Panel] = []
        for name, value in heard[-1].items():
            if isinstance(value, np.ndarray) and value.size == 1 and len(heard) > 1:
                values = [float(outputs[name].reshape(-1)[0]) for outputs in heard]
                curves.append(
                    Curve(name, values, f"over {len(heard)} pieces, from {min(values):.4g} to {max(values):.4g}")
                )
                del last[name]
            elif isinstance(value, dict):
                last[name] = {k: sum(o[name].get(k, 0.0) for o in heard) / len(heard) for k in value}
                if len(heard) > 1:
                    last.pop(self.function.predicted_feature_name, None)
        shown = curves + panels_of(self.kind, self.function, last, None, self.options)
        return Made(heard[-1], shown, seconds / len(heard), len(heard))
