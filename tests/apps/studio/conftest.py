"""Models of the kinds that the studio has views for, made by coremltools, with what they are expected to give."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction
from torch import nn

import coremltools as ct
from support.networks import Tinted, seeded

LABELS = ["apple", "pear", "quince"]


class Colors(nn.Module):
    """A classifier of the mean colour: what is red, green or blue wins."""

    def forward(self, x):
        return torch.softmax(x.mean((2, 3)) / 32, 1)


class Counter(nn.Module):
    """Adds what it is given to what it remembers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(4))

    def forward(self, x):
        self.total.add_(x)
        return self.total * 2


class Plane(nn.Module):
    """Which third of the picture's brightness a pixel is in: three classes, as scores [1, class, y, x]."""

    def forward(self, x):
        gray = x.mean(1, keepdim=True) / 255
        return torch.cat([1 - gray, 0.9 * torch.ones_like(gray) * (gray > 0.3), 1.2 * gray * (gray > 0.6)], 1)


def converted(network, example, **how):
    with torch.no_grad():
        traced = torch.jit.trace(network.eval(), example)
    how = {"minimum_deployment_target": ct.target.iOS17, "compute_precision": ct.precision.FLOAT32} | how
    return ct.convert(traced, **how)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """{name: path}, each made when it is first asked for."""
    folder = tmp_path_factory.mktemp("studio")
    made = {}

    def model(name):
        if name not in made:
            made[name] = folder / f"{name}{'.mlmodel' if name == 'table' else '.mlpackage'}"
            if name == "functions":
                save_functions(made[name])
            else:
                MAKERS[name]().save(str(made[name]))
        return made[name]

    return model


def colors():
    x = torch.zeros(1, 3, 24, 32)
    model = converted(
        Colors(), x, inputs=[ct.ImageType("image", x.shape)], classifier_config=ct.ClassifierConfig(LABELS)
    )
    model.short_description, model.author, model.license = "Tells fruit by colour", "An orchard", "CC0"
    model.user_defined_metadata["com.apple.coreml.model.preview.type"] = "imageClassifier"
    return model


def tinted():
    x = torch.zeros(1, 3, 24, 32)
    return converted(seeded(Tinted), x, inputs=[ct.ImageType("image", x.shape)], outputs=[ct.ImageType("tinted")])


def segmenter():
    x = torch.zeros(1, 3, 24, 32)
    model = converted(Plane(), x, inputs=[ct.ImageType("image", x.shape)], outputs=[ct.TensorType("classes")])
    model.user_defined_metadata["com.apple.coreml.model.preview.type"] = "imageSegmenter"
    model.user_defined_metadata["com.apple.coreml.model.preview.params"] = json.dumps(
        {"labels": ["dark", "middle", "bright"], "colors": ["#101010", "#00ff00", "#ff0000"]}
    )
    return model


def counter():
    x = torch.zeros(4)
    return converted(
        Counter(),
        x,
        inputs=[ct.TensorType("x", x.shape)],
        outputs=[ct.TensorType("doubled", dtype=np.float16)],
        states=[ct.StateType(ct.TensorType(shape=(4,), dtype=np.float16), name="total")],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16,
    )


def arrays():
    x = torch.zeros(2, 3)
    return converted(nn.ReLU(), x, inputs=[ct.TensorType("x", x.shape)], outputs=[ct.TensorType("y")])


class Loudness(nn.Module):
    """The mean square of a window."""

    def forward(self, x):
        return (x * x).mean(1, keepdim=True)


def loudness():
    x = torch.zeros(1, 800)
    model = converted(Loudness(), x, inputs=[ct.TensorType("audio", x.shape)], outputs=[ct.TensorType("loudness")])
    model.input_description["audio"] = "Samples from -1 to 1, 16 kHz"
    return model


WEIGHTS, OFFSET = (2.0, -0.5), 1.25


def table():
    """price = 2 * rooms - 0.5 * age + 1.25, as a network on a row that a pipeline puts together."""
    from sklearn.linear_model import LinearRegression

    x = np.array([[1.0, 0], [0, 1], [1, 1], [2, 1]])
    fitted = LinearRegression().fit(x, x @ WEIGHTS + OFFSET)
    model = ct.converters.sklearn.convert(fitted, ["rooms", "age"], "price")
    model.user_defined_metadata["com.apple.coreml.model.preview.type"] = "tabularRegressor"
    return model


class Negated(nn.Module):
    def forward(self, x):
        return torch.relu(-x)


def save_functions(path):
    """y = max(x, 0) by default; the function "negated" gives max(-x, 0)."""
    described, x = MultiFunctionDescriptor(), torch.zeros(2, 3)
    for name, network in (("main", nn.ReLU()), ("negated", Negated())):
        part = str(path.with_name(f"part-{name}.mlpackage"))
        shape = {"inputs": [ct.TensorType("x", x.shape)], "outputs": [ct.TensorType("y")]}
        converted(network, x, minimum_deployment_target=ct.target.iOS18, **shape).save(part)
        described.add_function(part, "main", name)
    described.default_function_name = "main"
    save_multifunction(described, str(path))


MAKERS = {f.__name__: f for f in (colors, tinted, segmenter, counter, arrays, table, loudness)}
