"""Edges of casts: a float outside int32 becomes its nearest end and NaN becomes 0; smaller integers are its lowest bits."""

from __future__ import annotations

import numpy as np
from coremltools.converters.mil.mil import Builder as mb

from edges.catalogue import check, edge, edges
from edges.values import HIGH, LOW, filled, floats, integers

_WILD = [
    -0.9,
    0.9,
    1.5,
    -2.5,
    127.9,
    128,
    -129,
    255.5,
    256,
    300,
    -1,
    65535,
    65536,
    70000,
    -40000,
    2.0**24 + 2,
    2147483520,
    2.0**31,
    -(2.0**31),
    1e10,
]
FLOATS = [filled((24,), _WILD), *floats(24)]
WHOLE = [filled((24,), [127, 128, -129, 255, 256, 70000, -40000, 65535, 0, -1], np.int32), *integers(24)]


def int32(x):
    """The nearest integer that is not further from 0."""
    return np.clip(np.trunc(np.nan_to_num(x.astype(np.float64), nan=0, posinf=HIGH, neginf=LOW)), LOW, HIGH).astype(
        np.int64
    )


def cast(x, dtype):
    if dtype == "bool":
        return x != 0
    if dtype in ("fp32", "fp16"):
        return x.astype({"fp32": np.float32, "fp16": np.float16}[dtype])
    return (int32(x) if x.dtype.kind == "f" else x.astype(np.int64)).astype(dtype)


def between(first, then):
    """A cast to one type, then to another."""
    return lambda x: mb.cast(x=mb.cast(x=x, dtype=first), dtype=then)


NARROW = ("int8", "uint8", "int16", "uint16")
CASTS = [
    *(
        edge("cast", lambda x, to=to: mb.cast(x=x, dtype=to), lambda x, to=to: cast(x, to), label=f"floats to {to}", x=FLOATS)
        for to in (*NARROW, "int32", "bool", "fp16")
    ),
    *(
        edge("cast", lambda x, to=to: mb.cast(x=x, dtype=to), lambda x, to=to: cast(x, to), label=f"int32 to {to}", x=WHOLE, rtol=1e-7)
        for to in (*NARROW, "bool", "fp32", "fp16")
    ),
    *(
        edge("cast", between(first, then), lambda x, first=first, then=then: cast(cast(x, first), then),
             label=f"int32 to {first} to {then}", x=WHOLE)
        for first in NARROW for then in ("fp32", "fp16", *NARROW) if first != then
    ),
    *(
        edge("cast", between("bool", then), lambda x, then=then: cast(x != 0, then), label=f"floats to bool to {then}", x=FLOATS)
        for then in ("fp32", "int32", "int8")
    ),
    edge("cast", between("int32", "fp32"), lambda x: int32(x).astype(np.float32), label="floats to int32 and back", x=FLOATS),
]  # fmt: skip


@edges(CASTS)
def test_casts(row, engine, source, tmp_path):
    check(row, engine, source, tmp_path)
