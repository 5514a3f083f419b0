"""Edges of operations that move, join, repeat and fill: every bit is kept, and a size of 0 is a size."""

from __future__ import annotations

import numpy as np
import torch
from coremltools.converters.mil.mil import Builder as mb

from edges.catalogue import check, edge, edges
from edges.values import HIGH, INF, LOW, NAN, floats, integers, mixed

X = floats(4, 6)
WHOLE = integers(4, 6)
COUNTS = [np.array([n], np.int32) for n in (0, 1, 4)]
NARROW = np.arange(24).reshape(4, 6).astype(np.float32)


def moved(operation, build, expect, label="", whole=True):
    """A move of floats and of integers, to the bit."""
    rows = [edge(operation, build, expect, label=label, signs=True, halves=True, x=X)]
    return rows + [edge(operation, build, expect, label=f"{label} integers".strip(), x=WHOLE)] * whole


def image(x):
    return mb.reshape(x=x, shape=[1, 4, 2, 3])


MOVES = [
    *moved("reverse", lambda x: mb.reverse(x=x, axes=[1]), lambda x: x[:, ::-1]),
    *moved("transpose", lambda x: mb.transpose(x=x, perm=[1, 0]), lambda x: x.T),
    *moved("concat", lambda x: mb.concat(values=[x, x], axis=0), lambda x: np.concatenate([x, x])),
    *moved("concat", lambda x: mb.concat(values=[x, x], axis=1, interleave=True), lambda x: np.repeat(x, 2, 1), "interleaved"),
    *moved("stack", lambda x: mb.stack(values=[x, x], axis=1), lambda x: np.stack([x, x], 1)),
    *moved("tile", lambda x: mb.tile(x=x, reps=[2, 3]), lambda x: np.tile(x, (2, 3))),
    *moved("split", lambda x: mb.split(x=x, split_sizes=[1, 5], axis=1), lambda x: (x[:, :1], x[:, 1:])),
    *moved("pad", lambda x: mb.pad(x=x, pad=[0, 2], mode="reflect"),
           lambda x: np.pad(x, ((0, 0), (0, 2)), mode="reflect"), "reflected", whole=False),
    *moved("pad", lambda x: mb.pad(x=x, pad=[2, 1], mode="replicate"), lambda x: np.pad(x, ((0, 0), (2, 1)), mode="edge"), "replicated", whole=False),
    *moved("sliding_windows", lambda x: mb.sliding_windows(x=x, axis=1, size=3, stride=2),
           lambda x: np.stack([x[:, 0:3], x[:, 2:5]], 1)),
    *moved("depth_to_space", lambda x: mb.depth_to_space(x=image(x), block_size=2),
           lambda x: x.reshape(1, 2, 2, 1, 2, 3).transpose(0, 3, 4, 1, 5, 2).reshape(1, 1, 4, 6), whole=False),
    edge("pad", lambda x: mb.pad(x=x, pad=[1, 0, 0, 2], mode="constant", constant_val=NAN), label="NaN", signs=True, x=X,
         expect=lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=NAN)),
    edge("pad", lambda x: mb.pad(x=x, pad=[1, 0, 0, 2], mode="constant", constant_val=-INF), label="-inf", x=X,
         expect=lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=-INF)),
    edge("reverse_sequence", lambda x, n: mb.reverse_sequence(x=x, lengths=n, seq_axis=1, batch_axis=0), signs=True, x=X,
         n=np.array([0, 1, 3, 6], np.int32), expect=lambda x, n: np.stack([np.append(r[:k][::-1], r[k:]) for r, k in zip(x, n, strict=True)])),
    edge("band_part", lambda x: mb.band_part(x=x, lower=0, upper=1), label="zeros beside", x=X,
         expect=lambda x: np.where(np.tril(np.triu(np.ones(x.shape)), 1) > 0, x, 0)),
    edge("band_part", lambda x: mb.band_part(x=x, lower=-1, upper=0), lambda x: np.tril(x), label="integers", x=WHOLE),
    edge("where", lambda x: mb.select(cond=mb.greater(x=x, y=0.0), a=x, b=np.float32(NAN)), lambda x: np.where(x > 0, x, NAN), label="or NaN", x=X),
]  # fmt: skip


# Sizes of 0


def first(x, n):
    """The first n rows."""
    return mb.slice_by_size(x=x, begin=[0, 0], size=mb.concat(values=[n, np.array([6], np.int32)], axis=0))


def sized(operation, build, expect, label="", x=NARROW, **how):
    return edge(operation, lambda x, n: build(first(x, n)), lambda x, n: expect(x[: n[0]]), label=f"{label} of 0, 1, 4 rows".strip(),
                x=x, n=COUNTS, arises=False, **how)  # fmt: skip


SIZES = [
    sized("add", lambda x: mb.add(x=x, y=np.float32(1)), lambda x: x + 1),
    sized("relu", lambda x: mb.relu(x=x), lambda x: np.maximum(x, 0)),
    sized("greater", lambda x: mb.greater(x=x, y=np.float32(7)), lambda x: x > 7),
    sized("cast", lambda x: mb.cast(x=x, dtype="int32"), lambda x: x.astype(np.int32)),
    sized("softmax", lambda x: mb.softmax(x=mb.mul(x=x, y=np.float32(0)), axis=1), lambda x: np.full_like(x, 1 / 6), rtol=1e-6),
    sized("transpose", lambda x: mb.transpose(x=x, perm=[1, 0]), lambda x: x.T),
    sized("reverse", lambda x: mb.reverse(x=x, axes=[0]), lambda x: x[::-1]),
    sized("concat", lambda x: mb.concat(values=[x, NARROW, x], axis=0), lambda x: np.concatenate([x, NARROW, x])),
    sized("concat", lambda x: mb.concat(values=[x, x], axis=1), lambda x: np.concatenate([x, x], 1), "wide"),
    sized("split", lambda x: mb.split(x=x, num_splits=2, axis=1), lambda x: (x[:, :3], x[:, 3:])),
    sized("tile", lambda x: mb.tile(x=x, reps=[2, 1]), lambda x: np.tile(x, (2, 1))),
    sized("pad", lambda x: mb.pad(x=x, pad=[1, 1, 0, 0], mode="constant", constant_val=7.0), lambda x: np.pad(x, ((1, 1), (0, 0)), constant_values=7)),
    sized("gather", lambda x: mb.gather(x=x, indices=[0, -1], axis=1), lambda x: x[:, [0, -1]]),
    sized("expand_dims", lambda x: mb.expand_dims(x=x, axes=[0]), lambda x: x[None]),
    sized("shape", lambda x: mb.shape(x=x), lambda x: np.array(x.shape, np.int32)),
    sized("reduce_sum", lambda x: mb.reduce_sum(x=x, axes=[0]), lambda x: x.sum(0)),
    sized("reduce_prod", lambda x: mb.reduce_prod(x=x, axes=[0]), lambda x: x.prod(0)),
    sized("reduce_max", lambda x: mb.reduce_max(x=x, axes=[0]), lambda x: x.max(0, initial=-INF),
          without={"openvino": "of what may be nothing"}),
    sized("reduce_min", lambda x: mb.reduce_min(x=x, axes=[0]), lambda x: x.min(0, initial=INF),
          without={"openvino": "of what may be nothing"}),
    sized("reduce_max", lambda x: mb.reduce_max(x=x, axes=[1]), lambda x: x.max(1), "other"),
    sized("reduce_argmax", lambda x: mb.reduce_argmax(x=x, axis=1), lambda x: x.argmax(1)),
    sized("topk", lambda x: mb.topk(x=x, k=2, axis=1), lambda x: (-np.sort(-x, 1)[:, :2], np.argsort(-x, 1)[:, :2])),
    sized("argsort", lambda x: mb.argsort(x=x, axis=0), lambda x: np.argsort(-x, 0, kind="stable")),
    sized("cumsum", lambda x: mb.cumsum(x=x, axis=0), lambda x: x.cumsum(0)),
    sized("matmul", lambda x: mb.matmul(x=x, y=NARROW.T.copy()), lambda x: x @ NARROW.T),
    sized("linear", lambda x: mb.linear(x=x, weight=NARROW, bias=np.ones(4, np.float32)), lambda x: x @ NARROW.T + 1),
    sized("layer_norm", lambda x: mb.layer_norm(x=x, axes=[1], epsilon=0.5), rtol=1e-4, atol=1e-5,
          expect=lambda x: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 0.5)),
    sized("non_zero", lambda x: mb.non_zero(x=x), lambda x: np.argwhere(x)),
    sized("fill", lambda x: mb.fill(shape=mb.shape(x=x), value=7.0), lambda x: np.full_like(x, 7)),
    sized("one_hot", lambda x: mb.one_hot(indices=mb.cast(x=mb.gather(x=x, indices=0, axis=1), dtype="int32"), one_hot_vector_size=7),
          lambda x: (x[:, :1] == np.arange(7)).astype(np.int32)),
    sized("gather_nd", lambda x: mb.gather_nd(x=NARROW, indices=mb.cast(x=mb.mul(x=mb.slice_by_size(x=x, begin=[0, 0], size=[-1, 2]), y=np.float32(0)), dtype="int32")),
          lambda x: NARROW[[0] * len(x), [0] * len(x)], without={"openvino": "GatherND operation with dynamic rank"}),
    sized("scatter", lambda x: mb.scatter(data=NARROW, indices=mb.cast(x=mb.mul(x=mb.gather(x=x, indices=0, axis=1), y=np.float32(0)), dtype="int32"), updates=x, mode="add"),
          lambda x: NARROW + np.pad(x.sum(0, keepdims=True), ((0, 3), (0, 0)))),
    edge("reduce_argmax", lambda x, n: mb.reduce_argmax(x=first(x, n), axis=0), label="of nothing", x=NARROW, n=COUNTS[0], arises=False,
         raises=r"\[reduce_argmax\] '.*' cannot be computed", without={"openvino": "of what may be nothing"}),
    edge("topk", lambda x, n: mb.topk(x=first(x, n), k=2, axis=0), label="more than there are", x=NARROW, n=COUNTS[:2], arises=False,
         raises=r"\[topk\] '.*' cannot be computed", without={"openvino": "of what may be nothing"}),
]  # fmt: skip


# Images

PIXELS = [x.reshape(1, 1, 4, 6) for x in X if not (np.isfinite(x) & (np.abs(x) > 1e15)).any()]


WILD = [x.reshape(1, 1, 4, 6) for x in X if not np.isfinite(x).all()]


def resized(**how):
    return lambda x: torch.nn.functional.interpolate(torch.from_numpy(x), **how).numpy()


IMAGES = [
    edge("resize_bilinear", lambda x: mb.resize_bilinear(x=x, target_size_height=4, target_size_width=6, sampling_mode="ALIGN_CORNERS"),
         lambda x: x, label="the same size, not finite", x=WILD),
    edge("upsample_nearest_neighbor", lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=2),
         lambda x: x.repeat(2, 2).repeat(2, 3), x=[x.reshape(1, 1, 4, 6) for x in X], signs=True),
    edge("resize_nearest_neighbor", lambda x: mb.resize_nearest_neighbor(x=x, target_size_height=8, target_size_width=3),
         resized(size=(8, 3), mode="nearest"), x=PIXELS),
    edge("upsample_bilinear", lambda x: mb.upsample_bilinear(x=x, scale_factor_height=2.0, scale_factor_width=2.0, align_corners=True),
         resized(scale_factor=2, mode="bilinear", align_corners=True), x=[x for x in PIXELS if np.isfinite(x).all()], rtol=1e-4, atol=1e-5),
    edge("resize_bilinear", lambda x: mb.resize_bilinear(x=x, target_size_height=4, target_size_width=6, sampling_mode="UNALIGN_CORNERS"),
         lambda x: x, label="the same size", x=[x.reshape(1, 1, 4, 6) for x in [*mixed(4, 6)[:1], NARROW]], rtol=1e-6),
]  # fmt: skip

FILLS = [
    edge("fill", lambda n, v=v: mb.fill(shape=n, value=np.float32(v)), lambda n, v=v: np.full(n, v, np.float32), label=f"{v}",
         n=[np.array(n, np.int32) for n in ([2, 3], [0, 3], [1, 0])])
    for v in (NAN, INF, -0.0, 3.4e38)
] + [
    edge("fill", lambda n, v=v: mb.fill(shape=n, value=np.int32(v)), lambda n, v=v: np.full(n, v, np.int32), label=f"{v}",
         n=[np.array(n, np.int32) for n in ([2, 3], [0, 3])])
    for v in (HIGH, LOW)
]  # fmt: skip


@edges(MOVES)
def test_moves(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)


@edges([*SIZES, *FILLS])
def test_sizes(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)


@edges(IMAGES)
def test_images(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)
