"""Optional thresholds: describes those of a detector as optional, since the file has a value for each.

A non-maximum suppression stores its thresholds and may name inputs that override them. Exporters often declare these
inputs as required, and write "(optional)" into their texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .description import Double, FeatureDescription, ModelDescription, MultiArray

if TYPE_CHECKING:
    from .asset import Asset


def thresholds(asset: Asset) -> dict[str, float]:
    """The stored value of each threshold that is an input of the model, by the name of the input."""
    specification = asset.specification
    if specification.WhichOneof("Type") == "nonMaximumSuppression":
        message = specification.nonMaximumSuppression
        found = {
            message.iouThresholdInputFeatureName: message.iouThreshold,
            message.confidenceThresholdInputFeatureName: message.confidenceThreshold,
        }
        return {name: value for name, value in found.items() if name}
    found, known = {}, set[str]()
    for part in asset.parts():
        # Who reads an input of the pipeline first decides what it is; what an earlier model computes is no input.
        own = {name: value for name, value in thresholds(part).items() if name not in known}
        found |= own
        described = part.specification.description
        known.update(own, (feature.name for feature in (*described.input, *described.output)))
    return found


def with_thresholds(description: ModelDescription, values: Mapping[str, float]) -> ModelDescription:
    """The description, with these inputs optional."""

    def described(feature: FeatureDescription) -> FeatureDescription:
        value = values.get(feature.name)
        if value is None or feature.optional or not isinstance(feature.type, MultiArray | Double):
            return feature
        return replace(feature, optional=True, type=replace(feature.type, default=value))

    if not values:
        return description
    functions = tuple(replace(f, inputs=tuple(map(described, f.inputs))) for f in description.functions)
    return replace(description, functions=functions)
