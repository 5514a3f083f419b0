"""Specs: classical models written down as protobuf messages, and predictions with them."""

from __future__ import annotations

import numpy as np
from coremltools.proto import Model_pb2

import pippin

DOUBLE, INT, STRING = "double", "int", "string"
STRINGS, INTS = "{string: double}", "{int: double}"


def model(kind, inputs, outputs, predicted="", probabilities="", version=4):
    """A message of one kind; features are {name: type}, a type one of the above or the shape of an array."""
    made = Model_pb2.Model(specificationVersion=version)
    for described, features in ((made.description.input, inputs), (made.description.output, outputs)):
        for name, kind_of in features.items():
            _described(described.add(name=name), kind_of)
    made.description.predictedFeatureName = predicted
    made.description.predictedProbabilitiesName = probabilities
    getattr(made, kind).SetInParent()
    return made


def _described(feature, kind):
    optional = isinstance(kind, str) and kind.endswith("?")
    kind = kind[:-1] if optional else kind
    match kind:
        case "double":
            feature.type.doubleType.SetInParent()
        case "int":
            feature.type.int64Type.SetInParent()
        case "string":
            feature.type.stringType.SetInParent()
        case "{string: double}":
            feature.type.dictionaryType.stringKeyType.SetInParent()
        case "{int: double}":
            feature.type.dictionaryType.int64KeyType.SetInParent()
        case "[string]":
            feature.type.sequenceType.stringType.SetInParent()
        case "[int]":
            feature.type.sequenceType.int64Type.SetInParent()
        case _:
            shape, dtype = kind if isinstance(kind, tuple) and isinstance(kind[-1], str) else (kind, "float64")
            array = feature.type.multiArrayType
            array.shape.extend(shape)
            array.dataType = {"float64": 65600, "float32": 65568, "int32": 131104}[dtype]
    feature.type.isOptional = optional


def pipeline(parts, inputs, outputs, predicted="", kind="pipeline", probabilities=""):
    made = model(kind, inputs, outputs, predicted, probabilities)
    message = made.pipeline if kind == "pipeline" else getattr(made, kind).pipeline
    message.models.extend(parts)
    return made


def labelled(message, labels):
    field = message.stringClassLabels if isinstance(labels[0], str) else message.int64ClassLabels
    field.vector.extend(labels)


def predict(made, **features):
    return pippin.load(made, cache=False).predict(features)


def rows(seed, count, *shape):
    return np.random.default_rng(seed).standard_normal((count, *shape))
