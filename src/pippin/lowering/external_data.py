"""External data: an ONNX model in; its bytes, or a model file with a separate weights file, out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import helper

from ..format.weight_blob import let_go
from .lowered_model import WEIGHTS
from .weight_arrays import bytes_of, is_reference, size_of

_LIMIT = 2**31 - 2**20  # a protobuf message is limited to 2 GiB; 1 MiB is left for everything but weights
_ALIGNMENT = 4096  # bytes; lets an engine memory-map each tensor
_SMALL = 1024  # bytes; smaller tensors stay in the message, since readers need shapes and axes
_WORTH_A_FILE = 1 << 20  # bytes of weights; from here a file, which engines memory-map, is faster than one message


def is_large(model: onnx.ModelProto) -> bool:
    """Whether the weights exceed what one protobuf message can hold."""
    return _weight_bytes(model) > _LIMIT


def _weight_bytes(model: onnx.ModelProto) -> int:
    return sum(map(size_of, model.graph.initializer))


def whole(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all its constants in the message; the same object if they are there."""
    if not any(map(is_reference, model.graph.initializer)):
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    for tensor in made.graph.initializer:
        if is_reference(tensor):
            data = b"".join(bytes_of(tensor))
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = data
    return made


@contextmanager
def readable(model: onnx.ModelProto) -> Iterator[bytes | Path]:
    """What an engine loads: the serialized model, or the path of a temporary file if the weights are large."""
    if _weight_bytes(model) < _WORTH_A_FILE:
        yield whole(model).SerializeToString()
        return
    with tempfile.TemporaryDirectory(prefix="pippin-") as folder:
        path, weights = Path(folder) / "model.onnx", Path(folder) / WEIGHTS
        path.write_bytes(write_weights(model, weights, weights.name).SerializeToString())
        yield path


def write_weights(model: onnx.ModelProto, path: Path, location: str) -> onnx.ModelProto:
    """Write the weights to `path`. Returns the model that refers to them at `location`, relative to the model file."""
    tensors = []
    with path.open("wb") as file:
        for tensor in model.graph.initializer:
            if size_of(tensor) < _SMALL and not is_reference(tensor):
                tensors.append(tensor)
                continue
            file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
            where = {"location": location, "offset": file.tell(), "length": size_of(tensor)}
            file.writelines(bytes_of(tensor))
            stored = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            stored.data_location = onnx.TensorProto.EXTERNAL
            stored.external_data.extend(onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in where.items())
            tensors.append(stored)
    let_go()
    graph = helper.make_graph(model.graph.node, model.graph.name, model.graph.input, model.graph.output, tensors)
    slim = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name=model.producer_name
    )
    slim.metadata_props.extend(model.metadata_props)
    slim.doc_string = model.doc_string
    return slim
