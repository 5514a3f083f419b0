"""Generate: the module is the same each time, passes mypy's strict mode, and its class predicts."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from described_models import ROWS

import pippin
from pippin.apps.interface.generate_module import generate, source
from pippin.apps.interface.python_names import class_name, identifier, unique
from pippin.errors import ConfigurationError
from pippin.format.description import (
    Dictionary,
    FeatureDescription,
    FunctionDescription,
    Int64,
    Metadata,
    ModelDescription,
    String,
)
from support import hostile_names

SOURCE = Path(pippin.__file__).parents[1]
HEAD = """
from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

import {module} as module


def vars_of(found: Any) -> list[Any]:
    return [getattr(found, name) for name in found.__dataclass_fields__]

"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder for each row: the model, its generated module, and the program that uses it."""
    made = tmp_path_factory.mktemp("generated")
    for number, row in enumerate(ROWS.values()):
        path = row.make(made)
        (made / f"interface_{number}.py").write_text(generate(path), encoding="utf-8")
        head = HEAD.format(module=f"interface_{number}")
        (made / f"use_{number}.py").write_text(head.lstrip() + row.use, encoding="utf-8")
    return made


def mypy(folder, *names):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports=silent",
            "--cache-dir",
            str(folder / "mypy"),
            *names,
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"MYPYPATH": str(SOURCE)},
    )


@pytest.mark.process
def test_mypy_strict(folder):
    pytest.importorskip("mypy")
    names = [path.name for path in sorted(folder.glob("*.py"))]
    assert len(names) == 2 * len(ROWS)
    found = mypy(folder, *names)
    assert found.returncode == 0, found.stdout + found.stderr


MISTAKES = {
    "module.MultiArrayInput()": "Missing positional argument",
    "module.MultiArrayInput(x=1, other=2)": "Unexpected keyword argument",
    "module.MultiArray.load().predict({'x': 1})": "incompatible type",
    "module.MultiArray.load().predict(module.MultiArrayInput(1)).w": "has no attribute",
    "text: str = module.MultiArray.load().predict(module.MultiArrayInput(1)).y": "Incompatible types",
}


@pytest.mark.process
def test_mypy_finds_mistakes(folder, tmp_path):
    """The types say something."""
    pytest.importorskip("mypy")
    path = tmp_path / "mistakes.py"
    path.write_text("import interface_0 as module\n" + "\n".join(MISTAKES) + "\n")
    found = mypy(folder, str(path)).stdout
    for number, words in enumerate(MISTAKES.values(), 2):
        assert re.search(rf"mistakes\.py:{number}: error: .*{words}", found), found


@pytest.mark.process
@pytest.mark.parametrize("number, name", enumerate(ROWS), ids=list(ROWS))
def test_the_class_predicts(number, name, folder):
    found = subprocess.run([sys.executable, f"use_{number}.py"], cwd=folder, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_the_same_each_time(folder):
    for number, row in enumerate(ROWS.values()):
        package = folder / re.search(r'^MODEL = .* / "(.*)"$', (folder / f"interface_{number}.py").read_text(), re.M)[1]
        assert generate(package) == (folder / f"interface_{number}.py").read_text(), row


def test_docstrings_are_the_model_s_own(folder):
    module = ast.parse((folder / "interface_0.py").read_text())
    told = ast.get_docstring(module)
    assert 'Rectifies, with """quotes""", a backslash \\ and "' in told
    assert "Version: 3.1" in told and "Author: Somebody" in told
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    fields = [node.value.value for node in classes["MultiArrayInput"].body[1:] if isinstance(node, ast.Expr)]
    assert fields == ['What is rectified, "quoted". MultiArray (float32, 2 x 3).']


@pytest.mark.process
def test_the_command(folder, tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "pippin", "generate", *map(str, arguments)], capture_output=True, text=True
        )

    package = folder / "multi-array.mlpackage"
    found = run(package, "-o", tmp_path / "rectifier.py", "--class-name", "Rectifier")
    assert found.returncode == 0, found.stderr
    assert "class RectifierInput:" in (tmp_path / "rectifier.py").read_text()
    assert run(package).stdout == generate(package)
    for wrong in (
        ["--class-name", "not a name"],
        ["--class-name", "class"],
        ["--function", "absent"],
        ["-o", tmp_path / "no" / "x.py"],
    ):
        found = run(package, *wrong)
        assert found.returncode == 2 and "error:" in found.stderr and "Traceback" not in found.stderr


def test_one_function_alone(folder):
    text = generate(folder / "functions.mlpackage", function="double_it")
    assert "class Functions:" in text and 'function_name="double_it"' in text and "DoubleIt" not in text.split('"""')[2]


NAMES = {
    "x": "x", "two words": "two_words", "class": "class_", "match": "match_", "1st": "feature_1st", "": "feature",
    "größe": "größe", "a-b": "a_b", "_hidden": "hidden", "__x__": "x", "np": "np_", "features": "features_",
    "print": "print_", "日本": "日本", "ﬁ": "fi", "!?": "feature", "self": "self_", "a.b/c:0": "a_b_c_0",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    assert identifier(name) == NAMES[name]
    assert identifier(name).isidentifier()


def test_names_are_unique():
    assert list(unique(["a b", "a-b", "a_b", "a_b_2"]).values()) == ["a_b", "a_b_2", "a_b_3", "a_b_2_2"]


@pytest.mark.parametrize(
    "name, made",
    [
        ("voice-activity v2", "VoiceActivityV2"),
        ("3d", "Model3d"),
        ("", "Model"),
        ("True", "TrueModel"),
        ("mnist_cnn", "MnistCnn"),
    ],
)
def test_class_names(name, made):
    assert class_name(name) == made


CLASSES = FunctionDescription(
    "main",
    (FeatureDescription("text", String(), optional=True), FeatureDescription("count", Int64())),
    (FeatureDescription("label", String()), FeatureDescription("p", Dictionary("string"))),
    predicted_feature_name="label",
    predicted_probabilities_name="p",
)


@pytest.mark.parametrize(
    "labels, words",
    [
        (("a", "b", "a"), 'MLabel: TypeAlias = Literal["a", "b"]'),
        ((3, 5), "MLabel: TypeAlias = Literal[3, 5]"),
        (tuple(f"label {n}" for n in range(150)), 'Literal[\n    "label 0",\n'),
        (tuple(f"label {n}" for n in range(1000)), "MLabel: TypeAlias = str\n"),
        (None, "label: str"),
    ],
)
def test_labels(labels, words):
    description = ModelDescription((CLASSES,), "main", Metadata(), 5, "neuralNetworkClassifier", labels)
    text = source(description, "m.mlmodel", "M")
    compile(text, "m.py", "exec")
    assert words in text
    assert "text: str | None = None" in text
    assert text.index("count: int") < text.index("text: str | None"), "what must be given comes first"


def test_any_words_can_stand_in_a_description():
    nasty = 'ends with a quote"'
    texts = [nasty, '"""', "\\", "\\N{x}", "\x00 \r\n line", "'" * 5, "#", "{name}", "<name>"]
    for text in texts:
        function = replace(CLASSES, inputs=(FeatureDescription(text or "x", Int64(), doc=text),))
        description = ModelDescription(
            (function,), "main", Metadata(text, text, text, text), 5, "glmClassifier", (text,)
        )
        compile(source(description, f"{text}.mlmodel", "M"), "m.py", "exec")


def test_a_wrong_class_name(folder):
    with pytest.raises(ConfigurationError, match="such as SnakeCase"):
        generate(folder / "multi-array.mlpackage", "snake_case")


@pytest.mark.parametrize("kind", ["classifier", "program"])
def test_hostile_names(kind, tmp_path):
    """Names full of quotes, tags and escapes are text of the module, which imports, shows them and predicts."""
    path = hostile_names.saved(getattr(hostile_names, kind)(), tmp_path)
    text = generate(path, "Hostile")
    assert not re.search(hostile_names.RAW, text)
    scope = {"__name__": "hostile", "__file__": str(path)}
    module = sys.modules["hostile"] = type(sys)("hostile")  # where dataclasses look for their names
    try:
        module.__dict__.update(scope)
        exec(compile(text, "hostile.py", "exec"), module.__dict__)
        fast = pippin.Configuration(hints=pippin.Hints(specialization_strategy="fast_load"), engine="onnxruntime")
        with module.Hostile.load(path, fast) as model:
            found = model.predict(module.HostileInput([0.0] * len(hostile_names.NAMES)))
        assert path == module.MODEL
        assert len(found.__dataclass_fields__) == (2 if kind == "classifier" else len(hostile_names.NAMES))
    finally:
        del sys.modules["hostile"]
