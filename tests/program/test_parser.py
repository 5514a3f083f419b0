"""Parser: MIL text in both spellings, and errors with line and column for everything that is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from pippin.errors import ProgramError
from pippin.program import Value, mil_text, parse_program
from pippin.program.parser import statements
from pippin.program.parser.cursor import is_name
from pippin.program.parser.numbers import BadNumber, decode
from pippin.types import DataType, ListType, StateType, TensorType
from program.same import assert_same_program, assert_same_value

F32, I32, S = (TensorType(d) for d in (DataType.FLOAT32, DataType.INT32, DataType.STRING))

APPLE = """program(1.0)
[buildInfo = dict<tensor<string, []>, tensor<string, []>>({{"coremlc-version", "3500.32.1"}})]
{
    func main<ios16>(tensor<fp32, [1, ?]> x, tensor<fp32, [2, 3]> z) {
            tensor<int32, [2]> axes = const()[name = tensor<string, []>("axes"), val = tensor<int32, [2]>([0, -1])];
            tensor<fp32, []> k = const()[name = tensor<string, []>("k"), val = tensor<fp32, []>(-0x1.8p-3)];
            tensor<fp16, [4]> w = const()[name = tensor<string, []>("w"), val = tensor<fp16, [4]>(BLOBFILE(path = tensor<string, []>("@model_path/weights/weight.bin"), offset = tensor<uint64, []>(64)))];
            tensor<fp32, [2, 3]> a, tensor<fp32, [2, 3]> b = split(axis = k, x = z)[name = tensor<string, []>("split")];
            tensor<fp32, [4, 3]> y = concat(axis = axes, values = (a, b))[name = tensor<string, []>("y")];
            tensor<fp32, [4, 3]> r = relu(x = y)[name = tensor<string, []>("r"), op_class = tensor<string, []>("c"), n = tensor<int32, [2]>([1, 2])];
        } -> (y, a);
}
"""

IOS18 = """
program(1.3){
  func main<ios18>(state<tensor<fp16,[1,2]>> s, tensor<fp16, [1, 2]> x)
    [FlexibleShapeInformation = tuple<tuple<string, dict<string, tensor<int32, [?]>>>, tuple<string, dict<string, list<tensor<int32, [2]>, ?>>>>((("DefaultShapes", {{"x", [1, 2]}}), ("RangeDims", {{"x", [[1, 1], [2, 9]]}})))] {
    string mode = const()[name=string("mode"), val=string("a \\"b\\" \\u{1F34E}")];
    bool yes = const()[name = string("yes"), val = bool(true)];
    write_state(data = x, input = s)[name = string("w")];
    tensor<fp16, [1, 2]> r = read_state(input = s)[name = string("r")];
    tensor<fp16, [1, 2]> y = add(x = r, y = fp16(0x1p+0))[name = string("y")];
    tensor<fp16, [1, 2]> c = cond(pred = yes)[name = string("c")]
    () {
      tensor<fp16, [1, 2]> t = relu(x = y)[name = string("t")];
    } -> (t),
    () {
    } -> (y);
    tensor<fp16, [2, 2]> g = gather(indices = tensor<int32, [2]>([1, 0]), modes = ("a", string("b")), x = c)[];
  } -> (g);
}
"""


def test_the_spelling_of_ios_16():
    program = parse_program(APPLE)
    function = program.functions["main"]
    assert program.attributes["buildInfo"].value == {"coremlc-version": "3500.32.1"}
    assert function.opset == "CoreML6"
    assert function.inputs == (
        Value("x", TensorType(DataType.FLOAT32, (1, None))),
        Value("z", TensorType(DataType.FLOAT32, (2, 3))),
    )
    axes, k, w, split, concat, relu = function.block.operations
    assert_same_value(axes.attributes["val"].value, np.array([0, -1], np.int32))
    assert_same_value(k.attributes["val"].value, np.array(-0.1875, np.float32))
    assert (w.attributes["val"].file, w.attributes["val"].offset) == ("@model_path/weights/weight.bin", 64)
    assert [value.name for value in split.outputs] == ["a", "b"] and split.attributes["name"].value == "split"
    assert concat.inputs["values"] == split.outputs
    assert {name: literal.type for name, literal in relu.attributes.items()} == {
        "name": S, "op_class": S, "n": TensorType(DataType.INT32, (2,))
    }  # fmt: skip
    assert [value.name for value in function.outputs] == ["y", "a"]


def test_the_spelling_of_ios_18():
    text = IOS18.replace('"a", string("b")', 'string("a"), string("b")')
    function = parse_program(text).functions["main"]
    assert function.inputs[0] == Value("s", StateType(TensorType(DataType.FLOAT16, (1, 2))))
    shapes = dict(function.attributes["FlexibleShapeInformation"].value)
    assert_same_value(shapes["DefaultShapes"], {"x": np.array([1, 2], np.int32)})
    assert_same_value(shapes["RangeDims"], {"x": [np.array([1, 1], np.int32), np.array([2, 9], np.int32)]})
    mode, yes, write, read, add, cond, gather = function.block.operations
    assert mode.attributes["val"].value == 'a "b" 🍎' and yes.attributes["val"].value == np.True_
    assert write.outputs == () and write.inputs["data"] == (function.inputs[1],)
    assert read.inputs["input"] == (function.inputs[0],)
    assert add.inputs["y"][0].value == 1
    assert [block.outputs[0].name for block in cond.blocks] == ["t", "y"]
    assert_same_value(gather.inputs["indices"][0].value, np.array([1, 0], np.int32))
    assert [literal.value for literal in gather.inputs["modes"]] == ["a", "b"]
    assert_same_program(parse_program(mil_text(parse_program(text))), parse_program(text))


def test_space_and_names_of_other_tools():
    text = 'program(1.0)\r\n{\n\tfunc main<ios15>(tensor<fp32,[]>in/x:0)\n{ tensor<fp32,[]> n-1.é=relu(x=in/x:0)[name=tensor<string,[]>("n")] ; }->(n-1.é) ; }'
    assert parse_program(text).functions["main"].outputs == (Value("n-1.é", F32),)
    spaces = [character for character in map(chr, range(0x110000)) if character.isspace()]
    assert len(spaces) > 20 and not any(is_name(f"a{space}b") for space in spaces)


# Values


def const(kind, value):
    return f'program(1.0) {{ func main<ios17>() {{ {kind} v = const()[name = tensor<string, []>("v"), val = {kind}({value})]; }} -> (v); }}'


def value_of(kind, value):
    return parse_program(const(kind, value)).functions["main"].block.operations[0].attributes["val"]


VALUES = {
    "decimal": ("tensor<fp32, [4]>", "[0.5, 1, -1e-3, .25]", np.array([0.5, 1, -1e-3, 0.25], np.float32)),
    "hexadecimal": ("fp64", "0x1.921fb54442d18p+1", np.array(np.pi)),
    "subnormal": ("fp32", "0x1p-149", np.array(2.0**-149, np.float32)),
    "no digit before the point": ("fp32", "0x.8p+1", np.array(1, np.float32)),
    "capitals": ("fp16", "0X1.8P+1", np.array(3, np.float16)),
    "specials": ("tensor<fp16, [3]>", "[inf, -inf, 0x0p+0]", np.array([np.inf, -np.inf, 0], np.float16)),
    "minus zero": ("fp32", "-0x0p+0", np.array(-0.0, np.float32)),
    "bits of a nan": ("tensor<fp16, [2]>", "[nan:0x7e01, nan]", np.array([0x7E01, 0x7E00], np.uint16).view(np.float16)),
    "nested": ("tensor<int32, [2, 2]>", "[[1, 2],\n [3, 4]]", np.array([[1, 2], [3, 4]], np.int32)),
    "no element": ("tensor<int32, [2, 0]>", "[[], []]", np.zeros((2, 0), np.int32)),
    "int4": ("tensor<int4, [3]>", "[-8, 0, 7]", np.array([-8, 0, 7], np.int8)),
    "largest": ("uint64", "18446744073709551615", np.array(2**64 - 1, np.uint64)),
    "smallest": ("int64", "-9223372036854775808", np.array(-(2**63), np.int64)),
    "truth": ("tensor<bool, [2]>", "[true, false]", np.array([True, False])),
    "list of numbers": ("list<int32, 2>", "[7, 8]", [np.array(7, np.int32), np.array(8, np.int32)]),
    "list of arrays": ("list<tensor<int32, [?]>, ?>", "[[7], []]", [np.array([7], np.int32), np.zeros(0, np.int32)]),
    "numbers by number": ("dict<int64, fp32>", "{{3, 0x1p+0}}", {3: np.array(1, np.float32)}),
}  # fmt: skip


@pytest.mark.parametrize("row", VALUES)
def test_values(row):
    kind, text, expected = VALUES[row]
    assert_same_value(value_of(kind, text).value, expected)


def test_a_long_list_of_labels():
    labels = [f"class {number}, of many" for number in range(5_000)]
    text = ", ".join(f'"{label}"' for label in labels)
    found = value_of("list<string, 5000>", f"[{text}]")
    assert found.value == labels and found.type == ListType(S, 5000)


@seed(0)
@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.floats(width=64), min_size=1, max_size=80), st.integers(0, 3))
def test_floats_are_what_python_reads(values, spread):
    """In short rows one by one, in long ones by columns."""
    row = (values * 40)[: max(len(values), 80)]
    text = ",".join(value.hex() if np.isfinite(value) else str(value) for value in row)
    found = decode(text, len(row), DataType.FLOAT64)
    expected = np.array([float.fromhex(v.hex()) if np.isfinite(v) else v for v in row])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found[~np.isnan(found)]), np.signbit(expected[~np.isnan(expected)]))


@seed(0)
@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=80))
def test_integers_are_what_python_reads(values):
    row = values * 40
    assert decode(",".join(map(str, row)), len(row), DataType.INT64).tolist() == row


@pytest.mark.parametrize("bad", ["", "0x", "0x1", "0x.p1", "0x1.8", "1 2", "0x1.gp0", "0x1p", "0x1p+", "0x1p99999", "--1", "1_0", "nan:0x1ffff", "e5", "+1", "infinity", "0x1p+0p+0", "0x1p+0.", "1x0p3", "1p0x3", "+0x1p0", "0x+1p0", "é"])  # fmt: skip
@pytest.mark.parametrize("count", [3, 100])
def test_what_is_no_float(bad, count):
    row = ["0x1.8p+1"] * count
    row[count // 2] = bad
    with pytest.raises(BadNumber) as caught:
        decode(",".join(row), count, DataType.FLOAT16)
    assert caught.value.index == count // 2


@pytest.mark.parametrize(
    "bad", ["", "1.5", "0x1", "-", "-7-", "+1", "1 2", "--1", "1e3", "300", "-129", "99999999999999999999999", "1_0"]
)
@pytest.mark.parametrize("count", [3, 100])
def test_what_is_no_int8(bad, count):
    row = ["-7"] * count
    row[-1] = bad
    with pytest.raises(BadNumber) as caught:
        decode(",".join(row), count, DataType.INT8)
    assert caught.value.index == count - 1


def decoded(numerals, dtype):
    try:
        return decode(",".join(numerals), len(numerals), dtype)[-1:].tobytes()
    except BadNumber as error:
        return error.reason


@pytest.mark.slow
@seed(0)
@settings(max_examples=1_500, deadline=None, database=None)
@given(st.text("00xx1fpp.+--_n", max_size=7), st.sampled_from(["0x1", "-0x1.8p+1", "-1", ""]))
def test_a_numeral_is_the_same_in_a_long_row(end, start):
    """Long rows are decoded at once, by functions that take more than the grammar does."""
    for dtype, other in ((DataType.FLOAT32, "-0x1p+0"), (DataType.INT64, "-7"), (DataType.UINT8, "7")):
        assert decoded([other] * 99 + [start + end], dtype) == decoded([start + end], dtype), (start + end, dtype)


# Malformed texts

GOOD = APPLE


def changed(old, new):
    assert GOOD.count(old) >= 1, old
    return GOOD.replace(old, new, 1)


def at(text, marker):
    """The line and column where a marker stands."""
    before = text[: text.index(marker)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


# What is wrong: the text, what stands where the error is, and what it says.
MALFORMED = {
    "empty": ("", None, "expected 'program', found the end of the text"),
    "no program": ("hello", "hello", "expected 'program', found 'hello'"),
    "version": (changed("(1.0)", "(2.0)"), "2.0)", "expected program version 1.x, found 2.0"),
    "no version": (changed("(1.0)", "(one)"), "one)", "expected a version such as 1.0, found 'one'"),
    "no function": ("program(1.0) { }", None, "no function"),
    "behind the end": (GOOD + "more", "more", "expected the end of the text, found 'more'"),
    "cut off": (GOOD.rstrip()[:-3], None, "expected ';', found the end of the text"),
    "two functions": (GOOD[:-2] + GOOD[GOOD.index("    func") :], None, "'main' is defined twice"),
    "no type": (changed("tensor<fp32, [4, 3]> y", "tensr<fp32, [4, 3]> y"), "tensr", "expected a type (tensor"),
    "element type": (changed("<fp32, [4, 3]>", "<fp33, [4, 3]>"), "fp33", "expected an element type (bool"),
    "size": (changed("[4, 3]", "[4, x]"), "x]", "expected a size or '?', found 'x'"),
    "negative size": (changed("[4, 3]", "[4, -3]"), "-3]", "expected a size of 0 or more, found -3"),
    "comma in a shape": (changed("[4, 3]", "[4 3]"), "3]> y", "expected ',' or ']', found '3'"),
    "undefined": (changed("(a, b)", "(a, q)"), "q)", "'q' is used before it is defined"),
    "undefined output": (changed("(y, a)", "(y, q)"), "q);", "'q' is used"),
    "used too early": (changed("x = z)", "x = y)"), "y)[name = tensor<string, []>(\"split", "'y' is used"),
    "defined twice": (changed("[4, 3]> y", "[4, 3]> k"), "k = concat", "'k' is defined twice"),
    "parameter twice": (changed("axis = axes, values", "axis = axes, axis"), "axis = (a", "'axis' is bound twice"),
    "attribute twice": (changed("val = tensor<int32, [2]>([0, -1])", 'name = tensor<string, []>("b")'), "name = tensor<string, []>(\"b", "'name' is set twice"),
    "no value": (changed(", val = tensor<fp32, []>(-0x1.8p-3)", ""), "tensor<fp32, []> k", "[const] 'k' must have a 'val'"),
    "another type": (changed("val = tensor<fp32, []>", "val = tensor<fp16, []>"), "tensor<fp32, []> k", "fp32"),
    "too few": (changed("[0, -1]", "[0]"), "[0]", "expected 2 elements in a row of tensor<int32, [2]>, found 1"),
    "too many": (changed("[0, -1]", "[0, -1, 2]"), "[0, -1, 2]", "expected 2 elements in a row of tensor<int32, [2]>, found 3"),
    "scalar": (changed("([0, -1])", "(77)"), "77)", "expected '[', found '77'"),
    "no comma": (changed("[0, -1]", "[0 -1]"), "-1]", "expected ',' or ']', found '-1'"),
    "number": (changed("[0, -1]", "[0, 1.5]"), "1.5", "expected an integer, found '1.5'"),
    "overflow": (changed("[0, -1]", "[0, 3000000000]"), "3000000000", "does not fit int32"),
    "float": (changed("-0x1.8p-3", "-0x1.8"), "-0x1.8", "expected a number, found '-0x1.8'"),
    "no end of a string": (changed('("axes")', '("axes)').replace('"', "'").replace("'", '"', 1), None, ""),
    "escape": (changed('("axes")', r'("a\xes")'), r"\xes", "unknown escape"),
    "no string": (changed('("axes")', "(axes)"), "axes)", "expected a string, found 'axes'"),
    "blob": (changed("offset =", "at ="), "at =", "expected 'offset', found 'at'"),
    "offset": (changed("tensor<uint64, []>(64)", "tensor<int32, []>(64)"), "tensor<int32, []>(64", "expected the offset as tensor<uint64, []>"),
    "negative offset": (changed("(64)", "(-64)"), "-64", "does not fit uint64"),
    "shape of a blob": (changed("[4]>(BLOB", "[?]>(BLOB"), "BLOBFILE", None),
    "no brackets": (changed("split(axis = k, x = z)", "split[axis = k]"), "[axis = k]", "expected '(', found '['"),
    "no semicolon": (changed('("split")];', '("split")]'), "tensor<fp32, [4, 3]> y", "or ';', found"),
    "no equals": (changed("axis = k", "axis k"), "k, x", "expected '=', found 'k'"),
    "no arrow": (changed("} -> (y", "} (y"), "(y, a", "expected '->', found '('"),
    "opset": (changed("<ios16>", "<>"), ">(tensor", "an operation set"),
    "key twice": (changed('}})]', '}, {"coremlc-version", "1"}})]'), '"coremlc-version", "1"', "is in a dictionary twice"),
    "deep type": (changed("tensor<fp32, [1, ?]>", "list<" * 50 + "fp32" + ", ?>" * 50), None, "nested more than"),
}  # fmt: skip


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed(row):
    text, marker, message = MALFORMED[row]
    with pytest.raises(ProgramError) as caught:
        parse_program(text, "m.mil")
    found = str(caught.value)
    if marker is not None and message is not None:
        line, column = at(text, marker)
        assert found.startswith(f"m.mil, line {line}, column {column}: "), found
    assert found.startswith("m.mil, line ") and (message or "") in found, found


def test_bytes_that_are_no_text():
    with pytest.raises(ProgramError, match=r"line 2, column 4: expected UTF-8, found byte 0xff"):
        parse_program(b"program(1.0)\n\xc3\xa9  \xff")


PIECES = [
    *list(";,()[]{}<>=\"'?-"),
    "->",
    "0",
    "nan",
    "x",
    " ",
    "\n",
    "tensor",
    "func",
    "const",
    "é",
    "0x",
    "\x00",
    "\\",
]


def mutated(text, random):
    """A few small changes, of which at least one is no program any more in most cases."""
    for _ in range(int(random.integers(1, 4))):
        where = int(random.integers(0, len(text)))
        length = int(random.integers(0, 12))
        match random.integers(0, 4):
            case 0:
                text = text[:where] + text[where + length :]
            case 1:
                text = text[:where] + PIECES[int(random.integers(0, len(PIECES)))] + text[where:]
            case 2:
                text = text[:where] + PIECES[int(random.integers(0, len(PIECES)))] + text[where + 1 :]
            case 3:
                text = text[:where] + text[where : where + length] + text[where:]
    return text


def test_five_hundred_malformed_texts():
    """Mutations by seed, until 500 were refused; each error says where. One that is still a program is the program
    that its own text gives."""
    refused = 0
    for number in range(2_000):
        text = mutated([APPLE, IOS18.replace('"a", string', 'string("a"), string')][number % 2], np.random.default_rng(number))  # fmt: skip
        try:
            program = parse_program(text, "m.mil")
        except ProgramError as error:
            line, column = (int(part.split()[1]) for part in str(error).split(":")[0].split(", ")[1:])
            lines = text.split("\n")
            assert 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1, error
            assert "expected" in str(error) or "defined" in str(error) or "'" in str(error), error
            refused += 1
        else:
            assert_same_program(parse_program(mil_text(program)), program)
        if refused == 500:
            return
    raise AssertionError(refused)


def outcome(text):
    try:
        return parse_program(text, "m.mil")
    except ProgramError as error:
        return str(error)


def test_the_fast_forms_are_the_grammar(monkeypatch):
    """The same program, or the same error, results where no statement is taken by the regular expressions."""
    texts = [APPLE, *(mutated(APPLE, np.random.default_rng(number)) for number in range(1_500))]
    fast = [outcome(text) for text in texts]
    monkeypatch.setattr(statements.Statements, "take", lambda *_: None)
    slow = [outcome(text) for text in texts]
    for text, found, expected in zip(texts, fast, slow, strict=True):
        if isinstance(expected, str) or isinstance(found, str):
            assert found == expected, text
        else:
            assert_same_program(found, expected)
    assert 50 < sum(isinstance(each, str) for each in slow) < len(texts) - 50
