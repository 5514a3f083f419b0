"""Classify: ends a classifier. Labels and dictionaries do not pass through an engine; the decoder produces them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..lower_blocks import Builder, Classification
from ..lowered_model import check_labels, check_scores
from ..onnx_builder import Tensor
from ..op_registry import lowers


@lowers("classify")
def classify(g: Builder, probabilities: Tensor, classes: Any) -> Any:
    labels = tuple(v.item() if isinstance(v, np.generic | np.ndarray) else v for v in classes)
    check_labels(labels, "classifier")
    check_scores(probabilities.static_shape if isinstance(probabilities, Tensor) else np.shape(probabilities), labels)
    names = tuple(output.name for output in g.op.outputs)
    classification = Classification(g.tensor(probabilities), labels, names)
    g.classification = classification
    return (classification,) * len(names)
