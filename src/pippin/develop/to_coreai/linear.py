"""Linear: products, convolutions, pooling and resizing. Core AI pads beside them, in two and three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .emitter import INDICES, Emitter, Type, Value
from .registry import Node, translates


@translates("MatMul")
def matmul(e: Emitter, node: Node, x: Any, y: Any) -> Value:
    left = e.reshape(x, [1, *x.shape]) if len(x.shape) == 1 else x
    right = e.reshape(y, [*y.shape, 1]) if len(y.shape) == 1 else y
    return e.reshape(e.matmul(left, right), node.shape)


@translates("Gemm")
def gemm(e: Emitter, node: Node, x: Any, y: Any, c: Any = None) -> Value:
    x = e.transpose(x, [1, 0]) if node.get("transA", 0) else x
    y = e.transpose(y, [1, 0]) if node.get("transB", 0) else y
    found = e.matmul(x, y)
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    found = found if alpha == 1 else e.mul(found, alpha)
    if c is None:
        return found
    return e.add(found, c if beta == 1 else e.mul(c, beta))


@translates("Einsum")
def einsum(e: Emitter, node: Node, *values: Any) -> Value:
    """Two operands: the letters of both and of the result become batches, rows, columns and what is summed."""
    equation = node.get("equation").replace(" ", "")
    inputs, _, result = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) != 2 or "." in equation or any(len(set(term)) != len(term) for term in (*terms, result)):
        raise node.refused(f"the equation '{equation}' cannot be written as one product of matrices")
    left, right = terms
    sizes = {
        letter: size for term, x in zip(terms, values, strict=True) for letter, size in zip(term, x.shape, strict=True)
    }
    batch = [c for c in left if c in right and c in result]
    summed = [c for c in left if c in right and c not in result]
    rows, columns = ([c for c in term if c not in other] for term, other in ((left, right), (right, left)))
    if any(c not in result for c in (*rows, *columns)):
        raise node.refused(f"the equation '{equation}' sums a letter of one operand")
    x = _grouped(e, values[0], left, (batch, rows, summed), sizes)
    y = _grouped(e, values[1], right, (batch, summed, columns), sizes)
    order = [*batch, *rows, *columns]
    found = e.reshape(e.matmul(x, y), [sizes[c] for c in order])
    return e.transpose(found, [order.index(c) for c in result])


def _grouped(e: Emitter, x: Any, term: str, groups: Sequence[list[str]], sizes: dict[str, int]) -> Any:
    turned = e.transpose(x, [term.index(letter) for group in groups for letter in group])
    return e.reshape(turned, [math.prod(sizes[letter] for letter in group) for group in groups])


# Convolutions.


def _numbers(node: Node, name: str, count: int, default: int) -> list[int]:
    return [int(n) for n in node.get(name) or [default] * count]


def padding(
    node: Node, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The elements before and after each axis."""
    auto, count = node.get("auto_pad", "NOTSET"), len(kernel)
    if auto in ("NOTSET", "VALID"):
        pads = _numbers(node, "pads", 2 * count, 0) if auto == "NOTSET" else [0] * (2 * count)
        return pads[:count], pads[count:]
    before, after = [], []
    for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        whole = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        low = whole // 2 if auto == "SAME_UPPER" else whole - whole // 2
        before.append(low)
        after.append(whole - low)
    return before, after


def _raised(e: Emitter, x: Any) -> Any:
    """A signal of one dimension as a picture of one row."""
    return e.reshape(x, [*x.shape[:2], 1, *x.shape[2:]]) if len(x.shape) == 3 else x


def _biased(e: Emitter, found: Value, bias: Any) -> Value:
    if bias is None:
        return found
    return e.add(found, e.cast(e.reshape(bias, [1, -1, *[1] * (found.rank - 2)]), found.dtype))


@translates("Conv")
def convolution(e: Emitter, node: Node, x: Value, weight: Any, bias: Any = None) -> Value:
    count = x.rank - 2
    strides, dilations = (_numbers(node, name, count, 1) for name in ("strides", "dilations"))
    before, after = padding(node, x.shape[2:], weight.shape[2:], strides, dilations)
    x = e.pad(x, [0, 0, *before], [0, 0, *after])
    groups = np.array(node.get("group", 1), np.uint32)
    line = [1] if count == 1 else []
    steps = [np.array([*line, *given], np.uint32) for given in (strides, dilations)]
    name = "conv3d" if count == 3 else "conv2d"
    shape = [*node.shape[:2], *line, *node.shape[2:]]
    found = e.op(name, _raised(e, x), _raised(e, weight), *steps, groups, shape=shape)
    return e.reshape(_biased(e, found, bias), node.shape)


@translates("ConvTranspose")
def transposed(e: Emitter, node: Node, x: Value, weight: Any, bias: Any = None) -> Value:
    """Computed without padding, which is what its result is cut by."""
    count, kernel = x.rank - 2, weight.shape[2:]
    strides, dilations = (_numbers(node, name, count, 1) for name in ("strides", "dilations"))
    whole = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], strides, kernel, dilations, strict=True)]
    before = _cut(node, whole, count)
    missing = [max(low + size - have, 0) for low, size, have in zip(before, node.shape[2:], whole, strict=True)]
    line, name = ([1], "conv_transpose2d") if count == 1 else ([], f"conv_transpose{count}d")
    zero = [0] * len(line)
    steps = [np.array([*line, *strides], np.uint32), np.array([*zero, *[0] * count], np.uint32)]
    steps += [np.array([*line, *dilations], np.uint32), np.array([*zero, *[0] * count], np.uint32)]
    shape = [*node.shape[:2], *line, *whole]
    groups = np.array(node.get("group", 1), np.uint32)
    found = e.op(name, _raised(e, x), _raised(e, weight), *steps, groups, shape=shape)
    found = e.reshape(found, [*node.shape[:2], *whole])
    found = e.pad(found, [0] * x.rank, [0, 0, *missing])
    ends = [low + size for low, size in zip(before, node.shape[2:], strict=True)]
    return _biased(e, e.slice(found, [0, 0, *before], [*node.shape[:2], *ends]), bias)


def _cut(node: Node, whole: Sequence[int], count: int) -> list[int]:
    """What is cut from the begin of each axis."""
    auto = node.get("auto_pad", "NOTSET")
    if auto == "NOTSET" and not node.get("output_shape"):
        return _numbers(node, "pads", 2 * count, 0)[:count]
    extra = _numbers(node, "output_padding", count, 0)
    over = [max(size + more - wanted, 0) for size, more, wanted in zip(whole, extra, node.shape[2:], strict=True)]
    return [n // 2 if auto == "SAME_UPPER" else n - n // 2 for n in over]


# Pooling.


@translates("MaxPool")
def max_pool(e: Emitter, node: Node, x: Value) -> Value:
    lowest = -math.inf if x.dtype.kind == "f" else float(np.iinfo(x.dtype).min)
    x, kernel, strides, dilations, line = _windows(e, node, x, lowest)
    shape = [*node.shape[:2], *line, *node.shape[2:]]
    name = "maxpool3d" if len(kernel) == 3 else "maxpool2d"
    numbers = [np.array(given, np.uint32) for given in (kernel, strides, dilations)]
    found = e.op(name, Type(shape, x.dtype), x, *numbers, np.array(False), shape=shape, dtype=x.dtype)
    return e.reshape(found, node.shape)


@translates("AveragePool")
def average_pool(e: Emitter, node: Node, x: Value) -> Value:
    given = x
    x, kernel, strides, dilations, line = _windows(e, node, x, 0.0)
    shape = [*node.shape[:2], *line, *node.shape[2:]]
    name = "sumpool3d" if len(kernel) == 3 else "sumpool2d"
    total = e.op(name, x, *(np.array(n, np.uint32) for n in (kernel, strides, dilations)), shape=shape)
    counts = _counts(node, given.shape[2:], kernel[len(line) :], strides[len(line) :], dilations[len(line) :])
    return e.divide(e.reshape(total, node.shape), counts.astype(x.dtype))


def _windows(
    e: Emitter, node: Node, x: Value, value: float
) -> tuple[Value, list[int], list[int], list[int], list[int]]:
    count, kernel = x.rank - 2, [int(n) for n in node.get("kernel_shape")]
    strides, dilations = (_numbers(node, name, count, 1) for name in ("strides", "dilations"))
    before, after = padding(node, x.shape[2:], kernel, strides, dilations)
    reach = [
        (m - 1) * s + (k - 1) * d + 1 for m, s, k, d in zip(node.shape[2:], strides, kernel, dilations, strict=True)
    ]
    # With ceil_mode, the last window may reach further.
    after = [max(r - n - low, 0) for r, n, low in zip(reach, x.shape[2:], before, strict=True)]
    x = e.pad(x, [0, 0, *before], [0, 0, *after], value)
    line = [1] if count == 1 else []
    return _raised(e, x), [*line, *kernel], [*line, *strides], [*line, *dilations], line


def _counts(
    node: Node, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> np.ndarray:
    """How many elements each window averages; the ones that `ceil_mode` adds never count."""
    before, after = padding(node, sizes, kernel, strides, dilations)
    inside, total = bool(node.get("count_include_pad", 0)), np.ones([])
    for n, low, high, k, s, d, m in zip(sizes, before, after, kernel, strides, dilations, node.shape[2:], strict=True):
        at = np.arange(m)[:, None] * s + np.arange(k) * d - low
        first, last = (-low, n + high) if inside else (0, n)
        total = np.multiply.outer(total, ((at >= first) & (at < last)).sum(1))
    return total[None, None] if np.ptp(total) else np.asarray(total.reshape(-1)[0])


# Resizing.


@translates("Resize")
def resize(e: Emitter, node: Node, x: Value, _roi: Any = None, scales: Any = None, sizes: Any = None) -> Value:
    """Nearest elements are taken by index; for a linear mode there is an operation, else a matrix for each axis."""
    axes = node.get("axes") or range(x.rank)
    given = np.ones(x.rank)
    if isinstance(scales, np.ndarray) and scales.size:
        given[list(axes)] = scales
    else:
        given = np.array(node.shape) / np.array(x.shape)
    changed = [axis for axis in range(x.rank) if node.shape[axis] != x.shape[axis] or given[axis] != 1]
    mode = node.get("mode", "nearest")
    offset = _offsets(node, x, given)
    if mode == "linear" and offset is not None and not node.get("antialias", 0):
        numbers = [np.array(node.shape, INDICES), offset[0].astype(np.float32), offset[1].astype(np.float32)]
        return e.op("interpolate", x, *numbers, shape=node.shape, interpolation_mode="linear")
    for axis in changed:
        matrix = _matrix(node, x.shape[axis], node.shape[axis], given[axis])
        x = _taken(e, x, axis, matrix) if mode == "nearest" else _mixed(e, x, axis, matrix)
    return x


def _offsets(node: Node, x: Value, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Core AI takes element i at (i + 0.5 - offset) / scale - 0.5."""
    mode = node.get("coordinate_transformation_mode", "half_pixel")
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and min(node.shape) > 1):
        return scales, np.zeros(x.rank)
    if mode == "asymmetric":
        return scales, 0.5 - 0.5 * scales
    if mode == "align_corners" and all(m > 1 and n > 1 for m, n in zip(node.shape[-2:], x.shape[-2:], strict=True)):
        pairs = zip(node.shape, x.shape, strict=True)
        scales = np.array([(m - 1) / (n - 1) if m != n else 1.0 for m, n in pairs])
        return scales, 0.5 - 0.5 * scales
    return None


def _matrix(node: Node, size: int, wanted: int, scale: float) -> np.ndarray:
    """What each new element has of each old one, by ONNX's own definition."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = ("mode", "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "antialias", "exclude_outside")
    given = {name: node.get(name) for name in names if node.get(name) is not None}
    # A rounded quotient of the sizes may lose an element.
    by_size = np.float32(scale) == np.float32(wanted / size)
    made = helper.make_node("Resize", ["x", "", *(["", "s"] if by_size else ["s"])], ["y"], **given)
    ports = [helper.make_tensor_value_info("x", 1, None), helper.make_tensor_value_info("s", 7 if by_size else 1, None)]
    graph = helper.make_graph([made], "g", ports, [helper.make_tensor_value_info("y", 1, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    target = np.array([wanted], np.int64) if by_size else np.array([scale], np.float32)
    run: Any = ReferenceEvaluator(model)
    rows = np.eye(size, dtype=np.float32)
    return np.stack([run.run(None, {"x": row, "s": target})[0] for row in rows], axis=1)


def _taken(e: Emitter, x: Value, axis: int, matrix: np.ndarray) -> Value:
    places, shape = matrix.argmax(1), list(x.shape)
    shape[axis] = len(places)
    times = len(places) // x.shape[axis]
    if times * x.shape[axis] == len(places) and np.array_equal(places, np.arange(len(places)) // times):
        apart = e.reshape(x, [*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]])
        wide = [*x.shape[: axis + 1], times, *x.shape[axis + 1 :]]
        return e.reshape(e.op("broadcast_to", apart, np.array(wide, np.uint32), shape=wide), shape)
    order = [axis, *(one for one in range(x.rank) if one != axis)]
    turned = e.transpose(x, order)
    found = e.op(
        "gather_nd",
        turned,
        places.astype(INDICES).reshape(-1, 1),
        shape=[len(places), *turned.shape[1:]],
        dtype=x.dtype,
    )
    return e.transpose(found, np.argsort(order).tolist())


def _mixed(e: Emitter, x: Value, axis: int, matrix: np.ndarray) -> Value:
    if axis == x.rank - 1:
        return e.matmul(x, np.ascontiguousarray(matrix.T).astype(x.dtype))
    order = [*(one for one in range(x.rank) if one != axis), axis]
    return e.transpose(_mixed(e, e.transpose(x, order), x.rank - 1, matrix), np.argsort(order).tolist())
