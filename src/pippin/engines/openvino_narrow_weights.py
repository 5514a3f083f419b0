"""OpenVINO narrow weights: float16 weights of products stay float16 until they are packed as bfloat16.

For bfloat16, OpenVINO widens float16 constants to float32, rounds those, and keeps all of them: 390 MB after compiling
a decoder with 126 MB of weights, 64 MB if the conversion is marked as a decompression. The kernels are the same. For
float32 the mark is no gain: it takes other kernels, which took 1.5 times as long for 16 rows and more with AVX2.

Only OpenVINO's own format (IR) has the mark, so the nodes with it come from a model in that format.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .openvino_lean_import import openvino

_LAYERS = """
<layer id="{0}" name="stored{0}" type="Const" version="opset1">
 <data element_type="f16" shape="1" offset="0" size="2"/>
 <output><port id="0" precision="FP16"><dim>1</dim></port></output>
</layer>
<layer id="{1}" name="widened{1}" type="Convert" version="opset1">
 <data destination_type="f32"/><rt_info><attribute name="decompression" version="0"/></rt_info>
 <input><port id="0" precision="FP16"><dim>1</dim></port></input>
 <output><port id="1" precision="FP32"><dim>1</dim></port></output>
</layer>
<layer id="{2}" name="result{2}" type="Result" version="opset1">
 <input><port id="0" precision="FP32"><dim>1</dim></port></input>
</layer>"""
_EDGES = """
<edge from-layer="{0}" from-port="0" to-layer="{1}" to-port="0"/>
<edge from-layer="{1}" from-port="1" to-layer="{2}" to-port="0"/>"""
_READERS = frozenset({"Gather", "MatMul"})


def keep_narrow(core: Any, model: Any) -> None:
    """Mark the conversions of float16 constants that only products and lookups read."""
    conversions = [node for node in model.get_ops() if _widens_weights(node)]
    if not conversions:
        return
    for node, marked in zip(conversions, _marked(core, len(conversions)), strict=True):
        marked.input(0).replace_source_output(node.input_value(0))
        marked.set_friendly_name(node.get_friendly_name())
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(marked.output(0))
    model.validate_nodes_and_infer_types()


def _widens_weights(node: Any) -> bool:
    if node.get_type_name() != "Convert":
        return False
    stored = node.input_value(0)
    return bool(
        stored.get_node().get_type_name() == "Constant"
        and stored.get_element_type() == openvino().Type.f16
        and all(reader.get_node().get_type_name() in _READERS for reader in node.output(0).get_target_inputs())
    )


def _marked(core: Any, count: int) -> list[Any]:
    """New conversions with the mark."""
    numbers = [(3 * n, 3 * n + 1, 3 * n + 2) for n in range(count)]
    layers = "".join(_LAYERS.format(*each) for each in numbers)
    edges = "".join(_EDGES.format(*each) for each in numbers)
    text = f'<net name="marked" version="11"><layers>{layers}</layers><edges>{edges}</edges></net>'
    model = core.read_model(text.encode(), openvino().Tensor(np.zeros(2, np.uint8)))
    return [node for node in model.get_ops() if node.get_type_name() == "Convert"]
