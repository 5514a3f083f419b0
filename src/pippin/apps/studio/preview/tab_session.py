"""Tab session: runs the predictions of one browser page, carries state between them and converts results to panels.

Slow work runs in threads, so that the event loop stays responsive.
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
    """Outputs of a prediction and the panels that show them."""

    outputs: Mapping[str, Any]
    panels: Sequence[Panel]
    seconds: float
    """Prediction time, without drawing."""
    predictions: int = 1


class Desk:
    """Session of one browser page. Not thread-safe: calls must not overlap."""

    def __init__(self, opened: Opened, model: Model) -> None:
        self.model = model
        self.function = opened.function
        self.kind: Kind = opened.kind
        self.options = Options()
        self.carried = carried(self.function)
        """{output: input} pairs that can be carried over."""
        self.carries = True
        self.steps = 0
        self._handed: dict[str, Any] = {}
        self._state: State | None = None

    @property
    def has_memory(self) -> bool:
        return bool(self.function.states or self.carried)

    def reset(self) -> None:
        """Clear the state and the carried-over features."""
        self._state, self._handed, self.steps = None, {}, 0

    @property
    def handed(self) -> frozenset[str]:
        """Inputs filled by the last prediction's outputs."""
        return frozenset(self._handed) if self.carries else frozenset()

    async def predict(self, features: Mapping[str, Any], source: Image | None) -> Made:
        """Run one prediction; a stateful model continues from the last one. Raises what `Model.predict` raises."""
        return await asyncio.to_thread(self._predict, features, source)

    async def listen(self, windows: Sequence[Mapping[str, Any]]) -> Made:
        """Predict the windows of a sound in order; single-number outputs become curves."""
        return await asyncio.to_thread(self._listen, windows)

    async def batch(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Predict many rows; returns outputs or an error for each."""
        return await asyncio.to_thread(self.model.predict_batch, rows, return_exceptions=True)

    def states(self) -> list[Panel]:
        """Panels of the current state."""
        state = self._state
        return [] if state is None else [panel_of(name, state.read(name)) for name in state.names]

    def redrawn(self, made: Made, source: Image | None) -> Made:
        """Redraw the same outputs with the current options."""
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
        except StateError:  # the model was reloaded and the state belongs to the old session
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
                curves.append(Curve(name, values, f"{len(heard)} windows, from {min(values):.4g} to {max(values):.4g}"))
                del last[name]
            elif isinstance(value, dict):
                last[name] = {k: sum(o[name].get(k, 0.0) for o in heard) / len(heard) for k in value}
                if len(heard) > 1:
                    last.pop(self.function.predicted_feature_name, None)
        shown = curves + panels_of(self.kind, self.function, last, None, self.options)
        return Made(heard[-1], shown, seconds / len(heard), len(heard))
