"""Narrowed features: a description that allows more than the program takes is held to what the program takes.

An edited description may allow a range of sizes, although the program behind it was made for one.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import SpecificationError
from ..format.description import (
    EnumeratedShapes,
    FeatureDescription,
    FeatureType,
    Image,
    MultiArray,
    ShapeRange,
    SizeRange,
)
from ..lowering.lowered_model import Port


def narrowed(feature: FeatureDescription, port: Port) -> FeatureDescription:
    """The feature with the sizes that the program takes as well; the same object if it takes all.

    Raises SpecificationError if it takes none of them.
    """
    sizes = port.type.shape
    if sizes is None or port.sequence or all(size is None for size in sizes):
        return feature
    kind: FeatureType | None = feature.type
    match feature.type:
        case MultiArray(shape=shape) as array if shape is not None and len(shape) == len(sizes):
            kind = _array(array, sizes)
        case Image() as image if len(sizes) >= 2:
            kind = _image(image, sizes[-1], sizes[-2])
    if kind is None:
        shown = " x ".join("?" if size is None else str(size) for size in sizes)
        raise SpecificationError(
            f"the input '{feature.name}' is described as {feature.type}, but its program takes {shown}"
        )
    return feature if kind == feature.type else replace(feature, type=kind)


def _array(kind: MultiArray, sizes: tuple[int | None, ...]) -> MultiArray | None:
    match kind.flexibility:
        case ShapeRange(ranges) if len(ranges) == len(sizes):
            held = tuple(_held(r, size) for r, size in zip(ranges, sizes, strict=True))
            if None in held:
                return None
            known = tuple(r for r in held if r is not None)
            shape = tuple(own if own in r else r.lower for own, r in zip(kind.shape or (), known, strict=True))
            return replace(kind, shape=shape, flexibility=ShapeRange(known))
        case EnumeratedShapes(shapes):
            fitting = tuple(shape for shape in shapes if _fits(shape, sizes))
            own = kind.shape if kind.shape is not None and _fits(kind.shape, sizes) else next(iter(fitting), None)
            return None if own is None else replace(kind, shape=own, flexibility=EnumeratedShapes(fitting or (own,)))
        case None if kind.shape is not None and not _fits(kind.shape, sizes):
            return None
    return kind


def _image(kind: Image, width: int | None, height: int | None) -> Image | None:
    own = kind.width, kind.height
    match kind.sizes:
        case (SizeRange() as widths, SizeRange() as heights):
            held = _held(widths, width), _held(heights, height)
            if held[0] is None or held[1] is None:
                return None
            ranges = held[0], held[1]
            fitting = (
                own[0] if own[0] in ranges[0] else ranges[0].lower,
                own[1] if own[1] in ranges[1] else ranges[1].lower,
            )
            return replace(kind, width=fitting[0], height=fitting[1], sizes=ranges)
        case None:
            return kind if _fits(own, (width, height)) else None
    pairs = tuple(pair for pair in kind.sizes or () if isinstance(pair, tuple) and _fits(pair, (width, height)))
    first = own if _fits(own, (width, height)) else next(iter(pairs), None)
    return None if first is None else replace(kind, width=first[0], height=first[1], sizes=pairs or (first,))


def _held(sizes: SizeRange, size: int | None) -> SizeRange | None:
    if size is None:
        return sizes
    return SizeRange(size, size) if size in sizes else None


def _fits(shape: tuple[int, ...], sizes: tuple[int | None, ...]) -> bool:
    return len(shape) == len(sizes) and all(s in (None, own) for own, s in zip(shape, sizes, strict=True))
