"""Case: loads one model on every engine that supports it and compares their outputs; generates sample inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

import pippin
from pippin.format.description import ColorSpace, Double, Image, Int64, MultiArray, String

ENGINES = ("openvino", "onnxruntime")


@dataclass
class Case:
    """One model under check. `models` and `refusals` are keyed by engine."""

    path: Path
    models: dict[str, pippin.Model] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    def load(self) -> dict[str, pippin.Model]:
        """Load the model on each engine; raises the first engine's error if none supports it."""
        errors = []
        for engine in ENGINES:
            try:
                self.models[engine] = pippin.load(self.path, pippin.Configuration(engine=engine), cache=False)
            except pippin.errors.UnsupportedError as error:
                self.refusals[engine] = str(error)
                errors.append(error)
        if not self.models:
            raise errors[0]
        return self.models

    def predict(self, features: dict[str, Any], tolerance: float = 1e-3) -> dict[str, Any]:
        """Outputs of the first engine, compared with those of the others."""
        found = [model.predict(features) for model in self.models.values()]
        for other in found[1:]:
            for name, value in found[0].items():
                agree(name, value, other[name], tolerance)
        return found[0]

    @property
    def engines(self) -> str:
        return "both engines agree" if len(self.models) == 2 else f"{next(iter(self.models))} only"


def agree(name: str, first: Any, second: Any, tolerance: float) -> None:
    """Assert that two outputs are finite and equal within the tolerance."""
    if isinstance(first, dict):
        worst = max((abs(first[key] - second[key]) for key in first), default=0.0)
        assert first.keys() == second.keys() and worst < tolerance, f"{name}: {worst}"
    elif isinstance(first, PIL.Image.Image):
        assert np.abs(np.asarray(first, int) - np.asarray(second, int)).max() <= max(1, 255 * tolerance), name
    elif isinstance(first, np.ndarray):
        assert np.isfinite(first).all(), f"{name}: not finite"
        np.testing.assert_allclose(
            first.astype(float), second.astype(float), rtol=tolerance, atol=tolerance, err_msg=name
        )
    elif isinstance(first, float):
        assert abs(first - second) < tolerance * max(1, abs(first)), name
    else:
        assert first == second, name


def seeded_features(model: pippin.Model) -> dict[str, Any]:
    """Random value for every required input."""
    rng = np.random.default_rng(0)
    features: dict[str, Any] = {}
    for feature in model.description.function().inputs:
        match feature.type:
            case Image(width, height, color):
                picture = PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
                features[feature.name] = picture.convert("L" if color is ColorSpace.GRAYSCALE else "RGB")
            case MultiArray(shape=shape) if not feature.optional and shape is not None:
                features[feature.name] = rng.random(shape).astype(np.float32)
            case Double() if not feature.optional:
                features[feature.name] = float(rng.random())
            case Int64() if not feature.optional:
                features[feature.name] = int(rng.integers(1, 4))
            case String() if not feature.optional:
                features[feature.name] = "a"
    return features


def cat(size: tuple[int, int] | None = None) -> PIL.Image.Image:
    """A photograph of a cat's face."""
    import skimage.data

    picture = PIL.Image.fromarray(skimage.data.chelsea())
    square = picture.crop((75, 0, 375, 300))
    return square.resize(size) if size else square
