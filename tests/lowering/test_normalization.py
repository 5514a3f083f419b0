"""Normalizations against torch and numpy."""

import numpy as np
import torch
import torch.nn.functional as F

from lowering.harness import case, check, const, dynamic, f32, rows

t = torch.from_numpy


def _batch_norm(x, mean, variance, gamma=None, beta=None, epsilon=1e-5):
    g, b = (None if v is None else t(v) for v in (gamma, beta))
    return F.batch_norm(t(x), t(mean), t(variance), g, b, False, 0.0, float(epsilon)).numpy()


def _instance_norm(x, gamma=None, beta=None, epsilon=1e-5):
    g, b = (None if v is None else t(v) for v in (gamma, beta))
    return F.instance_norm(t(x), weight=g, bias=b, eps=float(epsilon)).numpy()


def _layer_norm(x, axes=None, gamma=None, beta=None, epsilon=1e-5):
    axes = tuple(range(x.ndim) if axes is None else axes)
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    y = (x - mean) / np.sqrt(variance + epsilon)
    shape = [x.shape[a] if a in [b % x.ndim for b in axes] else 1 for a in range(x.ndim)]
    y = y if gamma is None else y * np.reshape(gamma, shape)
    return y if beta is None else y + np.reshape(beta, shape)


def _l2_norm(x, epsilon=1e-6):
    return x / np.sqrt(np.square(x).sum((-3, -2, -1), keepdims=True) + epsilon)


def _vector(count, seed):
    return const(f32(count, seed=seed, low=0.5, high=2))


CASES = []
for shape in [(2, 3, 4), (2, 3, 4, 5), (1, 2, 3, 2, 2)]:
    c = shape[1]
    for opset in (15, 17):
        CASES += [
            case(
                "batch_norm", x=f32(*shape), mean=_vector(c, 1), variance=_vector(c, 2), opset=opset, expect=_batch_norm
            ),
            case(
                "batch_norm",
                x=f32(*shape),
                mean=_vector(c, 1),
                variance=_vector(c, 2),
                gamma=_vector(c, 3),
                beta=_vector(c, 4),
                epsilon=1e-2,
                opset=opset,
                expect=_batch_norm,
            ),
        ]
CASES += [
    case(
        "batch_norm",
        x=dynamic(f32(2, 3, 4, 5), 0, 2, 3),
        mean=_vector(3, 1),
        variance=_vector(3, 2),
        gamma=_vector(3, 3),
        beta=_vector(3, 4),
        expect=_batch_norm,
    ),
    case(
        "batch_norm",
        x=f32(2, 3, 4),
        mean=_vector(3, 1),
        variance=_vector(3, 2),
        gamma=_vector(3, 3),
        beta=_vector(3, 4),
        expect=_batch_norm,
    ),
]
for shape in [(2, 3, 8), (2, 3, 4, 5)]:
    for opset in (15, 17):
        CASES += [
            case("instance_norm", x=f32(*shape), opset=opset, expect=_instance_norm, atol=1e-4),
            case(
                "instance_norm",
                x=f32(*shape),
                gamma=_vector(3, 1),
                beta=_vector(3, 2),
                epsilon=1e-2,
                opset=opset,
                expect=_instance_norm,
                atol=1e-4,
            ),
        ]
CASES += [
    case(
        "instance_norm",
        x=dynamic(f32(2, 3, 4, 5), 0, 2, 3),
        gamma=_vector(3, 1),
        beta=_vector(3, 2),
        expect=_instance_norm,
        atol=1e-4,
    ),
    case("l2_norm", x=f32(3, 4, 5), expect=_l2_norm),
    case("l2_norm", x=f32(2, 3, 4, 5), epsilon=1e-2, expect=_l2_norm),
    case("l2_norm", x=f32(2, 2, 3, 4, 5), expect=_l2_norm),
    case("l2_norm", x=f32(2, 3, 4, 5), epsilon=1e-2, opset=17, expect=_l2_norm),
    case("l2_norm", x=dynamic(f32(2, 3, 4, 5)), expect=_l2_norm),
]
for opset in (15, 17):
    for shape, axes in [
        ((2, 6), [-1]),
        ((2, 3, 6), [2]),
        ((2, 3, 6), [1, 2]),
        ((2, 3, 4, 5), [-2, -1]),
        ((2, 3, 4), [0, 1, 2]),
    ]:
        size = [shape[a] for a in axes]
        CASES += [
            case("layer_norm", x=f32(*shape), axes=axes, opset=opset, expect=_layer_norm, atol=1e-4),
            case(
                "layer_norm",
                x=f32(*shape),
                axes=axes,
                gamma=const(f32(*size, seed=1)),
                beta=const(f32(*size, seed=2)),
                epsilon=1e-3,
                opset=opset,
                expect=_layer_norm,
                atol=1e-4,
            ),
        ]
    CASES += [
        case(
            "layer_norm",
            x=f32(2, 3, 4, 5),
            axes=[1],
            gamma=_vector(3, 1),
            beta=_vector(3, 2),
            opset=opset,
            expect=_layer_norm,
            atol=1e-4,
        ),
        case("layer_norm", x=f32(2, 3, 4, 5), axes=[1, 3], opset=opset, expect=_layer_norm, atol=1e-4),
    ]
CASES += [
    case(
        "layer_norm",
        x=dynamic(f32(2, 3, 6), 0, 1),
        axes=[-1],
        gamma=_vector(6, 1),
        beta=_vector(6, 2),
        expect=_layer_norm,
        atol=1e-4,
    ),
]


def _lrn(x, size, alpha=1e-4, beta=0.75, k=1.0):
    return F.local_response_norm(t(x), int(size), float(alpha), float(beta), float(k)).numpy()


CASES += [
    case("local_response_norm", x=f32(*shape), size=size, opset=opset, expect=_lrn)
    for shape in [(1, 6, 4), (2, 6, 3, 3)]
    for size in (1, 3, 5)
    for opset in (15, 17)
]
CASES += [case("local_response_norm", x=f32(1, 6, 2, 3, 4), size=3, expect=_lrn)]
CASES += [case("local_response_norm", x=f32(1, 6, 3, 3), size=3, alpha=0.5, beta=0.5, k=2.0, expect=_lrn)]


@rows(CASES)
def test_normalization(row, engine, dtype):
    check(row, engine, dtype)
