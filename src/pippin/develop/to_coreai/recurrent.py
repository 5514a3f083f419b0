"""Recurrent: LSTM, GRU and RNN as their steps, which Core AI has no operation for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .elementwise import hard_sigmoid
from .emitter import Emitter, Value
from .registry import Node, translates

_MOST_STEPS = 512
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_FUNCTIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu"}
_NUMBERS = {"HardSigmoid": (0.2, 0.5), "Affine": (1.0, 0.0), "ScaledTanh": (1.0, 1.0)}


@translates("LSTM", "GRU", "RNN")
def recurrent(
    e: Emitter, node: Node, x: Value, w: Any, r: Any, b: Any = None, lengths: Any = None, *states: Any
) -> Any:
    _check(node, x, lengths, states)
    direction, size = node.get("direction", "forward"), node.get("hidden_size")
    count = 2 if direction == "bidirectional" else 1
    sides = [_side(e, node, x, (w, r, b), states, number, direction, size) for number in range(count)]
    whole = [e.concat([side[0] for side in sides], 1) if count == 2 else sides[0][0]]
    for kind in range(2 if node.kind == "LSTM" else 1):
        last = [e.reshape(side[1][kind], [1, x.shape[1], size]) for side in sides]
        whole.append(e.concat(last, 0) if count == 2 else last[0])
    return tuple(whole)


def _check(node: Node, x: Value, lengths: Any, states: Any) -> None:
    if x.shape[0] > _MOST_STEPS:
        raise node.refused(f"its {x.shape[0]} steps are written one by one, at most {_MOST_STEPS}")
    if lengths is not None and not (isinstance(lengths, np.ndarray) and (lengths == x.shape[0]).all()):
        raise node.refused("sequences of different lengths have no counterpart in Core AI")
    if (
        node.get("layout", 0)
        or node.get("clip")
        or node.get("input_forget", 0)
        or any(one is not None for one in states[2:])
    ):
        raise node.refused("its layout, clipping, coupled gates or peepholes have no counterpart in Core AI")
    unknown = {name for name, _, _ in _activations(node)} - _FUNCTIONS.keys() - _NUMBERS.keys()
    if unknown:
        raise node.refused(f"its activation {sorted(unknown)[0]} has no counterpart in Core AI")


def _activations(node: Node) -> list[tuple[str, float, float]]:
    """The name, alpha and beta of each activation. Only those that take them have numbers in the lists."""
    given = node.get("activations")
    names = [n.decode() if isinstance(n, bytes) else n for n in given] if given else _DEFAULTS[node.kind] * 2
    alphas, betas = (list(node.get(f"activation_{kind}") or ()) for kind in ("alpha", "beta"))
    found = []
    for name in names:
        alpha, beta = _NUMBERS.get(name, (0.0, 0.0))
        if name in _NUMBERS:
            alpha, beta = (alphas.pop(0) if alphas else alpha), (betas.pop(0) if betas else beta)
        found.append((name, alpha, beta))
    return found


def _side(e: Emitter, node: Node, x: Value, weights: Any, states: Any, number: int, direction: str, size: int) -> Any:
    """One direction: the results of all steps, and the last ones."""
    steps, batch, _ = x.shape
    w, r = (e.transpose(_at(e, one, number), [1, 0]) for one in weights[:2])
    bias = None if weights[2] is None else _at(e, weights[2], number)
    wide = _GATES[node.kind] * size
    bw, br = (None, None) if bias is None else (_part(e, bias, 0, wide), _part(e, bias, wide, 2 * wide))
    held = [_at(e, one, number) if one is not None else None for one in states[:2]]
    zeros = np.zeros((batch, size), x.dtype)
    held = [zeros if one is None else one for one in [*held, None, None][:2]]
    chosen = _activations(node)[number * len(_DEFAULTS[node.kind]) :]
    acts = [partial(_activated, e, *one) for one in chosen]
    # What does not depend on the state is one product for all steps.
    given = e.matmul(e.reshape(x, [steps * batch, x.shape[2]]), w)
    given = e.reshape(given if bw is None else e.add(given, bw), [steps, batch, wide])
    backward = direction == "reverse" or number == 1
    found: list[Any] = [None] * steps
    for step in reversed(range(steps)) if backward else range(steps):
        row = e.reshape(e.slice(given, [step, 0, 0], [step + 1, batch, wide]), [batch, wide])
        held = _STEPS[node.kind](e, node, row, held, r, br, acts, size)
        found[step] = e.reshape(held[0], [1, 1, batch, size])
    return (e.concat(found, 0) if steps > 1 else found[0]), held


def _activated(e: Emitter, name: str, alpha: float, beta: float, x: Value) -> Value:
    if name == "Affine":
        return e.add(e.mul(x, alpha), beta)
    if name == "ScaledTanh":
        return e.mul(e.op("tanh", e.mul(x, beta)), alpha)
    return hard_sigmoid(e, x, alpha, beta) if name == "HardSigmoid" else e.op(_FUNCTIONS[name], x)


def _at(e: Emitter, x: Any, number: int) -> Any:
    if not isinstance(x, Value):
        return np.ascontiguousarray(x[number])
    rest = list(x.shape[1:])
    return e.reshape(e.slice(x, [number, *[0] * len(rest)], [number + 1, *rest]), rest)


def _part(e: Emitter, x: Any, start: int, end: int) -> Any:
    if not isinstance(x, Value):
        return np.ascontiguousarray(x[..., start:end])
    lead = len(x.shape) - 1
    return e.slice(x, [*[0] * lead, start], [*x.shape[:-1], end])


def _gates(e: Emitter, x: Any, size: int, count: int) -> list[Any]:
    return [_part(e, x, n * size, (n + 1) * size) for n in range(count)]


def _summed(e: Emitter, row: Value, h: Any, r: Any, br: Any) -> Value:
    found = e.add(row, e.matmul(h, r))
    return found if br is None else e.add(found, br)


def _lstm(
    e: Emitter,
    node: Node,
    row: Value,
    held: list[Any],
    r: Any,
    br: Any,
    acts: Sequence[Callable[..., Value]],
    size: int,
) -> list[Any]:
    i, o, f, c = _gates(e, _summed(e, row, held[0], r, br), size, 4)
    cell = e.add(e.mul(acts[0](f), held[1]), e.mul(acts[0](i), acts[1](c)))
    return [e.mul(acts[0](o), acts[2](cell)), cell]


def _gru(
    e: Emitter,
    node: Node,
    row: Value,
    held: list[Any],
    r: Any,
    br: Any,
    acts: Sequence[Callable[..., Value]],
    size: int,
) -> list[Any]:
    h = held[0]
    xz, xr, xh = _gates(e, row, size, 3)
    rz, rr, rh = _gates(e, r, size, 3)
    bz, bg, bh = (None, None, None) if br is None else _gates(e, br, size, 3)
    z, reset = (acts[0](_summed(e, x, h, w, b)) for x, w, b in ((xz, rz, bz), (xr, rr, bg)))
    if node.get("linear_before_reset", 0):
        inner = e.matmul(h, rh)
        new = acts[1](e.add(xh, e.mul(reset, inner if bh is None else e.add(inner, bh))))
    else:
        new = acts[1](_summed(e, xh, e.mul(reset, h), rh, bh))
    return [e.add(new, e.mul(z, e.sub(h, new))), None]


def _rnn(
    e: Emitter,
    node: Node,
    row: Value,
    held: list[Any],
    r: Any,
    br: Any,
    acts: Sequence[Callable[..., Value]],
    size: int,
) -> list[Any]:
    return [acts[0](_summed(e, row, held[0], r, br)), None]


_STEPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
