"""Compressed weights against numpy, with the layers that use them."""

import numpy as np
from coremltools.converters.mil.mil import types

from lowering.harness import case, check, const, f32, rows

r = np.random.default_rng(11)


def codes(*shape, dtype=np.int8, low=-100, high=100):
    return np.random.default_rng([*shape]).integers(low, high, shape).astype(dtype)


def sub_byte(name, *shape):
    """Random numbers of a sub-byte type, as coremltools holds them."""
    low, high = (-8, 8) if name == "int4" else (0, 2 ** int(name[4:]))
    values = np.random.default_rng([*shape, high]).integers(low, high, shape)
    return values.astype(types.nptype_from_builtin(types.string_to_builtin(name)))


def _plus(kind, x_shape, expected, opset, label, atol=1e-5, **arguments):
    """x + the decompressed constant; the constant alone would be folded away by no one, but nothing would read it."""

    def build(mb, x, **_):
        constant = getattr(mb, kind)(**arguments)
        return mb.add(
            x=x,
            y=constant
            if x.dtype == constant.dtype
            else mb.cast(x=constant, dtype="fp32" if x.dtype.__name__ == "fp32" else "fp16"),
        )

    return case(
        kind,
        x=f32(*x_shape),
        build=build,
        expect=lambda x: x + expected,
        opset=opset,
        label=label,
        dtypes=["fp32"],
        atol=atol,
    )


CASES = []
for axis in (0, 1):
    for dtype, low, high in ((np.int8, -100, 100), (np.uint8, 0, 200)):
        q = codes(4, 6, dtype=dtype, low=low, high=high)
        count = q.shape[axis]
        scales = np.linspace(0.01, 0.05, count).astype(np.float32)
        zeros = np.arange(count).astype(dtype)
        shape = (-1, 1) if axis == 0 else (1, -1)
        for name, scale, zero in [
            ("vector", scales, zeros),
            ("scalar-zero", scales, dtype(3)),
            ("scalar", np.float32(0.02), dtype(3)),
            ("half", scales.astype(np.float16), zeros),
        ]:
            s, z = (np.reshape(v, shape) if np.ndim(v) else v for v in (np.asarray(scale, np.float32), zero))
            expected = np.float32(s) * (q.astype(np.float32) - np.asarray(z, np.float32))
            CASES.append(
                _plus(
                    "constexpr_affine_dequantize",
                    (4, 6),
                    expected,
                    16,
                    f"{name}-{axis}-{q.dtype}",
                    quantized_data=q,
                    scale=scale,
                    zero_point=zero,
                    axis=axis,
                )
            )

for bits in (1, 2, 4, 6, 8):
    lut = r.uniform(-1, 1, 2**bits).astype(np.float32)
    indices = r.integers(0, 2**bits, 40)
    packed = np.packbits(((indices[:, None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(-1), bitorder="little")
    for table in (lut, lut.astype(np.float16)):
        expected = table.astype(np.float32)[indices].reshape(5, 8)
        CASES.append(
            _plus(
                "constexpr_lut_to_dense",
                (5, 8),
                expected,
                16,
                f"{bits}bit-{table.dtype}",
                indices=packed,
                lut=table,
                shape=np.array([5, 8], np.uint32),
            )
        )

mask = r.integers(0, 2, (5, 7))
values = r.uniform(-1, 1, int(mask.sum())).astype(np.float32)
dense = np.zeros((5, 7), np.float32)
dense[mask.astype(bool)] = values
packed_mask = np.packbits(mask.astype(np.uint8).reshape(-1), bitorder="little")
CASES += [
    _plus(
        "constexpr_sparse_to_dense",
        (5, 7),
        dense,
        16,
        "ios16",
        nonzero_data=values,
        mask=packed_mask,
        shape=np.array([5, 7], np.uint32),
    ),
    _plus(
        "constexpr_sparse_to_dense",
        (5, 7),
        dense,
        18,
        "ios18",
        nonzero_data=values,
        mask=mask.astype(types.np_uint1_dtype),
    ),
    _plus(
        "constexpr_cast",
        (3, 4),
        f32(3, 4).astype(np.float16).astype(np.float32),
        18,
        "ios18",
        source_val=f32(3, 4).astype(np.float16),
        output_dtype="fp32",
    ),
    _plus(
        "constexpr_cast",
        (3, 4),
        f32(3, 4).astype(np.float16).astype(np.float32),
        16,
        "fp16",
        source_val=f32(3, 4).astype(np.float16),
        output_dtype="fp32",
    ),
    _plus(
        "constexpr_cast",
        (40, 40),
        f32(40, 40).astype(np.float16).astype(np.float32),
        16,
        "large",
        source_val=f32(40, 40).astype(np.float16),
        output_dtype="fp32",
    ),
]


def _blocks(values, shape):
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis)
    return values


for name in ("int4", "uint4", "int8", "uint8"):
    data = sub_byte(name, 4, 8) if name.endswith("4") else codes(4, 8, dtype=np.dtype(name), low=0, high=100)
    number = np.asarray(data).astype(np.float32)
    for shape in [(4, 1), (1, 8), (1, 1), (4, 2), (2, 4), (1, 2), (4, 8)]:
        scale = np.random.default_rng([*shape]).uniform(0.1, 1, shape).astype(np.float32)
        offset = np.random.default_rng([*shape, 1]).integers(0, 5, shape)
        CASES.append(
            _plus(
                "constexpr_blockwise_shift_scale",
                (4, 8),
                _blocks(scale, (4, 8)) * number,
                18,
                f"{name}-{shape}",
                data=data,
                scale=scale,
            )
        )
        CASES.append(
            _plus(
                "constexpr_blockwise_shift_scale",
                (4, 8),
                _blocks(scale, (4, 8)) * (number - _blocks(offset, (4, 8))),
                18,
                f"{name}-{shape}-offset",
                data=data,
                scale=scale,
                offset=offset.astype(data.dtype),
            )
        )
    CASES.append(
        _plus(
            "constexpr_blockwise_shift_scale",
            (4, 8),
            _blocks(np.full((4, 2), 0.5), (4, 8)) * (number - 1.5),
            18,
            f"{name}-float-offset",
            data=data,
            scale=np.full((4, 2), 0.5, np.float32),
            offset=np.full((4, 2), 1.5, np.float32),
        )
    )


def _table(indices, lut, vector_axis=None):
    """One element after the other, by the definition."""
    groups, vector = lut.shape[:-2], lut.shape[-1]
    axis = 0 if vector_axis is None else vector_axis % indices.ndim
    shape = [d * vector if i == axis else d for i, d in enumerate(indices.shape)]
    out = np.zeros(shape, np.float32)
    for position in np.ndindex(*indices.shape):
        group = tuple(p * g // d for p, g, d in zip(position, groups, indices.shape, strict=True))
        entry = lut[(*group, int(indices[position]))]
        for v in range(vector):
            target = list(position)
            target[axis] = target[axis] * vector + v
            out[tuple(target)] = entry[v]
    return out


for name in ("uint1", "uint2", "uint3", "uint4", "uint6", "uint8"):
    indices = sub_byte(name, 4, 6) if name != "uint8" else codes(4, 6, dtype=np.uint8, low=0, high=255)
    entries = 2 ** int(name[4:])
    for groups, vector, axis in [
        ((1, 1), 1, None),
        ((2, 1), 1, None),
        ((2, 3), 1, None),
        ((1, 1), 2, 0),
        ((1, 2), 3, 1),
    ]:
        lut = np.random.default_rng([entries, vector]).uniform(-1, 1, (*groups, entries, vector)).astype(np.float32)
        how = {} if axis is None else {"vector_axis": axis}
        expected = _table(np.asarray(indices), lut, axis)
        CASES.append(
            _plus(
                "constexpr_lut_to_dense",
                expected.shape,
                expected,
                18,
                f"{name}-{groups}-{vector}",
                indices=indices,
                lut=lut,
                **how,
            )
        )


def _sparse(kind, expected, label, **arguments):
    """The two results of a sparse operation made dense again."""

    def build(mb, x):
        found_mask, found = getattr(mb, kind)(**arguments)
        return mb.add(x=x, y=mb.constexpr_sparse_to_dense(nonzero_data=found, mask=found_mask))

    return case(
        kind, x=f32(*expected.shape), build=build, expect=lambda x: x + expected, opset=18, label=label, dtypes=["fp32"]
    )


bits = r.integers(0, 2, (4, 6)).astype(types.np_uint1_dtype)
chosen = np.asarray(bits).astype(bool)
nonzero = sub_byte("uint2", int(chosen.sum()))
for vector, axis in [(1, None), (2, 0), (3, 1)]:
    lut = np.random.default_rng(vector).uniform(-1, 1, (1, 1, 4, vector)).astype(np.float32)
    whole = np.zeros((4, 6), int)
    whole[chosen] = np.asarray(nonzero)
    expected = _table(whole, lut, axis) * np.repeat(chosen, vector, 0 if axis is None else axis)
    how = {} if axis is None else {"vector_axis": axis}
    CASES.append(
        _sparse(
            "constexpr_lut_to_sparse",
            expected,
            f"vector-{vector}",
            indices_mask=bits,
            indices_nonzero_data=nonzero,
            lut=lut,
            **how,
        )
    )
data = codes(int(chosen.sum()))
for shape in [(1, 1), (4, 1), (1, 6), (2, 3)]:
    scale = np.random.default_rng([*shape]).uniform(0.1, 1, shape).astype(np.float32)
    offset = np.random.default_rng([*shape]).integers(-5, 5, shape).astype(np.int8)
    for shift in (None, offset):
        whole = np.zeros((4, 6), np.float32)
        whole[chosen] = data
        expected = np.where(
            chosen,
            (whole - (0 if shift is None else _blocks(shift.astype(np.float32), (4, 6)))) * _blocks(scale, (4, 6)),
            0,
        )
        how = {} if shift is None else {"offset": shift}
        CASES.append(
            _sparse(
                "constexpr_sparse_blockwise_shift_scale",
                expected.astype(np.float32),
                f"{shape}-{shift is None}",
                data_mask=bits,
                nonzero_data=data,
                scale=scale,
                **how,
            )
        )

# Layers over compressed weights.
WEIGHT = codes(8, 16)
SCALE = np.linspace(0.01, 0.03, 8).astype(np.float32)
INT4 = sub_byte("int4", 8, 64)
SCALE4 = np.random.default_rng(4).uniform(0.05, 0.1, (8, 2)).astype(np.float32)
KERNEL = codes(6, 4, 3, 3)


def _conv(x):
    import torch

    kernel = KERNEL.astype(np.float32) * 0.01
    return torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(kernel)).numpy()


CASES += [
    case(
        "constexpr_affine_dequantize",
        x=f32(3, 16),
        opset=16,
        dtypes=["fp32"],
        label="linear",
        atol=1e-4,
        build=lambda mb, x: mb.linear(
            x=x,
            weight=mb.constexpr_affine_dequantize(quantized_data=WEIGHT, scale=SCALE, zero_point=np.int8(0), axis=0),
        ),
        expect=lambda x: x @ (WEIGHT * SCALE[:, None]).T,
    ),
    case(
        "constexpr_affine_dequantize",
        x=f32(2, 3, 16),
        opset=16,
        dtypes=["fp32"],
        label="linear-3",
        atol=1e-4,
        build=lambda mb, x: mb.linear(
            x=x,
            weight=mb.constexpr_affine_dequantize(quantized_data=WEIGHT, scale=SCALE, zero_point=np.int8(0), axis=0),
        ),
        expect=lambda x: x @ (WEIGHT * SCALE[:, None]).T,
    ),
    case(
        "constexpr_blockwise_shift_scale",
        x=f32(3, 64),
        opset=18,
        dtypes=["fp32"],
        label="linear-int4",
        atol=1e-4,
        build=lambda mb, x: mb.linear(x=x, weight=mb.constexpr_blockwise_shift_scale(data=INT4, scale=SCALE4)),
        expect=lambda x: x @ (np.asarray(INT4).astype(np.float32) * np.repeat(SCALE4, 32, 1)).T,
    ),
    case(
        "constexpr_affine_dequantize",
        x=f32(1, 4, 8, 8),
        opset=16,
        dtypes=["fp32"],
        label="conv",
        atol=1e-4,
        build=lambda mb, x: mb.conv(
            x=x,
            weight=mb.constexpr_affine_dequantize(
                quantized_data=KERNEL, scale=np.full(6, 0.01, np.float32), zero_point=np.int8(0), axis=0
            ),
        ),
        expect=_conv,
    ),
    case(
        "constexpr_affine_dequantize",
        i=np.array([2, 0, 7], np.int32),
        opset=16,
        label="gather",
        build=lambda mb, i: mb.gather(
            x=mb.constexpr_affine_dequantize(quantized_data=WEIGHT, scale=SCALE, zero_point=np.int8(0), axis=0),
            indices=i,
            axis=0,
        ),
        expect=lambda i: (WEIGHT * SCALE[:, None])[i],
    ),
]


def _codes(input, scale, zero_point=0, axis=None, output_dtype="int8"):
    limits = np.iinfo(output_dtype)
    shape = [1] * input.ndim
    if np.ndim(scale):
        shape[int(axis)] = -1
    s, z = np.reshape(scale, shape), np.reshape(zero_point, shape)
    return np.clip(np.rint(input / s) + z, limits.min, limits.max)


def _numbers(input, scale, zero_point=0, axis=None):
    shape = [1] * input.ndim
    if np.ndim(scale):
        shape[int(axis)] = -1
    return (input.astype(np.float32) - np.reshape(zero_point, shape).astype(np.float32)) * np.reshape(scale, shape)


VECTOR = const(np.array([0.02, 0.03, 0.05], np.float32))
for dtype in (np.int8, np.uint8):
    name, zeros = np.dtype(dtype).name, const(np.array([1, 2, 3], dtype))
    x, q = f32(2, 3, 4), codes(2, 3, 4, dtype=dtype, low=0, high=100)
    for opset in (17, 18):
        CASES += [
            case(
                "quantize",
                input=x,
                scale=np.float32(0.02),
                zero_point=dtype(5),
                output_dtype=name,
                opset=opset,
                dtypes=["fp32"],
                label=f"{name}-scalar",
                expect=_codes,
                build=lambda mb, input, **h: mb.cast(x=mb.quantize(input=input, **h), dtype="fp32"),
            ),
            case(
                "quantize",
                input=x,
                scale=np.float32(0.02),
                output_dtype=name,
                opset=opset,
                dtypes=["fp32"],
                label=f"{name}-no-zero",
                expect=_codes,
            ),
            case(
                "quantize",
                input=x,
                scale=VECTOR,
                zero_point=zeros,
                axis=1,
                output_dtype=name,
                opset=opset,
                dtypes=["fp32"],
                label=f"{name}-vector",
                expect=_codes,
            ),
            case(
                "dequantize",
                input=q,
                scale=np.float32(0.02),
                zero_point=dtype(5),
                opset=opset,
                label=f"{name}-scalar",
                expect=_numbers,
            ),
            case("dequantize", input=q, scale=np.float32(0.02), opset=opset, label=f"{name}-no-zero", expect=_numbers),
            case(
                "dequantize",
                input=q,
                scale=VECTOR,
                zero_point=zeros,
                axis=1,
                opset=opset,
                label=f"{name}-vector",
                expect=_numbers,
            ),
        ]
    CASES += [
        case(
            "quantize",
            input=np.array([-1e6, 1e6, 0.5, 1.5, 2.5], np.float32),
            scale=np.float32(1),
            output_dtype=name,
            opset=17,
            dtypes=["fp32"],
            label=f"{name}-saturate",
            expect=_codes,
        ),
    ]


@rows(CASES)
def test_compression(row, engine, dtype):
    check(row, engine, dtype)
