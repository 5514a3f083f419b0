"""Recurrent: lowers RNN, GRU and LSTM layers over [sequence, batch, channel, 1, 1], including states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import UnsupportedOperationError
from .. import limits
from ..layer_registry import layer
from ..lower_layers import Network
from ..onnx_builder import Tensor
from .activation import recurrent_name
from .weights import weights

# Weight names of the gates, in the order in which MIL stacks them.
_LSTM_GATES = ("inputGate", "forgetGate", "outputGate", "blockInput")
_GRU_GATES = ("resetGate", "outputGate", "updateGate")
_PEEPHOLES = ("inputGate", "forgetGate", "outputGate")
# Value of cellClipThreshold in files that do not set it.
_NEVER_CLIPS = 500.0


@layer("simpleRecurrent")
def simple_recurrent(n: Network, p: Any, x: Tensor, h: Any = None) -> Any:
    inputs, hidden = int(p.inputVectorSize), int(p.outputVectorSize)
    rows = _rows(n, x, inputs)
    y, state = n.mil(
        "rnn",
        x=rows,
        initial_h=_initial(n, rows, h, hidden),
        weight_ih=weights(p.weightMatrix, (hidden, inputs)),
        weight_hh=weights(p.recursionMatrix, (hidden, hidden)),
        bias=weights(p.biasVector, (hidden,), "bias") if p.hasBiasVector else None,
        direction="reverse" if p.reverseInput else "forward",
        output_sequence=bool(p.sequenceOutput),
        activation=recurrent_name(p.activation),
    )
    return _images(n, y), _image(n, state)


@layer("gru")
def gru(n: Network, p: Any, x: Tensor, h: Any = None) -> Any:
    inputs, hidden = int(p.inputVectorSize), int(p.outputVectorSize)
    rows = _rows(n, x, inputs)
    gate, output = (recurrent_name(a) for a in p.activations)
    y, state = n.mil(
        "gru",
        x=rows,
        initial_h=_initial(n, rows, h, hidden),
        weight_ih=_stacked(p, _GRU_GATES, "WeightMatrix", (hidden, inputs)),
        weight_hh=_stacked(p, _GRU_GATES, "RecursionMatrix", (hidden, hidden)),
        bias=_stacked(p, _GRU_GATES, "BiasVector", (hidden,)) if p.hasBiasVectors else None,
        direction="reverse" if p.reverseInput else "forward",
        output_sequence=bool(p.sequenceOutput),
        recurrent_activation=gate,
        activation=output,
    )
    return _images(n, y), _image(n, state)


@layer("uniDirectionalLSTM")
def unidirectional_lstm(n: Network, p: Any, x: Tensor, h: Any = None, c: Any = None) -> Any:
    hidden = int(p.outputVectorSize)
    rows = _rows(n, x, int(p.inputVectorSize))
    y, *states = n.mil(
        "lstm",
        x=rows,
        initial_h=_initial(n, rows, h, hidden),
        initial_c=_initial(n, rows, c, hidden),
        direction="reverse" if p.reverseInput else "forward",
        **_lstm_weights(p, p.weightParams, ""),
        **_lstm_options(p, p.activations, rows, c),
    )
    return _images(n, y), *(_image(n, state) for state in states)


@layer("biDirectionalLSTM")
def bidirectional_lstm(
    n: Network, p: Any, x: Tensor, h: Any = None, c: Any = None, h_back: Any = None, c_back: Any = None
) -> Any:
    """Outputs: the sequence with both directions concatenated, then h and c forward, h and c backward."""
    hidden = int(p.outputVectorSize)
    forwards = [recurrent_name(a) for a in p.activationsForwardLSTM]
    if forwards != [recurrent_name(a) for a in p.activationsBackwardLSTM]:
        raise UnsupportedOperationError("different activations for the two directions are not supported")
    rows = _rows(n, x, int(p.inputVectorSize))
    initial = [[_initial(n, rows, state, hidden) for state in both] for both in ((h, h_back), (c, c_back))]
    y, *states = n.mil(
        "lstm",
        x=rows,
        initial_h=n.Concat(*initial[0], axis=1),
        initial_c=n.Concat(*initial[1], axis=1),
        direction="bidirectional",
        **_lstm_weights(p, p.weightParams[0], ""),
        **_lstm_weights(p, p.weightParams[1], "_back"),
        **_lstm_options(p, p.activationsForwardLSTM, rows, c),
    )
    (h_forward, h_backward), (c_forward, c_backward) = (n.Split(s, axis=1, num_outputs=2, outputs=2) for s in states)
    return _images(n, y), *(_image(n, s) for s in (h_forward, c_forward, h_backward, c_backward))


def _lstm_weights(p: Any, w: Any, suffix: str) -> dict[str, Any]:
    inputs, hidden = int(p.inputVectorSize), int(p.outputVectorSize)
    bias = _stacked(w, _LSTM_GATES, "BiasVector", (hidden,)) if p.params.hasBiasVectors else None
    if p.params.forgetBias:
        bias = limits.full([4 * hidden], 0, np.float32) if bias is None else bias
        bias[hidden : 2 * hidden] += 1
    peepholes = _stacked(w, _PEEPHOLES, "PeepholeVector", (hidden,)) if p.params.hasPeepholeVectors else None
    return {
        f"weight_ih{suffix}": _stacked(w, _LSTM_GATES, "WeightMatrix", (hidden, inputs)),
        f"weight_hh{suffix}": _stacked(w, _LSTM_GATES, "RecursionMatrix", (hidden, hidden)),
        f"bias{suffix}": bias,
        f"peephole{suffix}": peepholes,
    }


def _lstm_options(p: Any, activations: Any, rows: Tensor, c: Any) -> dict[str, Any]:
    if p.params.coupledInputAndForgetGate:
        raise UnsupportedOperationError("coupled input and forget gates are not supported")
    gate, cell, output = (recurrent_name(a) for a in activations)
    return {
        "recurrent_activation": gate,
        "cell_activation": cell,
        "activation": output,
        "output_sequence": bool(p.params.sequenceOutput),
        "clip": _clip(p.params.cellClipThreshold, rows, c, bounded=gate in _BOUNDED and cell in _BOUNDED),
    }


_BOUNDED = frozenset({"sigmoid", "hard_sigmoid", "tanh", "scaled_tanh"})


def _clip(threshold: float, rows: Tensor, c: Any, bounded: bool) -> np.float32 | None:
    """The clipping threshold, or None if clipping has no effect: from zero, a cell grows by at most 1 per step."""
    steps = (rows.shape or (None,))[0]
    if not threshold or threshold >= _NEVER_CLIPS or (bounded and c is None and steps and steps <= threshold):
        return None
    return np.float32(threshold)


def _stacked(message: Any, gates: Sequence[str], what: str, shape: tuple[int, ...]) -> np.ndarray:
    parts = [weights(getattr(message, f"{gate}{what}"), shape, f"{gate}{what}") for gate in gates]
    return np.concatenate(parts, axis=0)


def _rows(n: Network, x: Tensor, size: int) -> Tensor:
    """Reshape [sequence, batch, channel, 1, 1] to [sequence, batch, size]."""
    x = n.tensor(x)
    rows: Tensor = n.Reshape(x, n.shape(*n.sizes(x)[:2], size)) if x.rank != 3 else x
    return rows


def _initial(n: Network, rows: Tensor, state: Any, hidden: int) -> Any:
    """Reshape a state [1, batch, hidden, 1, 1] to [batch, hidden]; without a state, zeros."""
    if state is None:
        return n.filled(n.shape(n.sizes(rows)[1], hidden), 0.0)
    return n.Reshape(state, np.array([-1, hidden], np.int64))


def _images(n: Network, y: Tensor) -> Any:
    return n.Unsqueeze(y, [3, 4])


def _image(n: Network, state: Tensor) -> Any:
    return n.Unsqueeze(state, [0, 3, 4])
