"""Storage: a lowered model as bytes, or as a file with its weights beside it where no message can hold them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import helper

_LIMIT = 2**31 - 2**20  # a message has less than 2 GiB; some room for what is not weights
_ALIGNMENT = 4096  # so that an engine can map each tensor
_SMALL = 1024  # bytes of a tensor that stays in the message: shapes and axes must be known to those who read it
_WORTH_A_FILE = 1 << 20  # bytes of weights from which on a file, which engines map, is faster than one message


def is_large(model: onnx.ModelProto) -> bool:
    """Whether the model has more weights than one protobuf message can hold."""
    return _weight_bytes(model) > _LIMIT


def _weight_bytes(model: onnx.ModelProto) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


@contextmanager
def readable(model: onnx.ModelProto) -> Iterator[bytes | Path]:
    """What an engine reads the model from: its bytes, or where it has many weights the path of a temporary file."""
    if _weight_bytes(model) < _WORTH_A_FILE:
        yield model.SerializeToString()
        return
    with tempfile.TemporaryDirectory(prefix="pippin-") as folder:
        path, weights = Path(folder) / "model.onnx", Path(folder) / "weights.bin"
        path.write_bytes(write_weights(model, weights, weights.name).SerializeToString())
        yield path


def write_weights(model: onnx.ModelProto, path: Path, location: str) -> onnx.ModelProto:
    """Write the weights into a file; returns the model that refers to them at `location`, relative to itself."""
    tensors = []
    with path.open("wb") as file:
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < _SMALL:
                tensors.append(tensor)
                continue
            file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)
            where = {"location": location, "offset": file.tell(), "length": len(tensor.raw_data)}
            file.write(tensor.raw_data)
            stored = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            stored.data_location = onnx.TensorProto.EXTERNAL
            stored.external_data.extend(onnx.StringStringEntryProto(key=k, value=str(v)) for k, v in where.items())
            tensors.append(stored)
    graph = helper.make_graph(model.graph.node, model.graph.name, model.graph.input, model.graph.output, tensors)
    slim = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name=model.producer_name
    )
    slim.metadata_props.extend(model.metadata_props)
    slim.doc_string = model.doc_string
    return slim
