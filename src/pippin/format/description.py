"""Description: inputs, outputs, states and metadata of a model, read from its `Model` message.

Source: `Model.proto`, `FeatureTypes.proto`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..errors import ConfigurationError, SpecificationError
from ..types import DataType
from .class_labels import class_labels


class ColorSpace(enum.Enum):
    """The colour layout of an image. Values are the protobuf numbers."""

    GRAYSCALE = 10
    RGB = 20
    BGR = 30
    GRAYSCALE_FLOAT16 = 40


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Sizes from `lower` to `upper`, inclusive; `upper` None: no limit."""

    lower: int
    upper: int | None

    def __contains__(self, size: int) -> bool:
        return self.lower <= size and (self.upper is None or size <= self.upper)

    def __str__(self) -> str:
        if self.lower == self.upper:
            return str(self.lower)
        return f"{self.lower}..{'' if self.upper is None else self.upper}"


@dataclass(frozen=True, slots=True)
class EnumeratedShapes:
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ShapeRange:
    ranges: tuple[SizeRange, ...]


@dataclass(frozen=True, slots=True)
class MultiArray:
    """An array. `shape` is the default shape, or None if the model declares none (only outputs may)."""

    dtype: DataType
    shape: tuple[int, ...] | None = None
    flexibility: EnumeratedShapes | ShapeRange | None = None
    default: float | int | None = None

    def allows(self, shape: tuple[int, ...]) -> bool:
        match self.flexibility:
            case EnumeratedShapes(shapes):
                return shape in shapes or shape == self.shape
            case ShapeRange(ranges):
                return len(shape) == len(ranges) and all(s in r for s, r in zip(shape, ranges, strict=True))
        return self.shape is None or shape == self.shape

    @property
    def sizes(self) -> tuple[int | None, ...] | None:
        """The fixed size of each axis, None for a flexible one; None if the rank is unknown."""
        match self.flexibility:
            case ShapeRange(ranges):
                return tuple(r.lower if r.lower == r.upper else None for r in ranges)
            case EnumeratedShapes(shapes):
                columns = zip(*{*shapes, self.shape or shapes[0]}, strict=True)
                return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in columns)
        return self.shape

    @property
    def allowed(self) -> str:
        """The allowed shapes, human-readable."""
        match self.flexibility:
            case EnumeratedShapes(shapes):
                return " or ".join(_times(shape) for shape in shapes)
            case ShapeRange(ranges):
                return _times(ranges)
        return "any shape" if self.shape is None else _times(self.shape)

    def __str__(self) -> str:
        return f"MultiArray ({_numpy_name(self.dtype)}, {self.allowed})"


@dataclass(frozen=True, slots=True)
class Image:
    """An image of `width` x `height` pixels; the default size if the size is flexible.

    `sizes` are the enumerated (width, height) pairs, or the ranges of width and height; None if the size is fixed.
    """

    width: int
    height: int
    color: ColorSpace
    sizes: tuple[tuple[int, int], ...] | tuple[SizeRange, SizeRange] | None = None

    def allows(self, size: tuple[int, int]) -> bool:
        """Whether an image of this (width, height) is accepted."""
        if not self.sizes:
            return size == (self.width, self.height)
        if isinstance(self.sizes[0], SizeRange):
            return all(s in r for s, r in zip(size, self.sizes, strict=True))
        return size in self.sizes or size == (self.width, self.height)

    @property
    def allowed(self) -> str:
        """The allowed sizes, human-readable."""
        if not self.sizes:
            return f"{self.width} x {self.height}"
        if isinstance(self.sizes[0], SizeRange):
            return _times(self.sizes)
        return " or ".join(_times(size) for size in self.sizes)

    def __str__(self) -> str:
        return f"Image ({self.color.name}, {self.allowed})"


@dataclass(frozen=True, slots=True)
class Int64:
    def __str__(self) -> str:
        return "Int64"


@dataclass(frozen=True, slots=True)
class Double:
    default: float | None = None

    def __str__(self) -> str:
        return "Double"


@dataclass(frozen=True, slots=True)
class String:
    def __str__(self) -> str:
        return "String"


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A dictionary of numbers; `key` is the key type, "string" or "int64"."""

    key: str

    def __str__(self) -> str:
        return f"Dictionary ({'String' if self.key == 'string' else 'Int64'} to Double)"


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence; `element` is the element type, "string" or "int64"."""

    element: str
    length: SizeRange

    def __str__(self) -> str:
        return f"Sequence ({'String' if self.element == 'string' else 'Int64'}, {self.length})"


@dataclass(frozen=True, slots=True)
class State:
    array: MultiArray

    def __str__(self) -> str:
        return f"State ({_numpy_name(self.array.dtype)}, {self.array.allowed})"


FeatureType: TypeAlias = MultiArray | Image | Int64 | Double | String | Dictionary | Sequence | State


@dataclass(frozen=True, slots=True)
class FeatureDescription:
    """One input, output or state."""

    name: str
    type: FeatureType
    optional: bool = False
    doc: str = ""

    @property
    def dtype(self) -> str | None:
        """The type of an element, such as "float32"; "uint8" for the pixels of an image, "float16" for those of
        GRAYSCALE_FLOAT16; None for a dictionary or a sequence."""
        match self.type:
            case MultiArray(dtype) | State(MultiArray(dtype)):
                return dtype.numpy.name
            case Image(color=color):
                return "float16" if color is ColorSpace.GRAYSCALE_FLOAT16 else "uint8"
        return {Int64: "int64", Double: "float64", String: "string"}.get(type(self.type))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The default shape of an array, (height, width) of an image; None without one."""
        match self.type:
            case MultiArray(shape=shape) | State(MultiArray(shape=shape)):
                return shape
            case Image(width, height):
                return height, width
        return None

    @property
    def range(self) -> tuple[SizeRange, ...] | None:
        """The sizes that each axis may have, in the order of `shape`; None if they are not declared as ranges."""
        match self.type:
            case MultiArray(flexibility=ShapeRange(ranges)) | State(MultiArray(flexibility=ShapeRange(ranges))):
                return ranges
            case Image(sizes=(SizeRange() as width, SizeRange() as height)):
                return height, width
        return None

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...] | None:
        """The shapes to choose from, if the model lists them; None otherwise."""
        match self.type:
            case MultiArray(flexibility=EnumeratedShapes(shapes)):
                return shapes
            case Image(sizes=sizes) if sizes and self.range is None:
                return tuple((height, width) for width, height in sizes)  # type: ignore[misc]
        return None

    @property
    def default(self) -> float | int | None:
        """The number that stands in for an omitted input, if the model declares one."""
        return self.type.default if isinstance(self.type, MultiArray | Double) else None


@dataclass(frozen=True, slots=True)
class FunctionDescription:
    """Inputs, outputs and states of one function. Models other than ML Programs have one, called "main"."""

    name: str
    inputs: tuple[FeatureDescription, ...] = ()
    outputs: tuple[FeatureDescription, ...] = ()
    states: tuple[FeatureDescription, ...] = ()
    predicted_feature_name: str = ""
    predicted_probabilities_name: str = ""


@dataclass(frozen=True, slots=True)
class Metadata:
    short_description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    user_defined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelDescription:
    functions: tuple[FunctionDescription, ...]
    default_function_name: str
    metadata: Metadata
    specification_version: int
    kind: str
    """Name of the field in the oneof `Type`: "mlProgram", "neuralNetwork", "pipeline", ..."""
    class_labels: tuple[str | int, ...] | None = None

    def function(self, name: str | None = None) -> FunctionDescription:
        """A function by name; the default function for None. Raises ConfigurationError with the existing names."""
        wanted = self.default_function_name if name is None else name
        for function in self.functions:
            if function.name == wanted:
                return function
        raise ConfigurationError(f"no function '{wanted}' (it has: {', '.join(f.name for f in self.functions)})")


def read_description(model: Any) -> ModelDescription:
    """The description of a `Model` message. Raises SpecificationError if it is inconsistent."""
    proto = model.description
    if proto.functions:
        functions = tuple(_function(function, function.name) for function in proto.functions)
        default = proto.defaultFunctionName or functions[0].name
        if default not in {function.name for function in functions}:
            raise SpecificationError(f"default function '{default}' is not among the model's functions")
    else:
        functions = (_function(proto, "main"),)
        default = "main"
    metadata = proto.metadata
    return ModelDescription(
        functions=functions,
        default_function_name=default,
        metadata=Metadata(
            metadata.shortDescription,
            metadata.versionString,
            metadata.author,
            metadata.license,
            dict(metadata.userDefined),
        ),
        specification_version=int(model.specificationVersion),
        kind=model.WhichOneof("Type") or "",
        class_labels=class_labels(model),
    )


def _function(proto: Any, name: str) -> FunctionDescription:
    inputs, states = _features(proto.input), _features(proto.state)
    stray = next((feature for feature in states if not isinstance(feature.type, State)), None)
    if stray is not None:
        raise SpecificationError(f"state '{stray.name}' of function '{name}' must be a State, got {stray.type}")
    return FunctionDescription(
        name,
        tuple(feature for feature in inputs if not isinstance(feature.type, State)),
        _features(_unique(proto.output)),
        states
        + tuple(feature for feature in inputs if isinstance(feature.type, State)),  # older models list states as inputs
        proto.predictedFeatureName,
        proto.predictedProbabilitiesName,
    )


def _features(protos: Iterable[Any]) -> tuple[FeatureDescription, ...]:
    features = tuple(
        FeatureDescription(proto.name, _type(proto), bool(proto.type.isOptional), proto.shortDescription)
        for proto in protos
    )
    names = [feature.name for feature in features]
    if "" in names:
        raise SpecificationError("a feature has no name")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecificationError(f"feature '{twice}' is described twice")
    return features


def _unique(protos: Iterable[Any]) -> Iterable[Any]:
    """Remove exact duplicates: a program may return one value twice."""
    found: list[Any] = []
    for proto in protos:
        if proto not in found:
            found.append(proto)
    return found


def _type(feature: Any) -> FeatureType:
    proto = feature.type
    match proto.WhichOneof("Type"):
        case "multiArrayType":
            # Files from 2017 omit the type between the models of a pipeline, which compute in float64.
            return _multiarray(feature.name, proto.multiArrayType, default_dtype=DataType.FLOAT64)
        case "imageType":
            return _image(feature.name, proto.imageType)
        case "stateType":
            return State(_multiarray(feature.name, proto.stateType.arrayType))
        case "int64Type":
            return Int64()
        case "doubleType":
            return Double()
        case "stringType":
            return String()
        case "dictionaryType":
            return Dictionary("int64" if proto.dictionaryType.HasField("int64KeyType") else "string")
        case "sequenceType":
            element = "int64" if proto.sequenceType.HasField("int64Type") else "string"
            sized = proto.sequenceType.HasField("sizeRange")
            return Sequence(
                element, _range(feature.name, proto.sequenceType.sizeRange) if sized else SizeRange(0, None)
            )
    raise SpecificationError(f"feature '{feature.name}' has no type")


_INT64 = (1 << 63) - 1
_ARRAY_DTYPES = {
    65568: DataType.FLOAT32,
    65600: DataType.FLOAT64,
    131104: DataType.INT32,
    131080: DataType.INT8,
    65552: DataType.FLOAT16,
}


def _multiarray(name: str, proto: Any, default_dtype: DataType | None = None) -> MultiArray:
    dtype = _ARRAY_DTYPES.get(proto.dataType) if proto.dataType else default_dtype
    if dtype is None:
        raise SpecificationError(f"feature '{name}' has the unknown element type {proto.dataType}")
    shape: tuple[int, ...] | None = tuple(proto.shape) or None
    flexibility: EnumeratedShapes | ShapeRange | None = None
    match proto.WhichOneof("ShapeFlexibility"):
        case "enumeratedShapes":
            flexibility = EnumeratedShapes(tuple(tuple(s.shape) for s in proto.enumeratedShapes.shapes))
            if not flexibility.shapes:
                raise SpecificationError(f"feature '{name}' allows no shape: its list of enumerated shapes is empty")
            shape = shape or flexibility.shapes[0]
        case "shapeRange":
            flexibility = ShapeRange(tuple(_range(name, r) for r in proto.shapeRange.sizeRanges))
            shape = shape or tuple(r.lower for r in flexibility.ranges) or None
    return MultiArray(dtype, shape, flexibility, _default(name, proto, dtype))


def _default(name: str, proto: Any, dtype: DataType) -> float | int | None:
    field = proto.WhichOneof("defaultOptionalValue")
    if field is None:
        return None
    found: float | int = getattr(proto, field)
    if dtype.is_integer and not -(1 << dtype.bits - 1) <= found < 1 << dtype.bits - 1:  # NaN too
        raise SpecificationError(f"feature '{name}' has the default {found}, which does not fit {dtype.value}")
    return found


def _image(name: str, proto: Any) -> Image:
    try:
        color = ColorSpace(proto.colorSpace)
    except ValueError:
        raise SpecificationError(f"image '{name}' has the unknown colour space {proto.colorSpace}") from None
    default = int(proto.width), int(proto.height)
    sizes: tuple[tuple[int, int], ...] | tuple[SizeRange, SizeRange] | None = None
    match proto.WhichOneof("SizeFlexibility"):
        case "enumeratedSizes":
            sizes = tuple((int(s.width), int(s.height)) for s in proto.enumeratedSizes.sizes)
            if not sizes:
                raise SpecificationError(f"image '{name}' allows no size: its list of enumerated sizes is empty")
            default = default if all(default) else sizes[0]
        case "imageSizeRange":
            sizes = _range(name, proto.imageSizeRange.widthRange), _range(name, proto.imageSizeRange.heightRange)
            default = default if all(default) else (sizes[0].lower, sizes[1].lower)
    return Image(*default, color, sizes)


def _range(name: str, proto: Any) -> SizeRange:
    lower, upper = int(proto.lowerBound), int(proto.upperBound)
    if lower > _INT64:
        raise SpecificationError(f"feature '{name}' has a size of at least {lower}, which does not fit 64 bits")
    if upper < 0 or (upper == 0 and lower > 0):  # protobuf reads an unset field as 0
        return SizeRange(lower, None)
    if lower > upper:
        raise SpecificationError(f"feature '{name}' has an empty size range, from {lower} to {upper}")
    return SizeRange(lower, upper)


def _times(sizes: Iterable[Any]) -> str:
    return " x ".join(map(str, sizes)) or "scalar"


def _numpy_name(dtype: DataType) -> str:
    return dtype.value.replace("fp", "float")
