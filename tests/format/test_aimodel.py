"""Core AI models: what is read of them, how little memory that takes, and how damaged ones are refused."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pippin
from core_ai.bytecode import METADATA, Program, write
from pippin.errors import (
    PackageError,
    PippinError,
    ProgramError,
    UnsupportedModelError,
    UnsupportedOperationError,
    UnsupportedVersionError,
)
from pippin.format.aimodel import AIModelFile
from pippin.format.asset import Asset, open_asset
from pippin.lowering.lower_model import lower_model
from pippin.program import read_program, save_compiled
from pippin.program.pretty_print import program_text

MODELS = Path(__file__).parents[1] / "core_ai" / "models"
NAMES = sorted(path.name for path in MODELS.iterdir())
FAST = pippin.Configuration(engine="onnxruntime", hints=pippin.Hints(specialization_strategy="fast_load"))


@pytest.fixture(autouse=True)
def without_apple(monkeypatch):
    """Apple's package is not needed for anything."""
    monkeypatch.setitem(sys.modules, "coreai", None)


def test_a_model_is_described():
    description = open_asset(MODELS / "state-rows.aimodel").description
    (main,) = description.functions
    assert [(f.name, f.shape, f.dtype) for f in main.inputs] == [("x", (1, 3), "float32"), ("p", (1,), "int32")]
    assert [(f.name, f.shape) for f in main.states] == [("h", (8, 3))]
    assert [(f.name, f.shape) for f in main.outputs] == [("y", (1, 3))]
    assert (description.kind, description.metadata.user_defined["producer"]) == ("coreAI", "coreai-core 1.0.0b3")


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_printed_without_paths_of_its_author(name):
    text = program_text(read_program(open_asset(MODELS / name)))
    assert "coreai." in text
    assert ".py" not in text


def test_a_model_predicts_and_keeps_its_state():
    model = pippin.load(MODELS / "state-rows.aimodel", FAST)
    state = model.make_state()
    features = {"x": np.array([[1, 2, 3]], np.float32), "p": np.array([5], np.int32)}
    np.testing.assert_array_equal(model.predict(features, state=state)["y"], [[1, 2, 3]])
    np.testing.assert_array_equal(state.read("h")[5], [1, 2, 3])


def test_metadata_is_read(tmp_path):
    path = write(tmp_path / "m.aimodel", Program())
    (path / "metadata.json").write_text('{"assetVersion": "2.1", "author": "A", "description": "D", "custom": 3}')
    metadata = open_asset(path).description.metadata
    assert (metadata.author, metadata.short_description, metadata.user_defined) == ("A", "D", {"custom": "3"})


def test_a_large_file_is_mapped_and_never_copied(tmp_path):
    program = Program()
    program.constant((100_000_000,), 400_000_000)
    path = write(tmp_path / "large.aimodel", program)
    script = (
        "import resource, sys, numpy, pippin\n"
        "from pippin.program import open_model, read_program\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "asset = open_model(sys.argv[1]); asset.description; read_program(asset)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30 * 1024, f"{done.stdout} KB"


def test_weights_are_read_where_they_are(tmp_path):
    program = Program((3,))
    weight = program.constant((3,), 12)
    result = program.add("primitive.add_v1", [0, weight], [program.input])
    path = write(tmp_path / "m.aimodel", program, result)
    with (path / "main.mlirb").open("r+b") as file:
        file.seek(-12, 2)
        file.write(np.array([1, 2, 3], np.float32).tobytes())
    found = pippin.load(path, FAST).predict({"x": np.ones(3, np.float32)})
    np.testing.assert_array_equal(found["y"], [2, 3, 4])


def test_an_unknown_operation_is_computed_by_its_body(tmp_path):
    program = Program((3,))
    path = write(tmp_path / "m.aimodel", program, program.described("twice_v7", "primitive.add_v1"))
    found = pippin.load(path, FAST).predict({"x": np.array([1, 2, 3], np.float32)})
    np.testing.assert_array_equal(found["y"], [2, 4, 6])


def test_another_version_of_a_known_operation_is_computed_by_its_body(tmp_path):
    program = Program((3,))
    path = write(tmp_path / "m.aimodel", program, program.described("relu_v2", "primitive.add_v1"))
    found = pippin.load(path, FAST).predict({"x": np.array([-1, 0, 3], np.float32)})
    np.testing.assert_array_equal(found["y"], [-2, 0, 6])


def test_the_body_of_a_known_operation_is_not_read(tmp_path):
    program = Program((3,))
    path = write(tmp_path / "m.aimodel", program, program.described("relu_v1", "primitive.unheard_of_v1"))
    found = pippin.load(path, FAST).predict({"x": np.array([-1, 0, 3], np.float32)})
    np.testing.assert_array_equal(found["y"], [0, 0, 3])


def _changed(**values):
    def change(program):
        for name, value in values.items():
            setattr(program, name, value)

    return change


def _unknown(program):
    program.add("primitive.flip_v1", [0], [program.input])


def _newer(program):
    program.add("primitive.abs_v2", [0], [program.input])


def _undefined(program):
    program.add("primitive.relu_v9", [0], [program.input])
    program.body[-1] = program.operation("primitive.add_v1", [0, 1], [program.input])


def _small_weight(program):
    program.constant((4,), 12)


def _negative(program):
    program.tensor(6, (-5,))
    program.add("primitive.abs_v1", [0], [program.tensor(6, (-5,))])


REFUSED = {
    "bytecode": (_changed(version=7), UnsupportedVersionError, "bytecode version 7"),
    "dialect": (_changed(dialect=3), UnsupportedVersionError, "version 3 of the dialect 'aicode'"),
    "operations": (_changed(operations_version=20991231), UnsupportedVersionError, "version 20991231"),
    "operation": (_unknown, UnsupportedOperationError, "'primitive.flip_v1' is not known"),
    "version": (_newer, UnsupportedOperationError, "'primitive.abs_v2' is not known"),
    "undefined": (_undefined, ProgramError, "used where it is not defined"),
    "size": (_negative, ProgramError, "an axis has the size -5"),
}


@pytest.mark.parametrize(("change", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, change, error, message):
    program = Program()
    change(program)
    path = write(tmp_path / "m.aimodel", program)
    with pytest.raises(error, match=message):
        read_program(open_asset(path))


def test_a_weight_of_another_size_is_an_error(tmp_path):
    program = Program()
    weight = program.constant((4,), 12)
    path = write(tmp_path / "m.aimodel", program, program.add("primitive.add_v1", [0, weight], [program.input]))
    with pytest.raises(PippinError, match="4 elements of fp32 need 16 bytes, got 12"):
        pippin.load(path, FAST)


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ('{"assetVersion": "3.0"}', UnsupportedVersionError),
        ("{}", UnsupportedVersionError),
        ("[", PackageError),
        (None, PackageError),
    ],
)
def test_a_folder_of_another_version_is_refused(tmp_path, metadata, error):
    path = write(tmp_path / "m.aimodel", Program())
    (path / "metadata.json").unlink()
    if metadata is not None:
        (path / "metadata.json").write_text(metadata)
    with pytest.raises(error):
        open_asset(path)


def test_a_folder_without_a_program_is_refused(tmp_path):
    (tmp_path / "m.aimodel").mkdir()
    (tmp_path / "m.aimodel" / "metadata.json").write_text(METADATA)
    with pytest.raises(PackageError, match="no file main"):
        open_asset(tmp_path / "m.aimodel")


def test_it_is_not_written_as_a_core_ml_model(tmp_path):
    with pytest.raises(UnsupportedModelError, match="a Core AI model"):
        save_compiled(open_asset(MODELS / "conv.aimodel"), tmp_path / "m.mlmodelc")


@pytest.mark.parametrize("seed", range(120))
def test_a_damaged_file_is_read_or_refused(seed):
    """Whatever is changed, a documented error says what is wrong."""
    rng = random.Random(seed)
    data = bytearray((MODELS / rng.choice(NAMES) / "main.mlirb").read_bytes())
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        _damage(rng, data)
    asset = Asset("damaged", None, AIModelFile("damaged", memoryview(bytes(data))))
    try:
        program_text(read_program(asset))
        for function in asset.description.functions:
            lower_model(asset, function)
    except PippinError as error:
        assert str(error)


def _damage(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(max(1, len(data) - 16))
    match rng.randrange(6):
        case 0 | 1:
            data[at] = rng.randrange(256)
        case 2:
            data[at] ^= 1 << rng.randrange(8)
        case 3:
            del data[at : at + rng.randrange(1, 9)]
        case 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        case 5:
            data[at : at + 9] = b"\0" + b"\xff" * 8  # the largest number
