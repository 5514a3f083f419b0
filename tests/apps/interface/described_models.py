"""Described models: one of each kind that a typed interface is generated for, with docs, and what it must predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coremltools.converters.mil.mil import Builder as mb
from torch import nn

import coremltools as ct
from support.small_models import converted

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5


@dataclass(frozen=True)
class Row:
    """`make(folder)` saves the model; `use` is a program that has the generated `module` and must run through."""

    make: Callable[[Path], Path]
    use: str


def saved(model: Any, folder: Path, name: str) -> Path:
    path = folder / name
    model.save(str(path)) if path.suffix == ".mlpackage" else path.write_bytes(model.SerializeToString())
    return path


def multiarray(folder: Path) -> Path:
    model = converted(lambda x: (mb.relu(x=x, name="y"), mb.exp(x=x, name="z")), x=(2, 3))
    model.short_description = 'Rectifies, with """quotes""", a backslash \\ and "'
    model.author, model.version = "Somebody\nwith lines", "3.1"
    model.input_description["x"] = 'What is rectified, "quoted"'
    model.output_description["y"] = "At least zero"
    return saved(model, folder, "multi-array.mlpackage")


class Negative(nn.Module):
    def forward(self, x):
        return 255 - x


def traced(network: nn.Module, *examples: torch.Tensor, **how: Any) -> Any:
    how = {"minimum_deployment_target": ct.target.iOS17, "compute_precision": ct.precision.FLOAT32} | how
    return ct.convert(torch.jit.trace(network.eval(), examples), **how)


def image(folder: Path) -> Path:
    x = torch.zeros(1, 3, 4, 6)
    model = traced(Negative(), x, inputs=[ct.ImageType("photo", x.shape)], outputs=[ct.ImageType("negative")])
    return saved(model, folder, "image.mlpackage")


def classifier(folder: Path) -> Path:
    labels = ["cat", 'a "dog"', "bird"]
    model = traced(
        nn.Softmax(-1),
        torch.zeros(1, 3),
        inputs=[ct.TensorType("scores", (1, 3))],
        classifier_config=ct.ClassifierConfig(labels, predicted_feature_name="class"),
    )
    return saved(model, folder, "pets.mlpackage")


class Total(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x):
        self.total.add_(x)
        return self.total * 1


def state(folder: Path) -> Path:
    model = traced(
        Total(),
        torch.zeros(3),
        inputs=[ct.TensorType("x", (3,), np.float16)],
        outputs=[ct.TensorType("sum", dtype=np.float16)],
        states=[ct.StateType(ct.TensorType(shape=(3,), dtype=np.float16), name="total")],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16,
    )
    return saved(model, folder, "total.mlpackage")


def flexible(folder: Path) -> Path:
    inputs = [ct.TensorType("rows", (ct.RangeDim(1, 8, default=2), 3))]
    return saved(traced(nn.ReLU(), torch.zeros(2, 3), inputs=inputs), folder, "flexible.mlpackage")


def functions(folder: Path) -> Path:
    description = ct.utils.MultiFunctionDescriptor()
    for name, body in (
        ("add", lambda x: mb.add(x=x, y=1.0, name="y")),
        ("double it", lambda x: mb.mul(x=x, y=2.0, name="y")),
    ):
        path = saved(converted(body, target=ct.target.iOS18, x=(3,)), folder, f"{name}.mlpackage")
        description.add_function(str(path), src_function_name="main", target_function_name=name.replace(" ", "_"))
    description.default_function_name = "add"
    ct.utils.save_multifunction(description, str(folder / "functions.mlpackage"))
    return folder / "functions.mlpackage"


def pipeline(folder: Path) -> Path:
    first = converted(lambda x: mb.relu(x=x, name="middle"), x=(3,))
    second = converted(lambda middle: mb.add(x=middle, y=1.0, name="y"), middle=(3,))
    return saved(ct.utils.make_pipeline(first, second), folder, "steps.mlpackage")


def linear(folder: Path) -> Path:
    """A generalized linear regressor, whose feature names are no names of Python."""
    model = ct.proto.Model_pb2.Model(specificationVersion=1)
    model.glmRegressor.weights.add(value=[2.0, 3.0])
    model.glmRegressor.offset.append(0.5)
    given = model.description.input.add(name="class of größe 1", shortDescription="Two numbers")
    given.type.multiArrayType.shape.append(2)
    given.type.multiArrayType.dataType = ct.proto.FeatureTypes_pb2.ArrayFeatureType.DOUBLE
    model.description.output.add(name="2nd").type.doubleType.SetInParent()
    model.description.predictedFeatureName = "2nd"
    return saved(model, folder, "linear.mlmodel")


def trees(folder: Path) -> Path:
    from coremltools.models.tree_ensemble import TreeEnsembleRegressor

    features = [("age", ct.models.datatypes.Double()), ("import", ct.models.datatypes.Double())]
    made = TreeEnsembleRegressor(features, "price")
    made.set_default_prediction_value(1.0)
    made.add_branch_node(0, 0, 0, 10.0, "BranchOnValueLessThan", 1, 2)
    made.add_leaf_node(0, 1, 4.0)
    made.add_leaf_node(0, 2, 8.0)
    return saved(made.spec, folder, "trees.mlmodel")


def detector(folder: Path) -> Path:
    """Boxes and their scores, suppressed; the thresholds have values and are declared as required."""
    model = ct.proto.Model_pb2.Model(specificationVersion=3)
    kinds = ct.proto.FeatureTypes_pb2.ArrayFeatureType
    for name, columns in (("scores", 1), ("boxes", 4)):
        for described in (model.description.input, model.description.output):
            array = described.add(name=name if described is model.description.input else f"kept_{name}").type
            array.multiArrayType.dataType = kinds.DOUBLE
            array.multiArrayType.shape.extend([3, columns] if described is model.description.input else [])
    for array in model.description.output:
        ranges = array.type.multiArrayType.shapeRange.sizeRanges
        ranges.add(lowerBound=0, upperBound=-1)
        ranges.add(lowerBound=1, upperBound=4)
    for name in ("iou", "least"):
        model.description.input.add(name=name).type.doubleType.SetInParent()
    nms = model.nonMaximumSuppression
    nms.confidenceInputFeatureName, nms.coordinatesInputFeatureName = "scores", "boxes"
    nms.confidenceOutputFeatureName, nms.coordinatesOutputFeatureName = "kept_scores", "kept_boxes"
    nms.iouThresholdInputFeatureName, nms.confidenceThresholdInputFeatureName = "iou", "least"
    nms.iouThreshold, nms.confidenceThreshold = 0.5, 0.25
    pipeline = ct.proto.Model_pb2.Model(specificationVersion=3)
    pipeline.description.CopyFrom(model.description)
    pipeline.pipeline.models.add().CopyFrom(model)
    return saved(pipeline, folder, "detector.mlmodel")


USE_ARRAY = """
x = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5
with module.MultiArray.load() as model:
    found: module.MultiArrayOutput = model.predict(module.MultiArrayInput(x))
    y: npt.NDArray[np.float32] = found.y
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    np.testing.assert_allclose(found.z, np.exp(x), rtol=1e-5)
    listed = model.predict_batch([module.MultiArrayInput(x), module.MultiArrayInput(x=(2 * x).tolist())])
    np.testing.assert_array_equal(listed[1].y, 2 * np.maximum(x, 0))


async def later() -> None:
    model = await module.MultiArray.load_async()
    found = await model.predict_async(module.MultiArrayInput(x))
    np.testing.assert_array_equal(found.y, np.maximum(x, 0))


asyncio.run(later())
"""
USE_IMAGE = """
pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
picture: PIL.Image.Image = module.Image.load().predict(module.ImageInput(PIL.Image.fromarray(pixels))).negative
np.testing.assert_array_equal(np.asarray(picture), 255 - pixels)
"""
USE_CLASSIFIER = """
found = module.Pets.load().predict(module.PetsInput(np.array([[1.0, 3.0, 2.0]])))
label: module.PetsLabel = found.class_
assert label == 'a "dog"'
e = np.exp([1.0, 3.0, 2.0])
np.testing.assert_allclose(list(found.class_probs.values()), e / e.sum(), rtol=1e-5)
"""
USE_STATE = """
model = module.Total.load()
state: module.TotalState = model.make_state()
for x in ([1, 2, 3], [10, 20, 30]):
    found = model.predict(module.TotalInput(np.array(x, np.float16)), state)
np.testing.assert_array_equal(found.sum_, [11, 22, 33])
np.testing.assert_array_equal(state.total, [11, 22, 33])
state.total = np.zeros(3, np.float16)
one, two = model.predict_batch([module.TotalInput(np.ones(3, np.float16))] * 2, state)
np.testing.assert_array_equal(two.sum_, [2, 2, 2])
"""
USE_FLEXIBLE = """
x = np.arange(12, dtype=np.float32).reshape(4, 3) - 5
(y,) = vars_of(module.Flexible.load().predict(module.FlexibleInput(rows=x)))
np.testing.assert_array_equal(y, np.maximum(x, 0))
"""
USE_FUNCTIONS = """
x = np.array([1, 2, 3], np.float32)
np.testing.assert_array_equal(module.Functions.load().predict(module.FunctionsInput(x)).y, x + 1)
np.testing.assert_array_equal(module.FunctionsDoubleIt.load().predict(module.FunctionsDoubleItInput(x)).y, x * 2)
"""
USE_PIPELINE = """
np.testing.assert_array_equal(module.Steps.load().predict(module.StepsInput([-1.0, 0.0, 2.0])).y, [1, 1, 3])
"""
USE_DETECTOR = """
scores = [[0.9], [0.8], [0.3]]  # the first two overlap by 0.8
boxes = [[0.5, 0.5, 0.2, 1.0], [0.5, 0.5, 0.2, 0.8], [0.1, 0.5, 0.1, 0.1]]
model = module.Detector.load()
for thresholds, kept in (({}, [0.9, 0.3]), ({"least": 0.5}, [0.9]), ({"iou": 0.85}, [0.9, 0.8, 0.3])):
    found = model.predict(module.DetectorInput(scores=scores, boxes=boxes, **thresholds)).kept_scores
    np.testing.assert_allclose(found[:, 0], kept)
"""
USE_LINEAR = """
value: float = module.Linear.load().predict(module.LinearInput(class_of_größe_1=[1.0, 10.0])).feature_2nd
assert value == 0.5 + 2 + 30, value
"""
USE_TREES = """
model = module.Trees.load()
prices: list[float] = [model.predict(module.TreesInput(age=age, import_=0.0)).price for age in (5.0, 15.0)]
assert prices == [5.0, 9.0], prices
"""

ROWS = {
    "multiarray": Row(multiarray, USE_ARRAY),
    "image": Row(image, USE_IMAGE),
    "classifier": Row(classifier, USE_CLASSIFIER),
    "state": Row(state, USE_STATE),
    "flexible shape": Row(flexible, USE_FLEXIBLE),
    "multi-function": Row(functions, USE_FUNCTIONS),
    "pipeline": Row(pipeline, USE_PIPELINE),
    "linear": Row(linear, USE_LINEAR),
    "tree ensemble": Row(trees, USE_TREES),
    "detector": Row(detector, USE_DETECTOR),
}
