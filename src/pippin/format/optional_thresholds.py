"""Optional thresholds: describes those of a detector as optional, since the file has a value for each.

A non-maximum suppression stores its thresholds and may name inputs that override them. Exporters often declare these
inputs as required, and write "(optional)" into their texts.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import SpecificationError
from ..support.boundary import boundary
from .asset import Asset
from .description import Double, FeatureDescription, ModelDescription, MultiArray


def description_for_callers(asset: Asset) -> ModelDescription:
    """The description of a model, where an input that a prediction may omit is optional and has its default. Raises
    SpecificationError."""
    with boundary(SpecificationError, f"{asset.name}: invalid model description"):
        values = _thresholds(asset)
    if not values:
        return asset.description

    def described(feature: FeatureDescription) -> FeatureDescription:
        value = values.get(feature.name)
        if value is None or feature.optional or not isinstance(feature.type, MultiArray | Double):
            return feature
        return replace(feature, optional=True, type=replace(feature.type, default=value))

    functions = tuple(replace(f, inputs=tuple(map(described, f.inputs))) for f in asset.description.functions)
    return replace(asset.description, functions=functions)


def _thresholds(asset: Asset) -> dict[str, float]:
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
        own = {name: value for name, value in _thresholds(part).items() if name not in known}
        found |= own
        described = part.specification.description
        known.update(own, (feature.name for feature in (*described.input, *described.output)))
    return found
