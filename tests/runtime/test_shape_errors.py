"""Shape errors: sizes that a description allows, but not its program, and inputs that do not fit each other."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder, flexible_shape_utils

import pippin
from lowering.classical.specs import pipeline
from lowering.classical.test_vectors import scaler
from pippin.errors import FeatureShapeError, PredictionError, SpecificationError, UnsupportedOperationError
from pippin.lowering.lowered_model import Port
from pippin.runtime.failed_run import explained
from pippin.types import DataType, TensorType
from support.small_models import converted

ENGINES = ("openvino", "onnxruntime")


def loaded(spec, engine, **how):
    fast = pippin.Hints(specialization_strategy="fast_load")
    return pippin.load(spec, pippin.Configuration(engine=engine, hints=fast), **{"cache": False, **how})


# A description wider than its program


def image(change):
    """A program of 8 x 6 pixels, described as `change` has it."""
    spec = converted(lambda x: mb.relu(x=x, name="y"), x=(1, 3, 6, 8)).get_spec()
    kind = spec.description.input[0].type
    kind.imageType.width, kind.imageType.height, kind.imageType.colorSpace = 8, 6, 20
    change(kind.imageType)
    return spec


def array(change):
    spec = converted(lambda x: mb.relu(x=x, name="y"), x=(2, 5)).get_spec()
    change(spec.description.input[0].type.multiArrayType)
    return spec


def image_ranges(kind):
    for sizes in (kind.imageSizeRange.widthRange, kind.imageSizeRange.heightRange):
        sizes.lowerBound, sizes.upperBound = 4, -1


def image_sizes(kind):
    for width, height in ((8, 6), (16, 12)):
        kind.enumeratedSizes.sizes.add(width=width, height=height)


def default_outside(kind):
    image_ranges(kind)
    kind.width = kind.height = 4


def array_ranges(kind):
    for lower in (1, 5):
        kind.shapeRange.sizeRanges.add(lowerBound=lower, upperBound=9)


def array_shapes(kind):
    for shape in ((2, 5), (3, 5)):
        kind.enumeratedShapes.shapes.add(shape=shape)


PICTURE, WIDE = np.zeros((6, 8, 3), np.uint8), np.zeros((12, 16, 3), np.uint8)
WIDER = {
    "ranges of an image": (image(image_ranges), PICTURE, WIDE, "'x' must be 8 x 6 pixels, got 16 x 12.*describes .*4.. x 4"),
    "sizes of an image": (image(image_sizes), PICTURE, WIDE, "'x' must be 8 x 6 pixels, got 16 x 12.*8 x 6 or 16 x 12"),
    "a picture": (image(image_ranges), PIL.Image.fromarray(PICTURE), PIL.Image.fromarray(WIDE), "'x' must be 8 x 6 pixels, got 16 x 12"),
    "a default outside": (image(default_outside), PICTURE, WIDE, "'x' must be 8 x 6 pixels, got 16 x 12"),
    "ranges of an array": (array(array_ranges), np.ones((2, 5)), np.ones((3, 5)), "'x' must have the shape 2 x 5, got 3 x 5.*1..9 x 5..9"),
    "shapes of an array": (array(array_shapes), np.ones((2, 5)), np.ones((3, 5)), "'x' must have the shape 2 x 5, got 3 x 5.*or 3 x 5"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("row", WIDER)
def test_wider_than_the_program(row, engine):
    spec, right, wrong, message = WIDER[row]
    model = loaded(spec, engine)
    assert model.predict({"x": right})["y"].size
    with pytest.raises(FeatureShapeError, match=message):
        model.predict({"x": wrong})
    if isinstance(wrong, PIL.Image.Image):
        assert model.predict({"x": pippin.ImageInput(wrong)})["y"].size


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (image(lambda kind: setattr(kind, "width", 9)), r"'x' is described as Image \(RGB, 9 x 6\), but its program takes 1 x 3 x 6 x 8"),
        (array(lambda kind: kind.shape.__setitem__(0, 7)), r"'x' is described as MultiArray \(float32, 7 x 5\), but its program takes 2 x 5"),
    ],
)  # fmt: skip
def test_nothing_that_the_program_takes(spec, message):
    with pytest.raises(SpecificationError, match=message):
        loaded(spec, "onnxruntime")


# Inputs that do not fit each other


TWO = """program(1.0)
{
    func main<ios17>(tensor<fp32, [1, ?]> a, tensor<fp32, [1, ?]> b) {
        bool f = const()[name = string("f"), val = bool(false)];
        bool t = const()[name = string("t"), val = bool(true)];
        BODY
    } -> (y);
}
"""
ADD = """tensor<fp32, [1, ?]> sum = add(x = a, y = b)[name = string("sum")];
         tensor<fp32, [1, ?]> y = relu(x = sum)[name = string("y")];"""
MATMUL = """tensor<fp32, [1, 1]> y = matmul(x = a, y = b, transpose_x = f, transpose_y = t)[name = string("y")];"""


def program(body):
    def write(folder):
        (folder / "m.mil").write_text(TWO.replace("BODY", body))
        return folder / "m.mil"

    return write


def network(folder):
    """Its only input must have an even length."""
    builder = NeuralNetworkBuilder([("a", datatypes.Array(4))], [("y", None)], disable_rank5_shape_mapping=True)
    builder.add_reshape_static("the layer", "a", "y", [-1, 2])
    flexible_shape_utils.set_multiarray_ndshape_range(builder.spec, "a", [1], [9])
    return builder.spec.SerializeToString()


APART = {
    "add": (program(ADD), {"a": (1, 3), "b": (1, 4)}, r"^\[add\] 'sum' cannot be computed: the shapes of 'a' \(1 x 3\) and 'b' \(1 x 4\) do not fit each other there$"),
    "matmul": (program(MATMUL), {"a": (1, 3), "b": (1, 4)}, r"^\[matmul\] 'y' cannot be computed: the shapes of 'a' \(1 x 3\) and 'b' \(1 x 4\) do not fit"),
    "reshape": (network, {"a": (7,)}, r"^(\[reshapeStatic\] 'the layer'|the operation 'y') cannot be computed: the shape of 'a' \(7\) does not fit there$"),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("row", APART)
def test_inputs_that_do_not_fit(row, engine, tmp_path):
    make, shapes, message = APART[row]
    source = make(tmp_path)
    for load in ("first", "cached"):
        model = loaded(source, engine, cache=tmp_path / "cache")
        assert model.load_label == ("cached" if load == "cached" else "prepare and cache")
        with pytest.raises(PredictionError, match=message) as caught:
            model.predict({name: np.ones(shape, np.float32) for name, shape in shapes.items()})
        assert caught.value.__cause__ is not None  # what the engine said


FIXED = Port("x", TensorType(DataType.FLOAT32, (3,)), np.dtype(np.float32))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Non-zero status code returned while running Gather node. Name:'a/b/Gather_1' Status Message: "
            "/src/core/gather.cc:9 void f(int) const index 7 is too large",
            "[gather] 'a/b' cannot be computed from 'x' (3): ONNX Runtime says: index 7 is too large",
        ),
        ("no memory left", "the prediction cannot be computed from 'x' (3): ONNX Runtime says: no memory left"),
        ("Name:'c/Add_1' shape mismatch", "the operation 'c' cannot be computed from 'x' (3)"),
    ],
)
def test_what_an_engine_says(text, message):
    error = PredictionError(f"ONNX Runtime failed: {text}")
    error.__cause__ = RuntimeError(text)
    told = explained(error, lambda: {"x": np.zeros(3)}, [FIXED], lambda: {"a/b": "gather"})
    assert str(told).startswith(message)


def test_what_no_engine_said_stays():
    error = PredictionError("the custom layer 'Mine' failed: shape mismatch")
    assert explained(error, dict, [FIXED], dict) is error


# An engine that cannot run a model


def test_the_engine_that_can_is_named():
    spec = pipeline([scaler([1], [1])], {"x": (4,)}, {"y": (4,)})
    message = r"openvino cannot run this model: float64: .*\n  onnxruntime can: choose engine='onnxruntime'"
    with pytest.raises(UnsupportedOperationError, match=message):
        loaded(spec, "openvino")
