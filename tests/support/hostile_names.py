"""Hostile names: models whose layers, features, labels, metadata and file have names that something might act on."""

from __future__ import annotations

from pathlib import Path

from coremltools.proto import Model_pb2

NAMES = {
    "closing tag": "a[/b]z",
    "link": "[link=https://elsewhere.example]L[/link]",
    "click": "[@click=app.bell]c[/]",
    "style": "[red]r",
    "emoji": ":smile:",
    "extra": "pip install 'pippin[mnn]'",
    "colour": "\x1b[31mred\x1b[0m",
    "window title": "\x1b]0;mine\x07",
    "one-byte escape": "\x9b31mred",
    "backspaces": "good\x08\x08\x08\x08bad",
    "carriage return": "shown\rhidden",
    "line": "a\nerror: b",
    "reversed": "a\u202egnp.exe",
    "isolated": "a\u2066b\u2069",
    "invisible": "a\u200bb\ufeff",
    "image": "<img src=x onerror=alert(1)>",
    "script": "</script><script>alert(1)</script>",
    "comment": "--><!--",
    "attribute": '" onmouseover="alert(1)',
    "quotes": "a'b\"c`d",
    "triple quotes": '"""\nraise SystemExit(9)\n"""',
    "backslash": "a\\",
    "template": "{{ 7 * 7 }} ${7 * 7} {0} %s",
    "formula": "=1+1",
    "spaces": "  two  spaces  ",
    "slashes": "../../up",
    "long": "n" * 3000,
}
# A file's name: no slash, and at most 255 bytes.
FILE = "[b]\x1b[31m\u202e\n<img src=x onerror=alert(1)>'\"{{7*7}} $(x) [link=x]"
# What no printed line may hold: controls but the line break, and marks that reorder or hide.
RAW = "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]"


def describe(model, *features):
    """Metadata and input features with hostile text everywhere."""
    about = model.description.metadata
    about.shortDescription = "\n".join(NAMES.values())
    about.author, about.license, about.versionString = NAMES["colour"], NAMES["image"], NAMES["link"]
    for name in NAMES.values():
        about.userDefined[name] = name
    for name in features:
        feature = model.description.input.add(name=name, shortDescription=NAMES["closing tag"] + NAMES["script"])
        feature.type.multiArrayType.dataType = feature.type.multiArrayType.FLOAT32
        feature.type.multiArrayType.shape.append(len(NAMES))


def classifier() -> Model_pb2.Model:
    """A network: one ReLU per name, then a softmax over as many labels. Every name is hostile."""
    model = Model_pb2.Model(specificationVersion=5)
    describe(model, NAMES["closing tag"] + NAMES["colour"])
    network = model.neuralNetworkClassifier
    network.arrayInputShapeMapping = 1  # exact
    before = model.description.input[0].name
    for name in NAMES.values():
        layer = network.layers.add(name=name, input=[before], output=[f"blob {name}"])
        layer.activation.ReLU.SetInParent()
        before = f"blob {name}"
    last = network.layers.add(name="last" + NAMES["extra"], input=[before], output=["p" + NAMES["line"]])
    last.softmaxND.axis = -1
    network.stringClassLabels.vector.extend(NAMES.values())
    label, scores = NAMES["attribute"], NAMES["image"]
    model.description.output.add(name=label).type.stringType.SetInParent()
    model.description.output.add(name=scores).type.dictionaryType.stringKeyType.SetInParent()
    model.description.predictedFeatureName, model.description.predictedProbabilitiesName = label, scores
    return model


def of_one_name(name: str) -> Model_pb2.Model:
    """A network of two layers, which and whose values have this name."""
    model = Model_pb2.Model(specificationVersion=5)
    model.neuralNetwork.arrayInputShapeMapping = 1  # exact
    for role, own in ((model.description.input, f"{name}x"), (model.description.output, f"{name}y")):
        array = role.add(name=own).type.multiArrayType
        array.dataType = array.FLOAT32
        array.shape.append(3)
    for place, names in enumerate(((f"{name}x", f"{name}v"), (f"{name}v", f"{name}y"))):
        layer = model.neuralNetwork.layers.add(name=f"{name}{place}", input=names[:1], output=names[1:])
        layer.activation.ReLU.SetInParent()
    return model


def program() -> Model_pb2.Model:
    """An ML Program: one tanh per name, whose value has that name; every value is an output."""
    from coremltools.converters.mil.mil import Builder as mb

    from support.small_models import converted

    def body(x):
        found = []
        for number in range(len(NAMES)):
            x = mb.tanh(x=x, name=f"v{number}")
            found.append(x)
        return tuple(found)

    model = converted(body, x=(len(NAMES),)).get_spec()
    renamed = {f"v{number}": name for number, name in enumerate(NAMES.values())} | {"x": NAMES["link"] + "x"}
    function = model.mlProgram.functions["main"]
    for feature in (*model.description.input, *model.description.output, *function.inputs):
        feature.name = renamed[feature.name]
    block = function.block_specializations[function.opset]
    for operation in block.operations:
        for argument in operation.inputs.values():
            for bound in argument.arguments:
                bound.name = renamed.get(bound.name, bound.name)
        for value in operation.outputs:
            value.name = renamed.get(value.name, value.name)
        if "name" in operation.attributes:
            text = operation.attributes["name"].immediateValue.tensor.strings.values
            text[0] = renamed.get(text[0], text[0])
    block.outputs[:] = [renamed[name] for name in block.outputs]
    return model


def saved(model: Model_pb2.Model, folder: Path) -> Path:
    """The model in a file and a folder that have hostile names too."""
    (folder / "a[").mkdir(exist_ok=True)  # together with the file: .../a[/b].mlmodel
    path = folder / "a[" / f"b]{FILE}.mlmodel"
    path.write_bytes(model.SerializeToString())
    return path
