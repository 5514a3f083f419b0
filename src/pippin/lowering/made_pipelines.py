"""Made pipelines: the descriptions of a pipeline's models, where coremltools' `make_pipeline` wrote over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..format.asset import Asset
from ..format.description import ColorSpace, FeatureDescription, FunctionDescription, Image
from ..program import read_program
from ..program.save import file_names


def descriptions(parts: Sequence[Asset]) -> list[FunctionDescription]:
    """The description of each model.

    `make_pipeline` gives an image between two models the description of the one that takes it. A program gives RGB
    unless its converter was told otherwise, so one that is described as giving BGR to a model that takes BGR gave RGB
    before. That is assumed only of what `make_pipeline` can have written; nothing else in the file tells the two apart.
    """
    found = [part.description.function() for part in parts]
    takes: dict[str, Any] = {}
    for number in reversed(range(len(parts))):
        outputs = tuple(_before(feature, takes, parts, number) for feature in found[number].outputs)
        takes |= {feature.name: feature.type for feature in found[number].inputs}
        found[number] = replace(found[number], outputs=outputs)
    return found


def _before(
    feature: FeatureDescription, takes: dict[str, Any], parts: Sequence[Asset], number: int
) -> FeatureDescription:
    kind = feature.type
    if not isinstance(kind, Image) or kind.color is not ColorSpace.BGR or takes.get(feature.name) != kind:
        return feature
    return replace(feature, type=replace(kind, color=ColorSpace.RGB)) if _made(parts[number], number) else feature


def _made(part: Asset, number: int) -> bool:
    """Whether a part can be one of `make_pipeline`, which numbers the weight files."""
    if part.description.kind != "mlProgram":
        return False
    return all(name.rpartition("/")[2].startswith(f"{number}-") for name in file_names(read_program(part)))
