"""Recurrent layers against a plain numpy loop over the formulas of coremltools' documentation, and against torch."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol

import coremltools as ct
import pippin
from lowering.harness import case, check, const, dynamic, f32, rows
from pippin.errors import PredictionError

ACTIVATIONS = {
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "sigmoid_hard": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "scaled_tanh": np.tanh,  # its factors are 1 inside a recurrent layer
}
S, B, N, H = 4, 2, 3, 5


def _one_way(x, h, c, w, r, bias, peephole, inner, cell, outer, clip):
    f, g, o = (ACTIVATIONS[name] for name in (inner, cell, outer))
    p = np.zeros((3, H)) if peephole is None else peephole.reshape(3, H)
    outputs = []
    for row in x:
        gates = np.split(row @ w.T + h @ r.T + (0 if bias is None else bias), 4, -1)
        i, forget = f(gates[0] + p[0] * c), f(gates[1] + p[1] * c)
        c = forget * c + i * g(gates[3])
        c = c if clip is None else np.clip(c, -clip, clip)
        h = f(gates[2] + p[2] * c) * o(c)
        outputs.append(h)
    return np.stack(outputs), h, c


def _lstm(
    x,
    initial_h,
    initial_c,
    weight_ih,
    weight_hh,
    bias=None,
    peephole=None,
    weight_ih_back=None,
    weight_hh_back=None,
    bias_back=None,
    peephole_back=None,
    direction="forward",
    output_sequence=False,
    recurrent_activation="sigmoid",
    cell_activation="tanh",
    activation="tanh",
    clip=None,
):
    how = (recurrent_activation, cell_activation, activation, clip)
    hs, cs = np.split(initial_h, initial_h.shape[1] // H, 1), np.split(initial_c, initial_c.shape[1] // H, 1)
    x = x[::-1] if direction == "reverse" else x
    y, h, c = _one_way(x, hs[0], cs[0], weight_ih, weight_hh, bias, peephole, *how)
    if direction == "bidirectional":
        back = _one_way(x[::-1], hs[1], cs[1], weight_ih_back, weight_hh_back, bias_back, peephole_back, *how)
        y, h, c = (np.concatenate(pair, -1) for pair in ((y, back[0][::-1]), (h, back[1]), (c, back[2])))
    return (y if output_sequence else h[None]), h, c


def _w(*shape, seed):
    return const(f32(*shape, seed=seed, low=-0.6, high=0.6))


STATE = {"initial_h": f32(B, H, seed=1), "initial_c": f32(B, H, seed=2)}
BOTH = {"initial_h": f32(B, 2 * H, seed=1), "initial_c": f32(B, 2 * H, seed=2)}
WEIGHTS = {"weight_ih": _w(4 * H, N, seed=3), "weight_hh": _w(4 * H, H, seed=4)}
BACK = {"weight_ih_back": _w(4 * H, N, seed=6), "weight_hh_back": _w(4 * H, H, seed=7)}
BIAS, BIAS_BACK = {"bias": _w(4 * H, seed=5)}, {"bias_back": _w(4 * H, seed=8)}
X = f32(S, B, N)
F32 = {15: ["fp32"], 17: ["fp32", "fp16"]}  # float16 came with iOS 17

CASES = [
    case(
        "lstm",
        x=X,
        **STATE,
        **WEIGHTS,
        **bias,
        direction=direction,
        output_sequence=sequence,
        opset=opset,
        dtypes=F32[opset],
        label=f"{direction}-{sequence}-{len(bias)}",
        expect=_lstm,
    )
    for direction in ("forward", "reverse")
    for sequence in (True, False)
    for bias in ({}, BIAS)
    for opset in (15, 17)
]
CASES += [
    case(
        "lstm",
        x=X,
        **BOTH,
        **WEIGHTS,
        **BACK,
        **bias,
        direction="bidirectional",
        output_sequence=sequence,
        opset=opset,
        dtypes=F32[opset],
        label=f"both-{sequence}-{len(bias)}",
        expect=_lstm,
    )
    for sequence in (True, False)
    for bias in ({}, BIAS | BIAS_BACK)
    for opset in (15, 17)
]
CASES += [
    case(
        "lstm",
        x=X,
        **STATE,
        **WEIGHTS,
        **BIAS,
        output_sequence=True,
        recurrent_activation=a,
        cell_activation=b,
        activation=c,
        dtypes=["fp32"],
        label=f"{a}-{b}-{c}",
        expect=_lstm,
    )
    for a, b, c in [
        ("sigmoid", "relu", "tanh"),
        ("hard_sigmoid", "tanh", "tanh"),
        ("sigmoid", "linear", "sigmoid"),
        ("sigmoid", "tanh", "scaled_tanh"),
        ("tanh", "sigmoid", "relu"),
    ]
]
CASES += [
    case(
        "lstm",
        x=X,
        **STATE,
        **WEIGHTS,
        **BIAS,
        peephole=_w(3 * H, seed=9),
        output_sequence=True,
        dtypes=["fp32"],
        label="peephole",
        expect=_lstm,
    ),
    case(
        "lstm",
        x=X,
        **STATE,
        **WEIGHTS,
        **BIAS,
        clip=0.3,
        output_sequence=True,
        dtypes=["fp32"],
        label="clip",
        expect=_lstm,
    ),
    case(
        "lstm",
        x=X,
        **STATE,
        **WEIGHTS,
        **BIAS,
        clip=0.3,
        peephole=_w(3 * H, seed=9),
        direction="reverse",
        dtypes=["fp32"],
        label="clip-peephole-reverse",
        expect=_lstm,
    ),
    case(
        "lstm",
        x=X,
        **BOTH,
        **WEIGHTS,
        **BACK,
        **BIAS,
        **BIAS_BACK,
        clip=0.3,
        direction="bidirectional",
        output_sequence=True,
        dtypes=["fp32"],
        label="clip-both",
        expect=_lstm,
    ),
    case(
        "lstm",
        x=dynamic(X, 0, 1),
        initial_h=dynamic(STATE["initial_h"], 0),
        initial_c=dynamic(STATE["initial_c"], 0),
        **WEIGHTS,
        **BIAS,
        output_sequence=True,
        dtypes=["fp32"],
        label="dynamic",
        expect=_lstm,
    ),
    case(
        "lstm",
        x=dynamic(X, 0),
        **BOTH,
        **WEIGHTS,
        **BACK,
        direction="bidirectional",
        output_sequence=True,
        dtypes=["fp32"],
        label="dynamic-both",
        expect=_lstm,
    ),
    case(
        "lstm",
        x=f32(1, 1, N),
        initial_h=f32(1, H, seed=1),
        initial_c=f32(1, H, seed=2),
        **WEIGHTS,
        **BIAS,
        dtypes=["fp32"],
        label="one-step",
        expect=_lstm,
    ),
]


def _torch_lstm(x, initial_h, initial_c, weight_ih, weight_hh, bias, **_):
    """torch's gates are [input, forget, cell, output]."""
    layer = torch.nn.LSTM(N, H)
    order = np.concatenate([np.arange(2 * H), np.arange(3 * H, 4 * H), np.arange(2 * H, 3 * H)])
    values = (weight_ih[order], weight_hh[order], bias[order], np.zeros(4 * H, np.float32))
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value))
        y, (h, c) = layer(torch.from_numpy(x), (torch.from_numpy(initial_h[None]), torch.from_numpy(initial_c[None])))
    return y.numpy(), h[0].numpy(), c[0].numpy()


CASES += [
    case(
        "lstm",
        x=X,
        **STATE,
        **WEIGHTS,
        **BIAS,
        output_sequence=True,
        dtypes=["fp32"],
        label="torch",
        expect=_torch_lstm,
    )
]


def _gru(
    x,
    initial_h,
    weight_ih,
    weight_hh,
    bias=None,
    direction="forward",
    output_sequence=False,
    recurrent_activation="sigmoid",
    activation="tanh",
    reset_after=False,
    input_bias=None,
):
    f, g = ACTIVATIONS[recurrent_activation], ACTIVATIONS[activation]
    wr, wo, wz = np.split(weight_ih, 3)
    rr, ro, rz = np.split(weight_hh, 3)
    zeros = np.zeros(3 * H)
    br, bo, bz = np.split(zeros if bias is None else bias, 3)
    ir, io, iz = np.split(zeros if input_bias is None else input_bias, 3)
    h, outputs = initial_h, []
    for row in x[::-1] if direction == "reverse" else x:
        r = f(row @ wr.T + ir + h @ rr.T + br)
        z = f(row @ wz.T + iz + h @ rz.T + bz)
        o = g(row @ wo.T + io + (r * (h @ ro.T + bo) if reset_after else (r * h) @ ro.T + bo))
        h = (1 - z) * o + z * h
        outputs.append(h)
    return (np.stack(outputs) if output_sequence else h[None]), h


GRU = {"weight_ih": _w(3 * H, N, seed=3), "weight_hh": _w(3 * H, H, seed=4)}
CASES += [
    case(
        "gru",
        x=X,
        initial_h=f32(B, H, seed=1),
        **GRU,
        **bias,
        direction=direction,
        output_sequence=sequence,
        opset=opset,
        dtypes=F32[opset],
        label=f"{direction}-{sequence}-{len(bias)}",
        expect=_gru,
    )
    for direction in ("forward", "reverse")
    for sequence in (True, False)
    for bias in ({}, {"bias": _w(3 * H, seed=5)})
    for opset in (15, 17)
]
CASES += [
    case(
        "gru",
        x=X,
        initial_h=f32(B, H, seed=1),
        **GRU,
        bias=_w(3 * H, seed=5),
        input_bias=_w(3 * H, seed=6),
        reset_after=after,
        output_sequence=True,
        opset=18,
        label=f"reset-{after}",
        expect=_gru,
    )
    for after in (True, False)
]
CASES += [
    case(
        "gru",
        x=X,
        initial_h=f32(B, H, seed=1),
        **GRU,
        recurrent_activation=a,
        activation=b,
        output_sequence=True,
        dtypes=["fp32"],
        label=f"{a}-{b}",
        expect=_gru,
    )
    for a, b in [("tanh", "sigmoid"), ("sigmoid", "relu"), ("hard_sigmoid", "tanh")]
]
CASES += [
    case(
        "gru",
        x=dynamic(X, 0, 1),
        initial_h=dynamic(f32(B, H, seed=1), 0),
        **GRU,
        output_sequence=True,
        dtypes=["fp32"],
        label="dynamic",
        expect=_gru,
    )
]


def _rnn(x, initial_h, weight_ih, weight_hh, bias=None, direction="forward", output_sequence=False, activation="tanh"):
    h, outputs = initial_h, []
    for row in x[::-1] if direction == "reverse" else x:
        h = ACTIVATIONS[activation](row @ weight_ih.T + h @ weight_hh.T + (0 if bias is None else bias))
        outputs.append(h)
    return (np.stack(outputs) if output_sequence else h[None]), h


RNN = {"weight_ih": _w(H, N, seed=3), "weight_hh": _w(H, H, seed=4)}
CASES += [
    case(
        "rnn",
        x=X,
        initial_h=f32(B, H, seed=1),
        **RNN,
        **bias,
        direction=direction,
        output_sequence=sequence,
        opset=opset,
        dtypes=F32[opset],
        label=f"{direction}-{sequence}-{len(bias)}",
        expect=_rnn,
    )
    for direction in ("forward", "reverse")
    for sequence in (True, False)
    for bias in ({}, {"bias": _w(H, seed=5)})
    for opset in (15, 17)
]
CASES += [
    case(
        "rnn",
        x=X,
        initial_h=f32(B, H, seed=1),
        **RNN,
        activation=a,
        output_sequence=True,
        dtypes=["fp32"],
        label=a,
        expect=_rnn,
    )
    for a in ("relu", "sigmoid", "scaled_tanh", "linear", "sigmoid_hard")
]
CASES += [
    case(
        "rnn",
        x=dynamic(X, 0, 1),
        initial_h=dynamic(f32(B, H, seed=1), 0),
        **RNN,
        output_sequence=True,
        dtypes=["fp32"],
        label="dynamic",
        expect=_rnn,
    )
]


@rows(CASES)
def test_recurrent(row, engine, dtype):
    check(row, engine, dtype)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_state_of_another_batch_is_an_error(kind):
    """The batch of x is only known at the prediction; OpenVINO would read beyond the end of the state."""
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    names = ("initial_h", "initial_c") if kind == "lstm" else ("initial_h",)
    states = {name: np.zeros((3, 6), np.float32) for name in names}
    weights = {"weight_ih": f32(gates * 6, 4), "weight_hh": f32(gates * 6, 6)}

    @mb.program(input_specs=[mb.TensorSpec((5, get_new_symbol(), 4))])
    def program(x):
        return getattr(mb, kind)(x=x, **states, **weights)[0]

    model = ct.convert(
        program,
        convert_to="mlprogram",
        compute_precision=ct.precision.FLOAT32,
        inputs=[ct.TensorType(name="x", shape=(5, ct.RangeDim(1, 20), 4))],
    )
    loaded = pippin.load(model.get_spec(), weights=model.weights_dir)
    (name,) = (feature.name for feature in loaded.description.function().outputs)
    assert np.isfinite(loaded.predict({"x": f32(5, 3, 4)})[name]).all()
    with pytest.raises(PredictionError):
        loaded.predict({"x": f32(5, 10, 4)})
