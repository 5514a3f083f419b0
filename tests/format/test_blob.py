"""Weight files against coremltools' own writer, and every way in which one can be damaged."""

import struct

import ml_dtypes
import numpy as np
import pytest
import torch
from coremltools.libmilstoragepython import _BlobStorageWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from pippin.errors import WeightError
from pippin.format.weight_blob import BlobFile, unpack_elements
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
    "no sentinel": (record(2, bytes(16), sentinel=1), 64, "no record found"),
    "unknown type": (record(99, bytes(16)), 64, "element type 99"),
    "truncated data": (GOOD[:-1], 64, "truncated"),
    "size past the end": (record(2, bytes(16), size=10**12), 64, "past the end"),
    "start past the end": (record(2, bytes(16), start=1 << 40), 64, "past the end"),
    "unaligned data": (record(2, bytes(32), size=16, start=132), 64, "aligned"),
    "unaligned offset": (GOOD, 65, "aligned"),
    "offset zero": (GOOD, 0, "invalid record offset"),
    "offset past the end": (GOOD, 1 << 30, "invalid record offset"),
    "negative offset": (GOOD, -64, "invalid record offset"),
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
    with pytest.raises(WeightError, match="5 elements of uint3 need 2 bytes"):
        unpack_elements(b"123", DataType.UINT3, 5)


WHOLE = [dtype for dtype in WRITERS if dtype.bits >= 8]
PACKED = [dtype for dtype in WRITERS if dtype.bits < 8]


@pytest.mark.parametrize(
    ("number", "dtype", "patterns", "kind"),
    [
        (5, DataType.BFLOAT16, np.arange(65536, dtype=np.uint16), torch.bfloat16),
        (16, DataType.FLOAT8E4M3FN, np.arange(256, dtype=np.uint8), torch.float8_e4m3fn),
        (17, DataType.FLOAT8E5M2, np.arange(256, dtype=np.uint8), torch.float8_e5m2),
    ],
    ids=["bf16", "fp8e4m3fn", "fp8e5m2"],
)
def test_every_bit_pattern_is_what_torch_says(number, dtype, patterns, kind):
    found = BlobFile.from_bytes(record(number, patterns.tobytes())).read(64, dtype, patterns.shape)
    bits = torch.from_numpy(patterns.view(np.int16) if patterns.itemsize == 2 else patterns)
    np.testing.assert_array_equal(found.astype(np.float32), bits.view(kind).float().numpy())


@pytest.mark.parametrize("dtype", PACKED, ids=lambda d: d.value)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_elements_are_packed_from_the_lowest_bit_up(dtype, data):
    """Against the bytes taken as one large little-endian number."""
    count = data.draw(st.integers(0, 40))
    size = -(-count * dtype.bits // 8)
    packed = data.draw(st.binary(min_size=size, max_size=size))
    number, values = int.from_bytes(packed, "little"), 1 << dtype.bits
    expected = [(number >> (i * dtype.bits)) % values for i in range(count)]
    if dtype is DataType.INT4:
        expected = [v - values if v >= values // 2 else v for v in expected]
    found = unpack_elements(packed, dtype, count)
    assert found.dtype == dtype.numpy
    assert found.tolist() == expected


@pytest.mark.parametrize("dtype", WHOLE, ids=lambda d: d.value)
def test_a_mapped_file_is_not_copied(dtype, tmp_path):
    """What is written into the file afterwards appears in the array, which itself cannot be written."""
    method, numpy = WRITERS[dtype]
    path, values = tmp_path / "weight.bin", np.arange(1, 25).astype(numpy).reshape(4, 6)
    writer = _BlobStorageWriter(str(path))
    offset = getattr(writer, method)(np.zeros(24, np.uint16 if numpy is np.float16 else numpy))
    del writer
    found = BlobFile.open(path).read(offset, dtype, (4, 6))
    assert not found.any()
    with path.open("r+b") as file:
        file.seek(offset + 64)
        file.write(values.tobytes())
    np.testing.assert_array_equal(found, values)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_an_array_outlives_its_blob_and_its_file(tmp_path):
    values = np.arange(100, dtype=np.float32)
    path = tmp_path / "weight.bin"
    path.write_bytes(record(2, values.tobytes()))
    found = BlobFile.open(path).read(64, DataType.FLOAT32, (100,))
    path.unlink()
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("shape", [(0,), (3, 0, 2)], ids=str)
@pytest.mark.parametrize(("number", "dtype"), [(2, DataType.FLOAT32), (8, DataType.INT4), (12, DataType.UINT3)])
def test_an_empty_array(number, dtype, shape):
    found = BlobFile.from_bytes(record(number, b"")).read(64, dtype, shape)
    assert (found.shape, found.dtype) == (shape, dtype.numpy)


def test_a_scalar():
    found = BlobFile.from_bytes(record(2, np.float32(2.5).tobytes())).read(64, DataType.FLOAT32, ())
    assert (found.shape, float(found)) == ((), 2.5)


def padded(number, data, padding):
    """A record that says how many bits at its end are unused."""
    file = bytearray(record(number, data))
    struct.pack_into("<Q", file, 64 + 24, padding)
    return BlobFile.from_bytes(file, "weight.bin")


def test_padding_of_whole_bytes_is_ignored():
    """Before iOS 18 the field was reserved and not written: whatever memory held stands there."""
    data = np.arange(3, dtype=np.float32)
    found = padded(2, data.tobytes(), 2**64 - 1).read(64, DataType.FLOAT32, (3,))
    np.testing.assert_array_equal(found, data)


@pytest.mark.parametrize(
    ("number", "dtype", "count", "size", "padding", "unused"),
    [
        (8, DataType.INT4, 4, 2, 4, 0),
        (8, DataType.INT4, 3, 2, 0, 4),
        (12, DataType.UINT3, 8, 3, 9, 0),
        (9, DataType.UINT1, 1, 1, 2**64 - 1, 7),
    ],
)
def test_padding_tells_the_number_of_packed_elements(number, dtype, count, size, padding, unused):
    with pytest.raises(WeightError, match=f"{padding} unused bits in {size} bytes.* leaves {unused}"):
        padded(number, bytes(size), padding).read(64, dtype, (count,))
    assert padded(number, bytes(size), unused).read(64, dtype, (count,)).shape == (count,)


@settings(max_examples=300, deadline=None)
@given(
    at=st.integers(0, len(GOOD) - 1),
    junk=st.binary(min_size=1, max_size=16),
    offset=st.sampled_from([0, 64, 128, 192]),
    dtype=st.sampled_from([d for d in DataType if d is not DataType.STRING]),
)
def test_a_damaged_file_is_read_or_refused(at, junk, offset, dtype):
    try:
        found = BlobFile.from_bytes(GOOD[:at] + junk + GOOD[at + len(junk) :]).read(offset, dtype, (4,))
    except WeightError:
        return
    assert found.shape == (4,)
