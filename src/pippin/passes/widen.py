"""Widen: float16 constants as float32 ones, for an engine that does not read them well.

MNN 3.6 misreads float16 data that lie outside of the ONNX file, and converts those inside at each prediction: a
convolution of 256 channels takes 25 ms instead of 1.4 ms.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto

from ..lowering.weight_arrays import as_float32


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with constants in float32 that it stores in float16 and casts; the same object if there are none."""
    stored = {t.name: t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16}
    casts = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Cast" and node.input[0] in stored and node.attribute[0].i == TensorProto.FLOAT
    }
    casts = {cast: name for cast, name in casts.items() if cast not in {info.name for info in model.graph.output}}
    if not casts:
        return model
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:], made.graph.initializer[:]
    made.graph.node.extend(node for node in model.graph.node if node.output[0] not in casts)
    read = {name for node in made.graph.node for name in node.input} | {info.name for info in made.graph.output}
    made.graph.initializer.extend(
        tensor for tensor in model.graph.initializer if tensor.name not in stored or tensor.name in read
    )
    made.graph.initializer.extend(as_float32(stored[name], cast) for cast, name in casts.items())
    return made
