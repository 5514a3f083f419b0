"""Bytecode: writes small programs of Core AI, so that the reader can be given numbers that no compiler writes."""

from collections.abc import Iterable
from pathlib import Path

F32, SINT32, TENSOR, FUNCTION = 6, 18, 2, 30
STRING, INTEGER, TYPE, ARRAY, RESOURCE, DENSE, NAMED = 1, 2, 4, 5, 7, 6, 9
METADATA = '{"assetVersion": "2.0", "producer": "a test"}'


def number(value: int) -> bytes:
    return bytes([value << 1 | 1]) if value < 128 else b"\0" + value.to_bytes(8, "little")


def signed(value: int) -> bytes:
    return number(value << 1 if value >= 0 else (-value << 1) - 1)


def section(kind: int, data: bytes, alignment: int = 0, at: int = 0) -> bytes:
    if not alignment:
        return bytes([kind]) + number(len(data)) + data
    head = bytes([kind | 0x80]) + number(len(data)) + number(alignment)
    return head + b"\xcb" * (-(at + len(head)) % alignment) + data


class Table(list[bytes]):
    def add(self, data: bytes) -> int:
        if data not in self:
            self.append(data)
        return self.index(data)


class Program:
    """A graph `main` of one input `x`; `operations` are added before it is written."""

    def __init__(self, shape: tuple[int, ...] = (4,)) -> None:
        self.strings, self.kinds, self.attributes, self.types = Table(), Table(), Table(), Table()
        self.properties: list[bytes] = []
        self.resources: list[int] = []
        self.body: list[bytes] = []
        self.values = 1
        self.input = self.tensor(F32, shape)
        self.version, self.dialect, self.operations_version = 6, 2, 20260204

    def string(self, text: str) -> int:
        return self.strings.add(text.encode())

    def tensor(self, element: int, shape: Iterable[int]) -> int:
        sizes = list(shape)
        kind = self.types.add(number(element))
        return self.types.add(number(TENSOR) + number(len(sizes)) + b"".join(map(signed, sizes)) + number(kind))

    def attribute(self, kind: int, data: bytes) -> int:
        return self.attributes.add(number(kind) + data)

    def text(self, value: str) -> int:
        return self.attribute(STRING, number(self.string(value)))

    def integer(self, value: int, width: int = 32) -> int:
        return self.attribute(INTEGER, number(width) + b"\1" + (bytes([value]) if width <= 8 else signed(value)))

    def array(self, members: Iterable[int]) -> int:
        found = list(members)
        return self.attribute(ARRAY, number(len(found)) + b"".join(map(number, found)))

    def operation(
        self, kind: str, operands: Iterable[int] = (), results: Iterable[int] = (), properties: Iterable[bytes] = ()
    ) -> bytes:
        own, given, made = b"".join(properties), list(operands), list(results)
        flags = 64 * bool(own) | 2 * bool(made) | 4 * bool(given)
        data = number(self.kinds.add(kind.encode())) + bytes([flags]) + number(self.text("-"))
        if own:
            self.properties.append(own)
            data += number(len(self.properties) - 1)
        if made:
            data += number(len(made)) + b"".join(map(number, made))
        if given:
            data += number(len(given)) + b"".join(map(number, given))
        return data

    def add(
        self, kind: str, operands: Iterable[int] = (), results: Iterable[int] = (), properties: Iterable[bytes] = ()
    ) -> int:
        """Append an operation; returns the number of its first result."""
        made = list(results)
        self.body.append(self.operation(kind, operands, made, properties))
        self.values += len(made)
        return self.values - len(made)

    def described(self, kind: str, body: str) -> int:
        """Append an operation of the input that its body describes by one of twice the same operand."""
        head = number(2 << 1 | 1) + number(1) + number(self.input << 1) + b"\0"
        inner = self.operation(body, [0, 0], [self.input]) + self.operation("dataflow.yield_v1", [1])
        operation = self.operation(kind, [0], [self.input])
        self.body.append(self._with_region(operation, number(1) + number(2) + head + inner))
        self.values += 1
        return self.values - 1

    def constant(self, shape: tuple[int, ...], size: int) -> int:
        """A constant of float32 whose `size` bytes are a resource."""
        self.resources.append(size)
        value = self.attribute(RESOURCE, number(len(self.resources) - 1))
        return self.add("primitive.constant_v1", (), [self.tensor(F32, shape)], [number(value)])

    def named(self, name: str) -> int:
        entry = self.attribute(NAMED, number(self.string("aicode.name")) + number(1) + number(self.text(name)))
        return self.array([self.array([entry])])

    def written(self, returned: int = 0, output: int | None = None) -> tuple[bytes, int]:
        """The file up to the contents of the last resource, and how long it is with these."""
        output = self.input if output is None else output
        function = self.types.add(number(FUNCTION) + number(1) + number(output) + number(1) + number(self.input))
        false, none = self.integer(0, 1), self.array([])
        kind = self.attribute(TYPE, number(function))
        members = [self.named("x"), None, false, kind, false, self.text("main"), false, none, self.named("y")]
        properties = [number(0) if m is None else number(m) for m in members]
        last = self.operation("dataflow.output_v1", [returned])
        block = number(len(self.body) + 1 << 1 | 1) + number(1) + number(self.input << 1) + b"\0"
        region = number(1) + number(self.values) + block + b"".join([*self.body, last])
        graph = self._with_region(self.operation("dataflow.graph_v1", properties=properties), region)
        version = self.integer(self.operations_version)
        asset = self.operation("serialization.asset", properties=[number(0), number(version << 1 | 1)])
        inner = number(1) + number(0) + number(1 << 1) + graph
        program = number(1 << 1) + self._with_region(asset, inner)
        return self._file(program)

    def _with_region(self, operation: bytes, region: bytes) -> bytes:
        head = bytearray(operation)
        flags = 1 if head[0] & 1 else 9  # behind the number of the kind
        head[flags] |= 16
        return bytes(head) + number(1 << 1 | 1) + section(4, region)

    def _file(self, program: bytes) -> tuple[bytes, int]:
        dialect = self.string("aicode")
        names = [self.string(kind.decode()) for kind in self.kinds]
        keys = [self.string(f"weight{n}") for n in range(len(self.resources))]
        strings = number(len(self.strings)) + b"".join(number(len(s) + 1) for s in reversed(self.strings))
        strings += b"".join(s + b"\0" for s in self.strings)
        dialects = number(1) + number(dialect << 1 | 1) + section(7, number(self.dialect)) + number(len(names))
        dialects += number(0) + number(len(names)) + b"".join(number(n << 1 | 1) for n in names)
        offsets = number(len(self.attributes)) + number(len(self.types))
        for entries in (self.attributes, self.types):
            offsets += number(0) + number(len(entries)) + b"".join(number(len(e) << 1 | 1) for e in entries)
        properties = number(len(self.properties)) + b"".join(number(len(p)) + p for p in self.properties)
        parts = [(0, strings), (1, dialects), (2, b"".join([*self.attributes, *self.types])), (3, offsets)]
        parts += [(4, program), (8, properties)]
        sizes = [len(number(1) + number(size)) + size for size in self.resources]
        if sizes:
            table = number(0) + number(dialect) + number(len(sizes))
            parts.append((6, table + b"".join(number(k) + number(s) + b"\0" for k, s in zip(keys, sizes, strict=True))))
        data = b"ML\xefR" + number(self.version) + b"a test\0" + b"".join(section(*part) for part in parts)
        for place, size in enumerate(self.resources):
            head = number(1) + number(size)
            if not place:
                data += bytes([5]) + number(sum(sizes))
            data += head if place == len(sizes) - 1 else head + bytes(size)
        return data, len(data) + (self.resources[-1] if self.resources else 0)


def write(folder: Path, program: Program, returned: int = 0, output: int | None = None) -> Path:
    """The program as a Core AI model, whose last weight is a hole in the file."""
    folder.mkdir(parents=True, exist_ok=True)
    data, length = program.written(returned, output)
    with (folder / "main.mlirb").open("wb") as file:
        file.write(data)
        file.truncate(length)
    (folder / "metadata.json").write_text(METADATA)
    return folder
