"""Operations of Core AI: the names of operands and properties, as Apple's documentation of `coreai-core` has them.

Files hold them in a versioned dialect (`aicode.primitive.reshape_v2`); here they have the documentation's names
(`coreai.reshape`). The body that describes an operation in simpler ones is only read for an operation that is not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PREFIX = "coreai."
_VERSIONED = re.compile(r"^(?:primitive\.|dataflow\.|controlflow\.|metal\.|execution\.)?(.+?)_v(\d+)$")
# Names in files that differ from the documentation's.
_RENAMED = {
    "logical_and": "and", "logical_or": "or", "logical_xor": "xor", "broadcasting_logical_and": "broadcasting_and",
    "broadcasting_logical_or": "broadcasting_or", "broadcasting_logical_xor": "broadcasting_xor",
}  # fmt: skip

_UNARY = "abs acos acosh asin asinh atan atanh cos cosh erf exp log not round rsqrt sin sinh sqrt tan tanh"
_BINARY = "add and bitwise_and bitwise_or bitwise_xor divide floor_divide maximum minimum modulo mul or pow sub xor"
_REDUCED = "all any reduce_max reduce_mean reduce_min reduce_product reduce_sum"

OPERANDS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_UNARY.split(), ("x",)),
    **dict.fromkeys(_BINARY.split(), ("x", "y")),
    **dict.fromkeys([f"broadcasting_{name}" for name in _BINARY.split()], ("x", "y")),
    **dict.fromkeys(_REDUCED.split(), ("input", "axes")),
    **{
        name: tuple(operands.split())
        for name, operands in {
            "argmax": "input axis",
            "argsort": "input dim descending stable",
            "asymmetric_quantization_statistics": "input range axis",
            "batch_matmul": "x y",
            "blockwise_shift_scale": "data scale offset1 offset2",
            "broadcast_in_dims": "input dim_sizes axes",
            "broadcast_shapes": "shape_1 shape_2",
            "broadcast_to": "input shape",
            "broadcasting_batch_matmul": "x y",
            "broadcasting_equal": "input other",
            "broadcasting_greater": "input other",
            "broadcasting_not_equal": "input other",
            "broadcasting_where": "condition a b",
            "build_sparse_with_bitmask": "values bitmask",
            "cast": "input",
            "concat": "dimension *inputs",
            "constant": "",
            "create_complex": "real imaginary",
            "imaginary_part": "input",
            "real_part": "input",
            "conv2d": "input weight stride dilation groups",
            "conv3d": "input weight stride dilation groups",
            "conv_transpose2d": "input weight stride padding dilation output_pad groups",
            "conv_transpose3d": "input weight stride padding dilation output_pad groups",
            "dequantize": "input scale offset1 offset2 axis",
            "equal": "input other",
            "expand_dims": "input axes",
            "gather_along_axis": "input indices axis",
            "gather_nd": "input indices",
            "gelu": "input",
            "get_shape": "input",
            "greater": "input other",
            "if": "condition",
            "interpolate": "input output_shape scale offset",
            "interpolate_coordinates": "input coords",
            "invoke": "*operands",
            "isolated_group": "*operands",
            "lut_to_dense": "indices lut axis",
            "lut_to_sparse_with_bitmask": "indices lut axis",
            "max_pool_2d": "input kernel_size stride dilation ceil_mode",
            "max_pool_3d": "input kernel_size stride dilation ceil_mode",
            "non_zero": "input",
            "not_equal": "input other",
            "pad": "input padding padding_value",
            "quantize": "input scale offset1 offset2 axis",
            "range": "start stop step",
            "reduce": "input axes init_value",
            "reduce_index": "input axis init_value init_index",
            "relu": "input",
            "reshape": "input new_shape",
            "reverse": "input dims",
            "scan": "input axis reverse",
            "scatter_along_axis": "input indices updates axis",
            "scatter_nd": "input indices updates",
            "shrink_dims": "input axes",
            "sigmoid": "input",
            "silu": "input",
            "slice": "input start_indices end_indices strides",
            "slice_update": "input start_indices end_indices strides update",
            "softmax": "input axis",
            "sort": "input dim descending stable",
            "sparse_with_bitmask_to_dense": "input",
            "split": "input split_size_or_sections dim",
            "sum_pool_2d": "input kernel_size strides dilation",
            "sum_pool_3d": "input kernel_size strides dilation",
            "symmetric_quantization_statistics": "input range axis",
            "tile": "input dims",
            "transpose": "input permutation",
            "where": "condition a b",
            "while": "*inits",
            "copy_with_constraints": "input",
            "copy_discarding_constraints": "input",
        }.items()
    },
}  # fmt: skip
"""A name that begins with `*` takes all operands that are left."""

PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "gelu": ("approximate",),
    "interpolate": ("interpolation_mode",),
    "interpolate_coordinates": ("interpolation_mode",),
    "invoke": ("arg_attrs", "callee", "res_attrs"),
    "pad": ("padding_mode",),
    "scan": ("scan_op",),
    "scatter_along_axis": ("scatter_mode",),
}
WITH_REGIONS = frozenset({"if", "while", "reduce", "reduce_index", "scatter_nd", "isolated_group"})
"""Operations whose regions say what they compute; the others' only describe it."""
# The versions that mean what the documentation says, where they are others than 1. What the first version of `reshape`
# and `get_shape` took or gave as other integers makes no difference here. Others are computed by their bodies.
_VERSIONS = {
    "blockwise_shift_scale": (2,), "dequantize": (2,), "get_shape": (1, 2), "quantize": (2,), "reshape": (1, 2),
    "tile": (2,),
}  # fmt: skip


def documented(kind: str) -> str:
    """The documentation's name for the name in the file."""
    found = _VERSIONED.match(kind.removeprefix("ax."))
    name = found[1] if found else kind
    return _RENAMED.get(name, name)


def is_known(kind: str) -> bool:
    """Whether the operation in the file is that of the documentation, in a version that means the same."""
    found, name = _VERSIONED.match(kind.removeprefix("ax.")), documented(kind)
    return name in OPERANDS and found is not None and int(found[2]) in _VERSIONS.get(name, (1,))
