"""ONNX file: opens an ONNX model, with weights in the file or in others beside it, and describes its features."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import PackageError, SpecificationError, UnsupportedModelError, WeightError, WeightFileNotFoundError
from ..support.regular_files import is_regular, read_regular
from ..types import DataType
from .description import (
    FeatureDescription,
    FunctionDescription,
    Metadata,
    ModelDescription,
    MultiArray,
    ShapeRange,
    SizeRange,
)

if TYPE_CHECKING:
    import onnx

SUFFIX = ".onnx"
KIND = "onnx"
# Element types by their number in `TensorProto.DataType`.
DTYPES = {
    1: DataType.FLOAT32, 2: DataType.UINT8, 3: DataType.INT8, 4: DataType.UINT16, 5: DataType.INT16, 6: DataType.INT32,
    7: DataType.INT64, 9: DataType.BOOL, 10: DataType.FLOAT16, 11: DataType.FLOAT64, 12: DataType.UINT32,
    13: DataType.UINT64,
}  # fmt: skip
_LONGEST = 1024  # name of a file of weights


@dataclass
class OnnxFile:
    """An ONNX model. In an `Asset`, it stands in the place of a specification."""

    name: str
    path: Path
    model: onnx.ModelProto = field(repr=False)
    specificationVersion = 0

    def WhichOneof(self, _name: str) -> str:
        return KIND

    def ByteSize(self) -> int:
        return int(self.model.ByteSize())

    @cached_property
    def external_files(self) -> dict[str, Path]:
        """The files of weights, by the location that the model gives. Raises WeightError for one outside the folder of
        the model, WeightFileNotFoundError for one that is missing."""
        locations = {
            entry.value
            for tensor in self.model.graph.initializer
            for entry in tensor.external_data
            if entry.key == "location"
        }
        return {location: self._inside(location) for location in sorted(locations)}

    def _inside(self, location: str) -> Path:
        folder = self.path.parent.resolve()
        if "\0" in location or len(location) > _LONGEST:
            raise WeightError(f"{self.name}: {location[:40]!r}... is no name of a file of weights")
        found = (folder / location).resolve()
        if not found.is_relative_to(folder):
            raise WeightError(f"{self.name}: its weights are in {location!r}, outside the folder of the model")
        if not is_regular(found):
            raise WeightFileNotFoundError(f"{self.name}: its file of weights {location!r} is missing", found)
        return found


def open_onnx(path: Path) -> OnnxFile:
    """Read an ONNX model; weights in other files stay there. Raises PackageError, SpecificationError."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        data = read_regular(path)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror or error}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise SpecificationError(f"{path} is no ONNX model, or it is damaged") from None
    if not model.graph.node and not model.graph.output:
        raise SpecificationError(f"{path} is no ONNX model: it has no graph")
    return OnnxFile(str(path), path, model)


def describe(file: OnnxFile) -> ModelDescription:
    """The inputs without a value of their own, and the outputs. Raises UnsupportedModelError for one that is no tensor,
    SpecificationError for names that are empty or occur twice."""
    graph = file.model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = tuple(_feature(info, False) for info in graph.input if info.name not in stored)
    outputs = tuple(_feature(info, True) for info in graph.output)
    for names in ([f.name for f in inputs], [f.name for f in outputs]):
        wrong = next((name for name in names if not name or names.count(name) > 1), None)
        if wrong is not None:
            raise SpecificationError(
                f"{file.name}: an input or output has no name, or one that occurs twice: {wrong!r}"
            )
    props = {each.key: each.value for each in file.model.metadata_props}
    metadata = Metadata(file.model.doc_string, str(file.model.model_version or ""), file.model.producer_name, "", props)
    return ModelDescription((FunctionDescription("main", inputs, outputs),), "main", metadata, 0, KIND)


def _feature(info: Any, output: bool) -> FeatureDescription:
    kind = info.type.WhichOneof("value")
    tensor = info.type.tensor_type
    if kind != "tensor_type" or tensor.elem_type not in DTYPES:
        what = (kind or "value").removesuffix("_type").replace("_", " ")
        raise UnsupportedModelError(
            f"'{info.name}' is a {what} with elements of type {tensor.elem_type}; tensors of numbers are supported"
        )
    dtype = DTYPES[tensor.elem_type]
    shape = shape_of(info)
    if shape is None or (output and None in shape):
        return FeatureDescription(info.name, MultiArray(dtype))
    if None not in shape:
        return FeatureDescription(info.name, MultiArray(dtype, tuple(size or 0 for size in shape)))
    ranges = tuple(SizeRange(1, None) if size is None else SizeRange(size, size) for size in shape)
    return FeatureDescription(info.name, MultiArray(dtype, tuple(r.lower for r in ranges), ShapeRange(ranges)))


def shape_of(info: Any) -> tuple[int | None, ...] | None:
    """The shape of a value, None for sizes that vary; None if not even the rank is known."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in tensor.shape.dim
    )
