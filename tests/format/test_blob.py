"""Weight files against coremltools' own writer, and every way in which one can be damaged."""

import struct

import ml_dtypes
import numpy as np
import pytest
from coremltools.libmilstoragepython import _BlobStorageWriter

from pippin.errors import WeightError
from pippin.format.blob import BlobFile, unpack_elements
from pippin.types import DataType

WRITERS = {
    DataType.FLOAT32: ("write_float_data", np.float32),
    DataType.FLOAT16: ("write_fp16_data", np.float16),
    DataType.INT8: ("write_int8_data", np.int8),
    DataType.UINT8: ("write_uint8_data", np.uint8),
    DataType.INT16: ("write_int16_data", np.int16),
    DataType.UINT16: ("write_uint16_data", np.uint16),
    DataType.INT32: ("write_int32_data", np.int32),
    DataType.UINT32: ("write_uint32_data", np.uint32),
    DataType.INT4: ("write_int4_data", np.int8),
    DataType.UINT1: ("write_uint1_data", np.uint8),
    DataType.UINT2: ("write_uint2_data", np.uint8),
    DataType.UINT3: ("write_uint3_data", np.uint8),
    DataType.UINT4: ("write_uint4_data", np.uint8),
    DataType.UINT6: ("write_uint6_data", np.uint8),
}


def numbers(dtype, count):
    low, high = (0, 2**dtype.bits) if dtype.value.startswith("u") else (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1))
    if dtype.is_float:
        low, high = -100, 100
    return np.random.default_rng(count).integers(low, min(high, 2**31), count)


@pytest.mark.parametrize("count", [1, 7, 24, 1000])
@pytest.mark.parametrize("dtype", WRITERS, ids=lambda d: d.value)
def test_what_coremltools_writes_is_read(dtype, count, tmp_path):
    method, numpy = WRITERS[dtype]
    values = numbers(dtype, count).astype(numpy)
    path = str(tmp_path / "weight.bin")
    writer = _BlobStorageWriter(path)
    offset = getattr(writer, method)(values.view(np.uint16) if numpy is np.float16 else values)
    other = writer.write_float_data(np.arange(5, dtype=np.float32))
    del writer
    blob = BlobFile.open(path)
    assert (blob.count, blob.version) == (2, 2)
    assert blob.record_dtype(offset) is dtype
    found = blob.read(offset, dtype, (count,))
    np.testing.assert_array_equal(found, values)
    assert found.dtype == dtype.numpy
    np.testing.assert_array_equal(blob.read(other, DataType.FLOAT32, (5,)), np.arange(5))


def record(number, data, size=None, sentinel=0xDEADBEEF, start=128, version=2):
    header = struct.pack("<II56x", 1, version)
    metadata = struct.pack("<IIQQQ32x", sentinel, number, len(data) if size is None else size, start, 0)
    return header + metadata + data


@pytest.mark.parametrize(
    ("number", "dtype", "numpy"),
    [
        (5, DataType.BFLOAT16, ml_dtypes.bfloat16),
        (16, DataType.FLOAT8E4M3FN, ml_dtypes.float8_e4m3fn),
        (17, DataType.FLOAT8E5M2, ml_dtypes.float8_e5m2),
    ],
)
def test_types_that_coremltools_does_not_write(number, dtype, numpy):
    values = np.array([1.5, -2.0, 0.25], numpy)
    found = BlobFile.from_bytes(record(number, values.tobytes())).read(64, dtype, (3,))
    np.testing.assert_array_equal(found.astype(np.float32), values.astype(np.float32))


@pytest.mark.parametrize("version", [1, 2])
def test_versions(version):
    data = np.arange(4, dtype=np.float32)
    blob = BlobFile.from_bytes(record(2, data.tobytes(), version=version))
    np.testing.assert_array_equal(blob.read(64, DataType.FLOAT32, (2, 2)), data.reshape(2, 2))


def test_nothing_is_copied():
    data = record(2, np.arange(1000, dtype=np.float32).tobytes())
    blob = BlobFile.from_bytes(data)
    found = blob.read(64, DataType.FLOAT32, (10, 100))
    assert found.base is not None and not found.flags.writeable
    whole = np.frombuffer(data, np.uint8)
    assert np.shares_memory(found, whole)


def test_bool_is_stored_as_bytes():
    blob = BlobFile.from_bytes(record(3, bytes([1, 0, 1])))
    np.testing.assert_array_equal(blob.read(64, DataType.BOOL, (3,)), [True, False, True])


GOOD = record(2, np.arange(4, dtype=np.float32).tobytes())
DAMAGED = {
    "empty": (b"", 64, "too few"),
    "header only": (GOOD[:40], 64, "too few"),
    "another version": (record(2, b"1234", version=9), 64, "version"),
    "no sentinel": (record(2, bytes(16), sentinel=1), 64, "no record lies there"),
    "unknown type": (record(99, bytes(16)), 64, "element type 99"),
    "truncated data": (GOOD[:-1], 64, "truncated"),
    "size past the end": (record(2, bytes(16), size=10**12), 64, "past the end"),
    "start past the end": (record(2, bytes(16), start=1 << 40), 64, "past the end"),
    "unaligned data": (record(2, bytes(32), size=16, start=132), 64, "aligned"),
    "unaligned offset": (GOOD, 65, "aligned"),
    "offset zero": (GOOD, 0, "no record can lie there"),
    "offset past the end": (GOOD, 1 << 30, "no record can lie there"),
    "negative offset": (GOOD, -64, "no record can lie there"),
    "too few bytes": (record(2, bytes(12)), 64, "needs 16"),
    "too many bytes": (record(2, bytes(20)), 64, "needs 16"),
    "another type": (record(1, bytes(16)), 64, "holds fp16"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(name):
    data, offset, message = DAMAGED[name]
    with pytest.raises(WeightError, match=message):
        BlobFile.from_bytes(data, "weight.bin").read(offset, DataType.FLOAT32, (4,))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightError, match=r"weight\.bin"):
        BlobFile.open(tmp_path / "weight.bin")
    (tmp_path / "weight.bin").touch()
    with pytest.raises(WeightError, match="empty"):
        BlobFile.open(tmp_path / "weight.bin")


def test_packed_elements_need_their_bytes():
    with pytest.raises(WeightError, match="5 elements of uint3 are 2 bytes"):
        unpack_elements(b"123", DataType.UINT3, 5)
