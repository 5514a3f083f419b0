"""Attention against torch."""

import numpy as np
import torch
import torch.nn.functional as F

from lowering.harness import booleans, case, check, const, dynamic, f32, rows


def _attention(query, key, value, attn_mask=None):
    q, k, v = (torch.from_numpy(np.ascontiguousarray(x)) for x in (query, key, value))
    mask = None if attn_mask is None else torch.from_numpy(np.ascontiguousarray(attn_mask))
    return F.scaled_dot_product_attention(q, k, v, mask).numpy()


def _mask(*shape):
    mask = booleans(*shape)
    mask[..., 0] = True  # a row that takes nothing in has no defined result
    return mask


CASES = []
for lead in [(2,), (1, 3), (2, 2, 2)]:
    q, k, v = f32(*lead, 4, 8), f32(*lead, 6, 8, seed=1), f32(*lead, 6, 5, seed=2)
    CASES += [
        case("scaled_dot_product_attention", query=q, key=k, value=v, opset=18, expect=_attention),
        case(
            "scaled_dot_product_attention",
            query=q,
            key=k,
            value=v,
            attn_mask=f32(4, 6, seed=3),
            opset=18,
            expect=_attention,
        ),
        case(
            "scaled_dot_product_attention",
            query=q,
            key=k,
            value=v,
            attn_mask=_mask(*lead, 4, 6),
            opset=18,
            expect=_attention,
        ),
        case(
            "scaled_dot_product_attention",
            query=q,
            key=k,
            value=v,
            attn_mask=const(_mask(4, 6)),
            opset=18,
            expect=_attention,
        ),
    ]
q, k, v = f32(1, 2, 4, 8), f32(1, 2, 6, 8, seed=1), f32(1, 2, 6, 8, seed=2)
CASES += [
    case(
        "scaled_dot_product_attention",
        query=dynamic(q, 2),
        key=dynamic(k, 2),
        value=dynamic(v, 2),
        opset=18,
        expect=_attention,
        build=lambda mb, **x: mb.scaled_dot_product_attention(**x),
    ),
    case(
        "scaled_dot_product_attention",
        query=dynamic(q, 1, 2),
        key=k,
        value=v,
        opset=18,
        label="heads left open",
        expect=_attention,
        build=lambda mb, **x: mb.scaled_dot_product_attention(**x),
    ),
    case(
        "scaled_dot_product_attention",
        query=q,
        key=q,
        value=q,
        attn_mask=const(np.tril(np.ones((4, 4), bool))),
        opset=18,
        label="causal",
        expect=_attention,
    ),
    case("scaled_dot_product_attention", query=const(q), key=k, value=v, opset=18, expect=_attention),
    case(
        "scaled_dot_product_attention",
        query=q * 20,
        key=k,
        value=v,
        opset=18,
        label="sharp",
        dtypes=["fp32"],
        expect=_attention,
    ),
]


@rows(CASES)
def test_transformers(row, engine, dtype):
    check(row, engine, dtype)
