"""Descriptions: made by hand with the protobuf, and of every real model there is."""

import numpy as np
import pytest
from coremltools.converters.mil.backend.mil.helper import create_list_scalarvalue, create_tensor_value
from google.protobuf import text_format

from coremltools import proto
from pippin.errors import ConfigurationError, SpecificationError, UnsupportedVersionError
from pippin.format.asset import open_asset
from pippin.format.description import (
    ColorSpace,
    Dictionary,
    EnumeratedShapes,
    Image,
    MultiArray,
    Sequence,
    ShapeRange,
    SizeRange,
    State,
)
from pippin.types import DataType

Model = proto.Model_pb2.Model


def model(version=7, **description):
    made = Model(specificationVersion=version)
    made.mlProgram.version = 1
    for name in description.get("inputs", ()):
        feature = made.description.input.add(name=name)
        feature.type.multiArrayType.dataType = 65568
    return made


def with_input(fill):
    made = model()
    feature = made.description.input.add(name="x", shortDescription="what it is")
    fill(feature.type)
    function = open_asset(made).description.function()
    return (*function.inputs, *function.states)[0]


def array(kind, shape=(), dtype=65568, optional=False, **default):
    kind.multiArrayType.shape.extend(shape)
    kind.multiArrayType.dataType = dtype
    kind.isOptional = optional
    for name, value in default.items():
        setattr(kind.multiArrayType, name, value)


def ranged(kind):
    array(kind, (1, 3))
    for low, high in ((1, 4), (2, -1)):
        kind.multiArrayType.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)


def enumerated(kind):
    array(kind, (1, 3))
    for shape in ((1, 3), (2, 6)):
        kind.multiArrayType.enumeratedShapes.shapes.add(shape=shape)


def stateful(kind):
    kind.stateType.arrayType.shape.append(2)
    kind.stateType.arrayType.dataType = 65552


def image(kind, color=20):
    kind.imageType.width, kind.imageType.height, kind.imageType.colorSpace = 4, 6, color


def image_range(kind):
    image(kind)
    kind.imageType.imageSizeRange.widthRange.lowerBound = 4
    kind.imageType.imageSizeRange.widthRange.upperBound = 8
    kind.imageType.imageSizeRange.heightRange.lowerBound = 6
    kind.imageType.imageSizeRange.heightRange.upperBound = -1


def image_sizes(kind):
    image(kind)
    kind.imageType.enumeratedSizes.sizes.add(width=8, height=12)


FEATURES = {
    "array": (lambda k: array(k, (1, 3)), "MultiArray (float32, 1 x 3)", [(1, 3)], [(3, 1), (1,), (1, 3, 1)]),
    "half": (lambda k: array(k, (2,), 65552), "MultiArray (float16, 2)", [(2,)], [(1,)]),
    "double": (lambda k: array(k, (2,), 65600), "MultiArray (float64, 2)", [(2,)], []),
    "int32": (lambda k: array(k, (2,), 131104), "MultiArray (int32, 2)", [(2,)], []),
    "int8": (lambda k: array(k, (2,), 131080), "MultiArray (int8, 2)", [(2,)], []),
    "range": (ranged, "MultiArray (float32, 1..4 x 2..)", [(1, 2), (4, 900)], [(5, 2), (1, 1), (1,)]),
    "enumerated": (enumerated, "MultiArray (float32, 1 x 3 or 2 x 6)", [(1, 3), (2, 6)], [(1, 6)]),
    "any": (array, "MultiArray (float32, any shape)", [(), (4, 5)], []),
    "image": (image, "Image (RGB, 4 x 6)", [(4, 6)], [(6, 4)]),
    "gray": (lambda k: image(k, 10), "Image (GRAYSCALE, 4 x 6)", [(4, 6)], []),
    "float gray": (lambda k: image(k, 40), "Image (GRAYSCALE_FLOAT16, 4 x 6)", [(4, 6)], []),
    "image range": (image_range, "Image (RGB, 4..8 x 6..)", [(4, 6), (8, 900)], [(3, 6), (9, 6)]),
    "image sizes": (image_sizes, "Image (RGB, 8 x 12)", [(8, 12), (4, 6)], [(8, 6)]),
    "int64": (lambda k: k.int64Type.SetInParent(), "Int64", [], []),
    "double number": (lambda k: k.doubleType.SetInParent(), "Double", [], []),
    "string": (lambda k: k.stringType.SetInParent(), "String", [], []),
    "dictionary": (lambda k: k.dictionaryType.stringKeyType.SetInParent(), "Dictionary (String to Double)", [], []),
    "sequence": (lambda k: k.sequenceType.stringType.SetInParent(), "Sequence (String, 0..)", [], []),
    "state": (stateful, "State (float16, 2)", [], []),
}


@pytest.mark.parametrize("name", FEATURES)
def test_feature(name):
    fill, text, allowed, refused = FEATURES[name]
    feature = with_input(fill)
    assert (feature.name, feature.doc, str(feature.type)) == ("x", "what it is", text)
    if isinstance(feature.type, MultiArray | Image):
        assert all(feature.type.allows(shape) for shape in allowed)
        assert not any(feature.type.allows(shape) for shape in refused)


@pytest.mark.parametrize(
    ("field", "value"), [("floatDefaultValue", 1.5), ("doubleDefaultValue", 2.5), ("intDefaultValue", 3)]
)
def test_default_of_an_optional_input(field, value):
    feature = with_input(lambda k: array(k, (2,), optional=True, **{field: value}))
    assert feature.optional and feature.type.default == value


def test_functions():
    made = model(9)
    for name in ("first", "second"):
        made.description.functions.add(name=name)
    made.description.defaultFunctionName = "second"
    description = open_asset(made).description
    assert [f.name for f in description.functions] == ["first", "second"]
    assert description.function().name == "second"
    assert description.function("first").name == "first"
    with pytest.raises(ConfigurationError, match="first, second"):
        description.function("third")


def test_metadata():
    made = model()
    made.description.metadata.author = "somebody"
    made.description.metadata.userDefined["key"] = "value"
    metadata = open_asset(made).description.metadata
    assert (metadata.author, metadata.user_defined) == ("somebody", {"key": "value"})


def broken(change):
    made = model()
    change(made)
    return made


BROKEN = {
    "twice": (
        lambda m: [m.description.input.add(name="x").type.int64Type.SetInParent() for _ in range(2)],
        SpecificationError,
        "twice",
    ),
    "no type": (lambda m: m.description.input.add(name="x"), SpecificationError, "'x' has no type"),
    "unknown dtype": (
        lambda m: array(m.description.input.add(name="x").type, (1,), 7),
        SpecificationError,
        "element type 7",
    ),
    "unknown colour": (lambda m: image(m.description.input.add(name="x").type, 0), SpecificationError, "colour space"),
    "unknown default": (
        lambda m: (m.description.functions.add(name="a"), setattr(m.description, "defaultFunctionName", "b")),
        SpecificationError,
        "'b'",
    ),
    "version 11": (lambda m: setattr(m, "specificationVersion", 11), UnsupportedVersionError, "11"),
    "version 0": (lambda m: setattr(m, "specificationVersion", 0), SpecificationError, "version 0"),
    "no model": (lambda m: m.ClearField("mlProgram"), SpecificationError, "no model of a known kind"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_contradictions_are_named(name):
    change, error, message = BROKEN[name]
    with pytest.raises(error, match=message):
        open_asset(broken(change)).description  # noqa: B018


def test_every_real_model_is_described(shared_models):
    files = [
        p for p in shared_models.rglob("*") if p.suffix in (".mlpackage", ".mlmodel") and "mlpackage/" not in str(p)
    ]
    assert len(files) > 20
    for path in files:
        description = open_asset(path).description
        function = description.function()
        assert function.outputs and all(str(f.type) for f in (*function.inputs, *function.outputs))
        assert description.kind


def test_dtypes_of_arrays_are_the_protobufs():
    assert with_input(lambda k: array(k, (1,), 65552)).type.dtype is DataType.FLOAT16


def written(text):
    """The type of a feature that is written as protobuf text."""
    return with_input(lambda kind: text_format.Parse(text, kind)).type


RANGE = "sizeRanges { lowerBound: 2 upperBound: 5 } sizeRanges { lowerBound: 3 upperBound: -1 }"
F32 = "dataType: FLOAT32"

# What FeatureTypes.proto says of a default that is not written, of limits, and of keys and elements.
TYPES = {
    "first of the shapes is the default": (
        f"multiArrayType {{ {F32} enumeratedShapes {{ shapes {{ shape: 4 }} shapes {{ shape: 2 }} }} }}",
        MultiArray(DataType.FLOAT32, (4,), EnumeratedShapes(((4,), (2,)))),
    ),
    "lowest of the range is the default": (
        f"multiArrayType {{ {F32} shapeRange {{ {RANGE} }} }}",
        MultiArray(DataType.FLOAT32, (2, 3), ShapeRange((SizeRange(2, 5), SizeRange(3, None)))),
    ),
    "a default is kept": (
        f"multiArrayType {{ shape: 4 shape: 9 {F32} shapeRange {{ {RANGE} }} }}",
        MultiArray(DataType.FLOAT32, (4, 9), ShapeRange((SizeRange(2, 5), SizeRange(3, None)))),
    ),
    "an upper limit that is not written": (
        f"multiArrayType {{ {F32} shapeRange {{ sizeRanges {{ lowerBound: 2 }} }} }}",
        MultiArray(DataType.FLOAT32, (2,), ShapeRange((SizeRange(2, None),))),
    ),
    "nothing but nothing": (
        f"multiArrayType {{ shape: 0 {F32} shapeRange {{ sizeRanges {{ lowerBound: 0 upperBound: 0 }} }} }}",
        MultiArray(DataType.FLOAT32, (0,), ShapeRange((SizeRange(0, 0),))),
    ),
    "first of the sizes is the default": (
        "imageType { colorSpace: BGR enumeratedSizes { sizes { width: 8 height: 6 } sizes { width: 4 height: 3 } } }",
        Image(8, 6, ColorSpace.BGR, ((8, 6), (4, 3))),
    ),
    "smallest of the sizes is the default": (
        "imageType { colorSpace: RGB imageSizeRange { widthRange { lowerBound: 7 upperBound: -1 }"
        " heightRange { lowerBound: 5 upperBound: 6 } } }",
        Image(7, 5, ColorSpace.RGB, (SizeRange(7, None), SizeRange(5, 6))),
    ),
    "int64 keys": ("dictionaryType { int64KeyType {} }", Dictionary("int64")),
    "string keys": ("dictionaryType { stringKeyType {} }", Dictionary("string")),
    "a sequence of any length": ("sequenceType { int64Type {} }", Sequence("int64", SizeRange(0, None))),
    "a sequence of a length": (
        "sequenceType { stringType {} sizeRange { lowerBound: 1 upperBound: 9 } }",
        Sequence("string", SizeRange(1, 9)),
    ),
    "a state": (
        "stateType { arrayType { shape: 2 shape: 3 dataType: FLOAT16 } }",
        State(MultiArray(DataType.FLOAT16, (2, 3))),
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_type(name):
    text, expected = TYPES[name]
    assert written(text) == expected


# Text: what the message says.
CONTRADICTIONS = {
    f"multiArrayType {{ {F32} enumeratedShapes {{}} }}": "'x' allows no shape",
    "imageType { colorSpace: RGB enumeratedSizes {} }": "'x' allows no size",
    f"multiArrayType {{ {F32} shapeRange {{ sizeRanges {{ lowerBound: 5 upperBound: 4 }} }} }}": "'x' .* from 5 to 4",
    "sequenceType { stringType {} sizeRange { lowerBound: 2 upperBound: 1 } }": "'x' .* from 2 to 1",
    "imageType { colorSpace: RGB imageSizeRange { widthRange { lowerBound: 2 upperBound: 1 } } }": "'x' .* from 2 to 1",
    "stateType {}": "'x' has the unknown element type 0",
}


@pytest.mark.parametrize("text", CONTRADICTIONS)
def test_a_type_that_contradicts_itself(text):
    with pytest.raises(SpecificationError, match=CONTRADICTIONS[text]):
        written(text)


def test_states_stand_apart_from_inputs():
    made = model(9)
    stateful(made.description.state.add(name="declared").type)
    stateful(made.description.input.add(name="as it once was").type)
    array(made.description.input.add(name="x").type, (1,))
    function = open_asset(made).description.function()
    assert [f.name for f in function.inputs] == ["x"]
    assert [f.name for f in function.states] == ["declared", "as it once was"]


def test_a_state_is_a_state():
    made = model(9)
    array(made.description.state.add(name="s").type, (1,))
    with pytest.raises(
        SpecificationError, match=r"state 's' of function 'main' must be a State, got MultiArray \(float32, 1\)"
    ):
        open_asset(made).description  # noqa: B018


def test_a_feature_without_a_name():
    made = model()
    array(made.description.output.add().type, (1,))
    with pytest.raises(SpecificationError, match="has no name"):
        open_asset(made).description  # noqa: B018


def classify(made, function="main", value=None, name=""):
    """A classify operation in the program, its classes bound to a value or a name; gives the block."""
    program = made.mlProgram.functions[function]
    program.opset = "CoreML7"
    block = program.block_specializations["CoreML7"]
    classes = block.operations.add(type="classify").inputs["classes"].arguments
    if value is not None or name:
        classes.add(value=value) if value is not None else classes.add(name=name)
    return block


def constant(block, name, value=None):
    made = block.operations.add(type="const")
    made.outputs.add(name=name)
    if value is not None:
        made.attributes["val"].CopyFrom(value)


STRINGS = create_list_scalarvalue(["cat", "dog"], str)
INTEGERS = create_list_scalarvalue([np.int64(7), np.int64(-(2**40))], np.int64)
PROGRAM_LABELS = {
    "strings": (lambda m: classify(m, value=STRINGS), ("cat", "dog")),
    "integers": (lambda m: classify(m, value=INTEGERS), (7, -(2**40))),
    "one tensor": (lambda m: classify(m, value=create_tensor_value(np.array([3, 1], np.int64))), (3, 1)),
    "a constant": (lambda m: constant(classify(m, name="labels"), "labels", STRINGS), ("cat", "dog")),
    "a constant without a value": (lambda m: constant(classify(m, name="labels"), "labels"), None),
    "nothing of that name": (lambda m: classify(m, name="labels"), None),
    "no argument": (classify, None),
    "no classes": (lambda m: classify(m).operations[0].inputs.clear(), None),
    "no classify": (lambda m: m.mlProgram.functions["main"].block_specializations["CoreML7"].outputs.append("y"), None),
    "main goes first": (
        lambda m: (classify(m, "a", value=INTEGERS), classify(m, "main", value=STRINGS)),
        ("cat", "dog"),
    ),
    "the default function goes first": (
        lambda m: (
            m.description.functions.add(name="main"),
            m.description.functions.add(name="z"),
            setattr(m.description, "defaultFunctionName", "z"),
            classify(m, "main", value=STRINGS),
            classify(m, "z", value=INTEGERS),
        ),
        (7, -(2**40)),
    ),
}


@pytest.mark.parametrize("name", PROGRAM_LABELS)
def test_class_labels_of_a_program(name):
    change, expected = PROGRAM_LABELS[name]
    made = broken(change)
    before = made.SerializeToString(deterministic=True)
    assert open_asset(made).description.class_labels == expected
    assert made.SerializeToString(deterministic=True) == before  # the caller's message is only read


# Text of the model: its labels.
MODEL_LABELS = {
    'neuralNetworkClassifier { stringClassLabels { vector: "a" vector: "b" } }': ("a", "b"),
    "glmClassifier { int64ClassLabels { vector: 4 vector: -1 } }": (4, -1),
    'kNearestNeighborsClassifier { stringClassLabels { vector: "a" } }': ("a",),
    "supportVectorClassifier { int64ClassLabels { vector: 2 } }": (2,),
    'nonMaximumSuppression { stringClassLabels { vector: "person" } }': ("person",),
    "neuralNetwork {}": None,
    "treeEnsembleClassifier {}": None,
    "treeEnsembleRegressor {}": None,
    "pipelineClassifier { pipeline { models { scaler {} } models { glmClassifier { int64ClassLabels { vector: 5 } } } } }": (
        5,
    ),
    'pipeline { models { textClassifier { stringClassLabels { vector: "t" } } } models { identity {} } }': ("t",),
    "pipeline {}": None,
    "pipelineRegressor { pipeline { models { scaler {} } } }": None,
}


@pytest.mark.parametrize("text", MODEL_LABELS)
def test_class_labels_of_other_kinds(text):
    made = text_format.Parse(f"specificationVersion: 4 {text}", Model())
    assert open_asset(made).description.class_labels == MODEL_LABELS[text]


def test_a_real_model_is_described(shared_model):
    """Every feature of the protobuf is there, and each default shape is one that its type allows."""
    asset = open_asset(shared_model)
    proto, function = asset.specification.description, asset.description.function()
    assert [f.name for f in function.inputs] == [f.name for f in proto.input]
    assert [f.name for f in function.outputs] == [f.name for f in proto.output]
    assert [f.optional for f in function.inputs] == [f.type.isOptional for f in proto.input]
    for feature in function.inputs:
        if isinstance(feature.type, MultiArray):
            assert feature.type.allows(feature.type.shape)
        if isinstance(feature.type, Image):
            assert feature.type.allows((feature.type.width, feature.type.height))


# File: kind, inputs, number of labels and the first of them; the facts are of the models' own publishers.
REAL = {
    "network/squeezenet-fp16.mlmodel": ("neuralNetworkClassifier", ["Image (BGR, 227 x 227)"], 1000, "tench, Tinca tinca"),
    "network/mnist-cnn.mlmodel": ("neuralNetworkClassifier", ["Image (GRAYSCALE, 28 x 28)"], 10, "0"),
    "network/style-candy.mlmodel": ("neuralNetwork", ["Image (BGR, 720 x 720)"], None, None),
    "program/mnist.mlpackage": ("mlProgram", ["Image (GRAYSCALE, 28 x 28)"], 10, 0),
    "program/yolov8n.mlpackage": ("pipeline", ["Image (RGB, 640 x 640)", "Double", "Double"], 80, "person"),
    "program/u2netp.mlpackage": ("mlProgram", ["MultiArray (float32, 1 x 3 x 320 x 320)"], None, None),
    "classical/spam-glm.mlmodel": ("glmClassifier", ["MultiArray (float64, 8713)"], 2, "ham"),
    "classical/iris-svm.mlmodel": ("pipelineClassifier", ["Double"] * 4, 3, "setosa"),
    "apple/text-classifier.mlmodel": ("textClassifier", ["String"], 2, "negative"),
    "apple/cats-dogs-feature-print.mlmodel": ("pipelineClassifier", ["Image (BGR, 299.. x 299..)"], 2, "Cat"),
}  # fmt: skip


@pytest.mark.parametrize("file", REAL)
def test_facts_of_real_models(file, shared_models):
    kind, inputs, labels, first = REAL[file]
    description = open_asset(shared_models / file).description
    assert description.kind == kind
    assert [str(f.type) for f in description.function().inputs] == inputs
    found = description.class_labels
    assert (found and len(found), found and found[0]) == (labels, first)
