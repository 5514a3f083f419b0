"""Failed run: what an engine says of a prediction that it cannot compute, in the words of the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import PredictionError
from ..lowering.lowered_model import Port

_ENGINE = re.compile(r"(ONNX Runtime|OpenVINO|MNN) failed: ")
_NODE = re.compile(r"(?:Name:|node with name )'([^']+)'")
_OF_SHAPES = re.compile(r"shape|dim|broadcast|mismatch|incompatible|split", re.IGNORECASE)
# Where in its sources an engine found the error: "path/file.h:59 void f(int, int) ".
_PLACE = re.compile(r"\S+\.(?:h|cc|cpp):\d+ (?:[^()]*\([^()]*\)(?: const)? )?")
_MOST = 8  # inputs named in a message


def explained(
    error: PredictionError,
    encoded: Callable[[], Mapping[str, np.ndarray]],
    inputs: Sequence[Port],
    operations: Callable[[], Mapping[str, str]],
) -> PredictionError:
    """The error of a run, with the operation and the inputs; the same error if no engine raised it.

    `encoded` gives the arrays by the names of the inputs, `operations` the kind of each operation by its name. The
    engine's own text is the cause of the error.
    """
    said = _ENGINE.match(str(error))
    if type(error) is not PredictionError or said is None:
        return error
    text, arrays = str(error.__cause__ or error), encoded()
    where = _operation(text, operations())
    flexible = [port for port in inputs if port.type.shape is None or None in port.type.shape]
    if flexible and _OF_SHAPES.search(text):
        shapes = [f"'{port.name}' ({_shape(arrays, port)})" for port in flexible[:_MOST]]
        if len(shapes) == 1:
            return PredictionError(f"{where} cannot be computed: the shape of {shapes[0]} does not fit there")
        listed = f"{', '.join(shapes[:-1])} and {shapes[-1]}"
        return PredictionError(f"{where} cannot be computed: the shapes of {listed} do not fit each other there")
    listed = ", ".join(f"'{port.name}' ({_shape(arrays, port)})" for port in inputs[:_MOST])
    reason = _plain(str(error)[said.end() :])
    return PredictionError(f"{where} cannot be computed from {listed or 'no inputs'}: {said[1]} says: {reason}")


def _operation(text: str, operations: Mapping[str, str]) -> str:
    """The operation that an engine's text names. The name of a node starts with that of its operation; a branch or loop
    is named before the node inside that failed."""
    nodes = _NODE.findall(text)
    for node in reversed(nodes):
        parts = node.split("/")
        for count in range(len(parts), 0, -1):
            name = "/".join(parts[:count])
            if name in operations:
                return f"[{operations[name]}] '{name}'"
    return f"the operation '{nodes[-1].partition('/')[0]}'" if nodes else "the prediction"


def _shape(arrays: Mapping[str, np.ndarray], port: Port) -> str:
    array = arrays.get(port.name)
    return "?" if array is None else " x ".join(map(str, array.shape)) or "a number"


def _plain(text: str) -> str:
    """What an engine says, without where in its sources it found it."""
    said = text.rpartition("Status Message: ")[2]
    return " ".join(_PLACE.sub("", said).split())
