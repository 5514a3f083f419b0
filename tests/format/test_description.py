"""Descriptions: made by hand with the protobuf, and of every real model there is."""

import pytest
from coremltools import proto

from pippin.errors import ConfigurationError, SpecificationError, UnsupportedVersionError
from pippin.format.asset import open_asset
from pippin.format.description import Image, MultiArray
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
    return open_asset(made).description.function().inputs[0]


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
        lambda m: array(m.description.input.add(name="x").type, (1,), 0),
        SpecificationError,
        "element type",
    ),
    "unknown colour": (lambda m: image(m.description.input.add(name="x").type, 0), SpecificationError, "colour space"),
    "unknown default": (
        lambda m: (m.description.functions.add(name="a"), setattr(m.description, "defaultFunctionName", "b")),
        SpecificationError,
        "'b'",
    ),
    "version 11": (lambda m: setattr(m, "specificationVersion", 11), UnsupportedVersionError, "11"),
    "version 0": (lambda m: setattr(m, "specificationVersion", 0), SpecificationError, "version 0"),
    "no model": (lambda m: m.ClearField("mlProgram"), SpecificationError, "no model in it"),
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
