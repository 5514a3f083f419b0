"""Recurrent: lowers lstm, gru and rnn.

MIL's gate order is [input, forget, output, cell] (lstm) and [reset, output, update] (gru); ONNX's is [input, output,
forget, cell] and [update, reset, hidden]. A "reverse" MIL layer returns its outputs in computation order: it is a
forward layer over the flipped sequence. A bidirectional layer returns both halves in input order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ProgramError, UnsupportedOperationError
from .. import limits
from ..lower_blocks import Builder
from ..onnx_builder import Tensor
from ..op_registry import lowers

_LSTM_GATES = [0, 2, 1, 3]
_PEEPHOLES = [0, 2, 1]
_GRU_GATES = [2, 0, 1]

# ONNX name, alpha, beta. The numbers are coremltools' values for activations without parameters.
_ACTIVATIONS = {
    "hard_sigmoid": ("HardSigmoid", 0.2, 0.5),
    "linear": ("Affine", 1.0, 0.0),
    "relu": ("Relu", 0.0, 0.0),
    "scaled_tanh": ("Tanh", 0.0, 0.0),  # its default factors are 1
    "sigmoid": ("Sigmoid", 0.0, 0.0),
    "sigmoid_hard": ("HardSigmoid", 0.2, 0.5),
    "tanh": ("Tanh", 0.0, 0.0),
}


@lowers("lstm")
def lstm(
    g: Builder,
    x: Tensor,
    initial_h: Any,
    initial_c: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias: Any = None,
    peephole: Any = None,
    weight_ih_back: Any = None,
    weight_hh_back: Any = None,
    bias_back: Any = None,
    peephole_back: Any = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    both = direction == "bidirectional"
    x = _in_order(g, x, direction)
    hidden = int(weight_hh.shape[1])
    initial = [_by_direction(g, x, g.cast(h, x.dtype), hidden, both) for h in (initial_h, initial_c)]
    sides = [(weight_ih, weight_hh, bias, peephole)]
    if both:
        sides.append((weight_ih_back, weight_hh_back, bias_back, peephole_back))
    names = [recurrent_activation, cell_activation, activation]
    if clip is not None:
        return _clipped(g, x, initial, sides, names, float(clip), bool(output_sequence))
    weights = [_stacked(g, [_gates(g, side[i], _LSTM_GATES, hidden) for side in sides]) for i in (0, 1)]
    outputs = g.LSTM(
        x,
        *weights,
        _biases(g, [(side[2], None) for side in sides], _LSTM_GATES, hidden, x),
        None,
        *initial,
        _peepholes(g, [side[3] for side in sides], hidden, x),
        hidden_size=hidden,
        direction="bidirectional" if both else "forward",
        outputs=3,
        **_activations(names, 2 if both else 1),
    )
    y, h, c = outputs
    return _sequence(g, y, h, both, output_sequence), _joined(g, h, both), _joined(g, c, both)


@lowers("gru")
def gru(
    g: Builder,
    x: Tensor,
    initial_h: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias: Any = None,
    direction: str = "forward",
    output_sequence: bool = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: bool = False,
    input_bias: Any = None,
) -> tuple[Tensor, Tensor]:
    """The reset gate multiplies the state before the matrix product. With `reset_after` (iOS 18) it multiplies the
    product; `bias` is then inside the gate and `input_bias` outside."""
    x = _in_order(g, x, direction)
    hidden = int(weight_hh.shape[1])
    weights = [_stacked(g, [_gates(g, w, _GRU_GATES, hidden)]) for w in (weight_ih, weight_hh)]
    initial = _by_direction(g, x, g.cast(initial_h, x.dtype), hidden, False)
    y, h = g.GRU(
        x,
        *weights,
        _biases(g, [(input_bias, bias)], _GRU_GATES, hidden, x),
        None,
        initial,
        hidden_size=hidden,
        linear_before_reset=int(reset_after),
        outputs=2,
        **_activations([recurrent_activation, activation], 1),
    )
    return _sequence(g, y, h, False, output_sequence), _joined(g, h, False)


@lowers("rnn")
def rnn(
    g: Builder,
    x: Tensor,
    initial_h: Any,
    weight_ih: Any,
    weight_hh: Any,
    bias: Any = None,
    direction: str = "forward",
    output_sequence: bool = False,
    activation: str = "tanh",
) -> tuple[Tensor, Tensor]:
    x = _in_order(g, x, direction)
    hidden = int(weight_hh.shape[1])
    weights = [_stacked(g, [_gates(g, w, [0], hidden)]) for w in (weight_ih, weight_hh)]
    y, h = g.RNN(
        x,
        *weights,
        _biases(g, [(bias, None)], [0], hidden, x),
        None,
        _by_direction(g, x, g.cast(initial_h, x.dtype), hidden, False),
        hidden_size=hidden,
        outputs=2,
        **_activations([activation], 1),
    )
    return _sequence(g, y, h, False, output_sequence), _joined(g, h, False)


def _in_order(g: Builder, x: Tensor, direction: str) -> Tensor:
    if direction not in ("forward", "reverse", "bidirectional"):
        raise UnsupportedOperationError(f"direction must be forward, reverse or bidirectional, got '{direction}'")
    x = g.tensor(x)
    if direction != "reverse":
        return x
    return g.Slice(x, [-1], [np.iinfo(np.int64).min], [0], [-1])


def _gates(g: Builder, weight: Any, order: Sequence[int], hidden: int) -> Any:
    """The rows of each gate in ONNX's order. Weights that the engine decompresses are Tensors."""
    if not isinstance(weight, Tensor):
        blocks = np.reshape(weight, (len(order), hidden, *np.shape(weight)[1:]))
        return blocks[list(order)].reshape(np.shape(weight))
    columns = int((weight.shape or ())[1] or 0)
    blocks = g.Gather(g.Reshape(weight, [len(order), hidden, columns]), list(order), axis=0)
    return g.Reshape(blocks, [len(order) * hidden, columns])


def _stacked(g: Builder, sides: Sequence[Any]) -> Any:
    if any(isinstance(side, Tensor) for side in sides):
        return g.Concat(*(g.Unsqueeze(side, [0]) for side in sides), axis=0)
    return np.stack(sides)


def _biases(g: Builder, sides: Sequence[tuple[Any, Any]], order: Sequence[int], hidden: int, x: Tensor) -> Any:
    """The input bias followed by the state bias, as ONNX expects; None if all are missing."""
    if all(part is None for side in sides for part in side):
        return None
    zeros = limits.full([len(order) * hidden], 0, x.dtype)
    rows = []
    for side in sides:
        parts = [zeros if part is None else _gates(g, np.asarray(part), order, hidden) for part in side]
        rows.append(np.concatenate(parts))
    return np.stack(rows)


def _peepholes(g: Builder, sides: Sequence[Any], hidden: int, x: Tensor) -> Any:
    if all(side is None for side in sides):
        return None
    zeros = limits.full([3 * hidden], 0, x.dtype)
    return np.stack([zeros if side is None else _gates(g, side, _PEEPHOLES, hidden) for side in sides])


def _activations(names: Sequence[str], directions: int) -> dict[str, Any]:
    unknown = next((name for name in names if name not in _ACTIVATIONS), None)
    if unknown is not None:
        raise UnsupportedOperationError(f"unknown activation '{unknown}' (known: {', '.join(_ACTIVATIONS)})")
    rows = [_ACTIVATIONS[name] for name in names] * directions
    # Only activations with parameters consume values from these lists.
    numbers = [(alpha, beta) for _, alpha, beta in rows if (alpha, beta) != (0.0, 0.0)]
    return {
        "activations": [kind for kind, _, _ in rows],
        "activation_alpha": [alpha for alpha, _ in numbers] or None,
        "activation_beta": [beta for _, beta in numbers] or None,
    }


def _by_direction(g: Builder, x: Tensor, h: Any, hidden: int, both: bool) -> Tensor:
    """An initial state (batch, directions * hidden) as (directions, batch, hidden)."""
    if h.shape is not None and len(h.shape) != 2:
        raise ProgramError(f"an initial state must have two axes, batch and units, got the shape {list(h.shape)}")
    batch, given = x.static_size(1) if x.shape and x.shape[1] is not None else None, h.shape[0]
    if batch is None or given is None:
        # OpenVINO does not compare the two and reads past the end of a smaller state; a Reshape fails instead.
        width = np.array([2 * hidden if both else hidden])
        h = g.Reshape(h, g.Concat(g.Slice(g.shape_of(x), [1], [2]), width, axis=0))
    elif batch != given:
        raise UnsupportedOperationError(f"x has batch size {batch}, but its initial state has {given}")
    if not both:
        return g.Unsqueeze(h, [0])
    return g.Transpose(g.Reshape(h, [-1, 2, hidden]), perm=[1, 0, 2])


def _joined(g: Builder, h: Tensor, both: bool) -> Tensor:
    """(directions, batch, hidden) as (batch, directions * hidden)."""
    if not both:
        return g.Squeeze(h, [0])
    return g.Reshape(g.Transpose(h, perm=[1, 0, 2]), [0, -1])


def _sequence(g: Builder, y: Tensor, h: Tensor, both: bool, output_sequence: bool) -> Tensor:
    """(steps, directions, batch, hidden) as (steps, batch, directions * hidden), or only the last step."""
    if not output_sequence:
        return g.Unsqueeze(_joined(g, h, both), [0])
    if not both:
        return g.Squeeze(y, [1])
    return g.Reshape(g.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, -1])


def _clipped(
    g: Builder,
    x: Tensor,
    initial: Sequence[Tensor],
    sides: Sequence[tuple[Any, ...]],
    names: Sequence[str],
    clip: float,
    output_sequence: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """An lstm whose cell is clipped to [-clip, clip] after each step, which ONNX's LSTM does not do."""
    outputs = []
    for index, side in enumerate(sides):
        sequence = x if index == 0 else g.Slice(x, [-1], [np.iinfo(np.int64).min], [0], [-1])
        start = [g.Squeeze(g.Gather(state, [index], axis=0), [0]) for state in initial]
        h, c, y = _scan(g, sequence, start, side, names, clip)
        outputs.append((y if index == 0 else g.Slice(y, [-1], [np.iinfo(np.int64).min], [0], [-1]), h, c))
    y, h, c = (g.Concat(*parts, axis=-1) if len(sides) > 1 else parts[0] for parts in zip(*outputs, strict=True))
    return (y if output_sequence else g.Unsqueeze(h, [0])), h, c


def _scan(
    g: Builder, x: Tensor, start: Sequence[Tensor], side: tuple[Any, ...], names: Sequence[str], clip: float
) -> tuple[Tensor, Tensor, Tensor]:
    weight_ih, weight_hh, bias, peephole = side
    hidden = int(weight_hh.shape[1])
    inner, cell, outer = (_applied(g, name) for name in names)
    recurrent = g.Transpose(weight_hh, perm=[1, 0])
    projected = g.MatMul(x, g.Transpose(weight_ih, perm=[1, 0]))
    if bias is not None:
        projected = g.Add(projected, bias)
    peeps = [None] * 3 if peephole is None else [np.asarray(p) for p in np.split(peephole, 3)]

    def gate(value: Tensor, weight: Any, c: Tensor) -> Tensor:
        return inner(value if weight is None else g.Add(value, g.Mul(c, weight)))

    def step(h: Tensor, c: Tensor, row: Tensor) -> tuple[Tensor, ...]:
        i, f, o, z = g.Split(g.Add(row, g.MatMul(h, recurrent)), [hidden] * 4, axis=-1, outputs=4)
        kept = g.Add(g.Mul(gate(f, peeps[1], c), c), g.Mul(gate(i, peeps[0], c), cell(z)))
        kept = g.Clip(kept, -clip, clip)
        out = g.Mul(gate(o, peeps[2], kept), outer(kept))
        return out, kept, out

    rows = (x.dtype, (None, 4 * hidden))
    state = (x.dtype, (None, hidden))
    body = g.subgraph(step, [state, state, rows])
    sequence = (x.dtype, (None, None, hidden))
    found: tuple[Tensor, Tensor, Tensor] = g.Scan(
        *start, projected, body=body, num_scan_inputs=1, outputs=3, types=[state, state, sequence]
    )
    return found


def _applied(g: Builder, name: str) -> Any:
    """The activation with this MIL name, as a function of a tensor."""
    if name not in _ACTIVATIONS:
        raise UnsupportedOperationError(f"unknown activation '{name}' (known: {', '.join(_ACTIVATIONS)})")
    kind, alpha, beta = _ACTIVATIONS[name]
    if kind == "Affine":
        return lambda x: x
    if kind == "HardSigmoid":
        return lambda x: g.HardSigmoid(x, alpha=alpha, beta=beta)
    return lambda x: g.emit(kind, x)
