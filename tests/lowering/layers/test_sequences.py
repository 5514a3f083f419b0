"""Recurrent layers, legacy layers and detections, against torch and numpy; states in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowering.layers.layer_harness import ENGINES, check, f32, parametrize, row

S, B, SIZE, H = 5, 2, 3, 4
X = f32(S, B, SIZE, 1, 1)
W = [f32(H, SIZE, seed=i, low=-1, high=1) for i in range(8)]
R = [f32(H, H, seed=10 + i, low=-1, high=1) for i in range(8)]
BIAS = [f32(H, seed=20 + i) for i in range(8)]
STATES = {name: f32(1, B, H, 1, 1, seed=30 + i) for i, name in enumerate(("h", "c", "h2", "c2"))}
IMAGE = f32(2, 3, 4)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def as_blob(rows):
    return np.asarray(rows, np.float32)[..., None, None]


def simple_rnn(x, h=None, everything=True, backwards=False):
    rows = x[::-1] if backwards else x
    state, found = np.zeros((B, H)) if h is None else h[0, ..., 0, 0], []
    for row_ in rows[..., 0, 0]:
        state = np.tanh(row_ @ W[0].T + state @ R[0].T + BIAS[0])
        found.append(state)
    return as_blob(found if everything else found[-1:]), as_blob([state])


def gru(x, h=None, everything=True):
    """The reset gate is applied to the state, before it is multiplied; gates: update, reset, output."""
    state, found = np.zeros((B, H)) if h is None else h[0, ..., 0, 0], []
    for row_ in x[..., 0, 0]:
        z, r = (sigmoid(row_ @ W[i].T + state @ R[i].T + BIAS[i]) for i in (0, 1))
        o = np.tanh(row_ @ W[2].T + (r * state) @ R[2].T + BIAS[2])
        state = (1 - z) * o + z * state
        found.append(state)
    return as_blob(found if everything else found[-1:]), as_blob([state])


def lstm(x, h=None, c=None, at=0, peep=None):
    """Gates: input, forget, output, cell."""
    h, c = (np.zeros((B, H)) if v is None else v[0, ..., 0, 0] for v in (h, c))
    found = []
    for row_ in x[..., 0, 0]:
        i, f, o, g = (row_ @ W[at + k].T + h @ R[at + k].T + BIAS[at + k] for k in range(4))
        if peep:
            i, f = i + c * peep[0], f + c * peep[1]
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o + c * peep[2] if peep else o) * np.tanh(c)
        found.append(h)
    return found, h, c


def unidirectional(x, h=None, c=None, **how):
    y, h, c = lstm(x, h, c, **how)
    return as_blob(y), as_blob([h]), as_blob([c])


def bidirectional(x, h=None, c=None, h2=None, c2=None):
    y, h, c = lstm(x, h, c)
    y2, h2, c2 = lstm(x[::-1], h2, c2, at=4)
    both = [np.concatenate(pair, 1) for pair in zip(y, y2[::-1], strict=True)]
    return as_blob(both), *(as_blob([state]) for state in (h, c, h2, c2))


def add_bidirectional(b, inputs):
    weights = [part[at : at + 4] for at in (0, 4) for part in (R, W, BIAS)]
    b.add_bidirlstm("l", *weights, H, SIZE, inputs, ["y", "h_", "c_", "h2_", "c2_"], output_all=True)


def add_unidirectional(b, inputs, **how):
    b.add_unilstm("l", R[:4], W[:4], BIAS[:4], H, SIZE, inputs, ["y", "h_", "c_"], output_all=True, **how)


PEEP = [f32(H, seed=40 + i) for i in range(3)]
BOXES = np.array([[[5, 5, 4, 4], [5.5, 5, 4, 4], [20, 20, 4, 4], [40, 40, 2, 2]]], np.float32)
SCORES = np.array([[[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.05, 0.02]]], np.float32)


def kept(order, count=4):
    """What is left of the boxes, as the layer pads it."""
    boxes, scores, which = np.zeros((1, count, 4)), np.zeros((1, count, 2)), np.full((1, count), -1.0)
    boxes[0, : len(order)], scores[0, : len(order)], which[0, : len(order)] = BOXES[0, order], SCORES[0, order], order
    return boxes, scores, which, [len(order)]


def suppress(per_class):
    return lambda b: b.add_nms(
        "l", ["boxes", "scores"], ["y", "s", "i", "n"], 0.5, 0.1, 4, per_class_suppression=per_class
    )


ROWS = [
    row("simpleRecurrent", lambda b: b.add_simple_rnn("l", R[0], W[0], BIAS[0], H, SIZE, "TANH", ["x"], ["y", "h_"], output_all=True), {"x": X}, simple_rnn, outputs=("y", "h_")),
    row("simpleRecurrent", lambda b: b.add_simple_rnn("l", R[0], W[0], BIAS[0], H, SIZE, "TANH", ["x", "h"], ["y", "h_"], reverse_input=True), {"x": X, "h": STATES["h"]}, lambda x, h: simple_rnn(x, h, False, True), outputs=("y", "h_"), label="reversed, with a state"),
    row("gru", lambda b: b.add_gru("l", R[:3], W[:3], BIAS[:3], H, SIZE, ["x"], ["y", "h_"], inner_activation="SIGMOID", output_all=True), {"x": X}, gru, outputs=("y", "h_")),
    row("gru", lambda b: b.add_gru("l", R[:3], W[:3], BIAS[:3], H, SIZE, ["x", "h"], ["y", "h_"], inner_activation="SIGMOID"), {"x": X, "h": STATES["h"]}, lambda x, h: gru(x, h, False), outputs=("y", "h_"), label="with a state"),
    row("uniDirectionalLSTM", lambda b: add_unidirectional(b, ["x", "h", "c"]), {"x": X, "h": STATES["h"], "c": STATES["c"]}, unidirectional, outputs=("y", "h_", "c_")),
    row("uniDirectionalLSTM", lambda b: add_unidirectional(b, ["x"], peep=PEEP), {"x": X}, lambda x: unidirectional(x, peep=PEEP), outputs=("y", "h_", "c_"), label="peepholes"),
    row("biDirectionalLSTM", lambda b: add_bidirectional(b, ["x"]), {"x": X}, bidirectional, outputs=("y", "h_", "c_", "h2_", "c2_")),
    row("biDirectionalLSTM", lambda b: add_bidirectional(b, ["x", "h", "c", "h2", "c2"]), {"x": X, **STATES}, bidirectional, outputs=("y", "h_", "c_", "h2_", "c2_"), label="with states"),
    # Legacy: [channel, height, width].
    row("sequenceRepeat", lambda b: b.add_sequence_repeat("l", 3, "x", "y"), {"x": IMAGE}, np.tile(IMAGE[None, None], (3, 1, 1, 1, 1)), exact=False),
    row("loadConstant", lambda b: (b.add_load_constant("c", "k", IMAGE.reshape(-1), IMAGE.shape), b.add_elementwise("l", ["x", "k"], "y", "ADD")), {"x": f32(2, 3, 4, seed=1)}, lambda x: x + IMAGE, exact=False),
    row("sliceBySize", lambda b: b.add_slice_by_size("l", ["x", "at"], "y", 2, 2), {"x": IMAGE, "at": np.array([1], np.float32)}, IMAGE[:, :, 1:3]),
    row("cropResize", lambda b: b.add_crop_resize("l", ["x", "box"], "y", 2, 3), {"x": f32(1, 1, 2, 4, 5), "box": np.array([1, 1, 2, 3], np.float32).reshape(1, 1, 4, 1, 1)}, lambda x, box: x[..., 1:3, 1:4]),
    row("cropResize", lambda b: b.add_crop_resize("l", ["x", "box"], "y", 1, 2, mode="ALIGN_ENDPOINTS_MODE", normalized_roi=True, box_indices_mode="CENTER_SIZE_WIDTH_FIRST"), {"x": f32(1, 1, 2, 5, 5), "box": np.array([0.5, 0.5, 0.5, 0.0], np.float32).reshape(1, 1, 4, 1, 1)}, lambda x, box: x[..., 2:3, 1:4:2], label="centre"),
    row("NonMaximumSuppression", suppress(False), {"boxes": BOXES, "scores": SCORES}, lambda boxes, scores: kept([0, 2]), outputs=("y", "s", "i", "n")),
    row("NonMaximumSuppression", suppress(True), {"boxes": BOXES, "scores": SCORES}, lambda boxes, scores: kept([0, 1, 2]), outputs=("y", "s", "i", "n"), label="per class"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@parametrize(ROWS)
def test_layer(r, engine):
    check(r, engine)


def test_the_references_agree_with_torch():
    """The LSTM above, in torch's order of gates."""
    net = torch.nn.LSTM(SIZE, H, bidirectional=True)
    with torch.no_grad():
        for suffix, at in (("", 0), ("_reverse", 4)):
            order = [at + k for k in (0, 1, 3, 2)]
            for name, parts in (("weight_ih", W), ("weight_hh", R), ("bias_ih", BIAS)):
                stacked = np.concatenate([parts[k] for k in order])
                getattr(net, f"{name}_l0{suffix}").copy_(torch.from_numpy(stacked))
            getattr(net, f"bias_hh_l0{suffix}").zero_()
        y, _ = net(torch.from_numpy(X[..., 0, 0]))
    np.testing.assert_allclose(bidirectional(X)[0][..., 0, 0], y, atol=1e-5)
