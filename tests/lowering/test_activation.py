"""Activation operations against torch and numpy."""

import numpy as np
import torch
import torch.nn.functional as F

from lowering.harness import case, check, const, dynamic, f32, rows


def _torch(function):
    return lambda x, **_: function(torch.from_numpy(np.asarray(x, np.float32))).numpy()


PLAIN = {
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
}
SHAPES = [(7,), (2, 3), (2, 3, 4), (1, 2, 3, 4), (1, 2, 2, 2, 2)]
WIDE = np.array([-100, -20, -6, -1, 0, 1, 6, 20, 100], np.float32)

CASES = [case(name, x=f32(*s, low=-8, high=8), expect=_torch(f)) for name, f in PLAIN.items() for s in SHAPES]
CASES += [case(name, x=dynamic(f32(2, 3)), expect=_torch(f)) for name, f in PLAIN.items()]
CASES += [case(name, x=WIDE, expect=_torch(f)) for name, f in PLAIN.items()]
CASES += [case(name, x=const(f32(2, 3)), expect=_torch(f)) for name, f in PLAIN.items()]

ALPHA = {
    "leaky_relu": lambda x, alpha: np.where(x >= 0, x, alpha * x),
    "elu": lambda x, alpha: np.where(x >= 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1)),
    "thresholded_relu": lambda x, alpha: np.where(x >= alpha, x, 0),
}
CASES += [
    case(name, x=f32(*shape), alpha=alpha, opset=opset, expect=expect)
    for name, expect in ALPHA.items()
    for shape in [(4,), (2, 3, 4)]
    for alpha in (0.125, 1.0)
    for opset in (15, 17)
]
CASES += [case("thresholded_relu", x=np.array([0.5, 0.25, 1], np.float32), alpha=0.5, expect=np.array([0.5, 0, 1]))]

ALPHA_BETA = {
    "clamped_relu": lambda x, alpha, beta: np.minimum(np.where(x >= 0, x, alpha * x), beta),
    "linear_activation": lambda x, alpha, beta: alpha * x + beta,
    "scaled_tanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "sigmoid_hard": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
}
CASES += [
    case(name, x=f32(*shape), alpha=alpha, beta=beta, opset=opset, expect=expect)
    for name, expect in ALPHA_BETA.items()
    for shape in [(5,), (2, 3, 4)]
    for alpha, beta in [(0.5, 1.5), (2.0, 0.25)]
    for opset in (15, 17)
]
CASES += [
    case("gelu", x=f32(*shape, low=-4, high=4), mode=mode, expect=expect)
    for shape in [(6,), (2, 3, 4)]
    for mode, expect in {
        "EXACT": _torch(F.gelu),
        "TANH_APPROXIMATION": _torch(lambda x: F.gelu(x, approximate="tanh")),
        "SIGMOID_APPROXIMATION": _torch(lambda x: x * torch.sigmoid(1.702 * x)),
    }.items()
]
CASES += [case("gelu", x=dynamic(f32(2, 3)), expect=_torch(F.gelu))]
CASES += [
    case(
        "softmax",
        x=f32(*shape),
        axis=axis,
        expect=lambda x, axis: torch.softmax(torch.from_numpy(x), int(axis)).numpy(),
    )
    for shape in [(4,), (2, 3), (2, 3, 4), (1, 2, 3, 4)]
    for axis in (-1, 0, len(shape) - 2)
    if -len(shape) <= axis < len(shape)
]
CASES += [
    case("softmax", x=dynamic(f32(2, 5)), expect=lambda x: torch.softmax(torch.from_numpy(x), -1).numpy()),
    case("softmax", x=np.array([[1e4, 0, -1e4]], np.float32), expect=np.array([[1, 0, 0]])),
]


def _per_channel(values, x):
    return np.reshape(values, (-1, *[1] * (x.ndim - 2)))


CASES += [
    case(
        "prelu",
        x=f32(*shape),
        # coremltools allows different slopes for images only
        alpha=const(np.linspace(0.1, 0.5 if len(shape) == 4 else 0.1, shape[1]).astype(np.float32)),
        opset=opset,
        expect=lambda x, alpha: np.where(x >= 0, x, _per_channel(alpha, x) * x),
    )
    for shape in [(2, 3, 4), (1, 3, 2, 2), (2, 2, 2, 2, 2)]
    for opset in (15, 17)
]
CASES += [
    case(
        "softplus_parametric",
        x=f32(*shape),
        alpha=const(np.linspace(0.5, 1.5, shape[1]).astype(np.float32)),
        beta=const(np.linspace(1.0, 2.0, shape[1]).astype(np.float32)),
        opset=opset,
        expect=lambda x, alpha, beta: _per_channel(alpha, x) * np.log1p(np.exp(_per_channel(beta, x) * x)),
    )
    for shape in [(2, 3, 4), (1, 3, 2, 2)]
    for opset in (15, 17)
]


@rows(CASES)
def test_activation(row, engine, dtype):
    check(row, engine, dtype)
