"""Shape options: `--shape` and `--batch` choose the shapes of a flexible model that a command works with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import ConfigurationError
from ...format.aimodel import AIModelFile
from ...format.description import FeatureDescription, FunctionDescription, Image, MultiArray

if TYPE_CHECKING:
    from ...format.asset import Asset

Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", help="NAME=1,3,224,224: shape of a flexible input; repeat for each input."),
]
Batch = Annotated[
    int | None, typer.Option("--batch", min=1, help="Size of the first axis of each input that allows it.")
]


def with_shapes(function: FunctionDescription, shapes: list[str] | None, batch: int | None) -> FunctionDescription:
    """The function whose default shapes are the chosen ones. Raises ConfigurationError for a shape that the model does
    not accept."""
    given = dict(_parsed(text, function) for text in shapes or ())
    inputs = tuple(
        _shaped(feature, given[feature.name]) if feature.name in given else feature for feature in function.inputs
    )
    if batch is not None:
        inputs = _batched(inputs, batch, given)
    return replace(function, inputs=inputs)


def shaped_asset(asset: Asset, name: str | None, shapes: list[str] | None, batch: int | None) -> Asset:
    """The model whose description has the chosen shapes as its default ones; the same object if there are none."""
    function = asset.description.function(name)
    chosen = with_shapes(function, shapes, batch)
    if chosen == function:
        return asset
    if isinstance(asset.specification, AIModelFile):
        types = {feature.name: feature.type for feature in chosen.inputs}
        sizes = {name: kind.shape for name, kind in types.items() if isinstance(kind, MultiArray) and kind.shape}
        return replace(asset, specification=replace(asset.specification, shapes=sizes))
    specification = type(asset.specification)()
    specification.CopyFrom(asset.specification)
    functions = {each.name: each for each in specification.description.functions}
    described = functions.get(function.name, specification.description)
    kinds = {feature.name: feature.type for feature in chosen.inputs}
    for feature in described.input:
        _write(feature.type, kinds[feature.name])
    return replace(asset, specification=specification)


def _write(message: Any, kind: Any) -> None:
    """Set the default shape in the protobuf message of a type."""
    if isinstance(kind, MultiArray) and kind.shape is not None:
        message.multiArrayType.shape[:] = kind.shape
    elif isinstance(kind, Image):
        message.imageType.width, message.imageType.height = kind.width, kind.height


def _parsed(text: str, function: FunctionDescription) -> tuple[str, tuple[int, ...]]:
    match = re.fullmatch(r"(?:(.+)=)?(\d+(?:[,x]\d+)*)", text.replace(" ", ""))
    if match is None:
        raise ConfigurationError(f"--shape must be NAME=SIZES such as image=1,3,224,224, got {text!r}")
    sized = [feature.name for feature in function.inputs if isinstance(feature.type, Image | MultiArray)]
    name = match[1] or (sized[0] if len(sized) == 1 else "")
    if name not in sized:
        which = f"'{name}'" if name else "that without a name: it has several"
        raise ConfigurationError(
            f"--shape {text}: no input {which} with a shape (inputs: {', '.join(sized) or 'none'})"
        )
    return name, tuple(int(size) for size in re.split("[,x]", match[2]))


def _shaped(feature: FeatureDescription, shape: tuple[int, ...]) -> FeatureDescription:
    kind = feature.type
    if isinstance(kind, Image):
        if len(shape) not in (2, 3, 4) or not kind.allows((shape[-1], shape[-2])):
            raise _refused(feature, shape)
        return replace(feature, type=replace(kind, width=shape[-1], height=shape[-2]))
    assert isinstance(kind, MultiArray)
    if not kind.allows(shape):
        raise _refused(feature, shape)
    return replace(feature, type=replace(kind, shape=shape))


def _refused(feature: FeatureDescription, shape: tuple[int, ...]) -> ConfigurationError:
    wanted = f"{feature.type}, of height x width" if isinstance(feature.type, Image) else str(feature.type)
    return ConfigurationError(
        f"--shape {feature.name}={','.join(map(str, shape))}: the model does not accept it (it takes {wanted})"
    )


def _batched(
    inputs: tuple[FeatureDescription, ...], batch: int, given: Mapping[str, object]
) -> tuple[FeatureDescription, ...]:
    found = []
    for feature in inputs:
        kind = feature.type
        if feature.name not in given and isinstance(kind, MultiArray) and kind.shape:
            shape = (batch, *kind.shape[1:])
            sizes = kind.sizes
            if kind.allows(shape) and (batch == kind.shape[0] or (sizes is not None and sizes[0] is None)):
                feature = replace(feature, type=replace(kind, shape=shape))
        found.append(feature)
    fits = [f for f in found if isinstance(f.type, MultiArray) and f.type.shape and f.type.shape[0] == batch]
    if not fits:
        inputs_of = "; ".join(f"'{feature.name}' is {feature.type}" for feature in inputs)
        raise ConfigurationError(f"--batch {batch}: the first axis of no input accepts it ({inputs_of})")
    return tuple(found)
