"""Real models that other people published: they open, both engines agree, and the answers make sense."""

from __future__ import annotations

import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

import pippin
from pippin.format.description import ColorSpace, Image, MultiArray

VAD = ["unified", "int8", "palette-4bit", "pruned-int8"]
ENGINES = ("openvino", "onnxruntime")


def load(path, engine):
    return pippin.load(path, pippin.Configuration(engine=engine))


def hum():
    """Something like a vowel, 36 ms at 16 kHz, as voice activity detection takes it."""
    t = np.arange(576) / 16_000
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12))
    return (0.3 * voice / np.abs(voice).max()).astype(np.float32)[None]


def voice_probabilities(model, sound, steps=12):
    hidden = cell = np.zeros((1, 128), np.float32)
    found = []
    for _ in range(steps):
        outputs = model.predict({"audio_input": sound, "hidden_state": hidden, "cell_state": cell})
        hidden, cell = outputs["new_hidden_state"], outputs["new_cell_state"]
        found.append(float(outputs["vad_output"].reshape(-1)[0]))
    return np.array(found)


@pytest.mark.parametrize("name", VAD)
def test_voice_activity(name, shared_models):
    path = shared_models / "program" / f"silero-vad-{name}.mlpackage"
    voiced = [voice_probabilities(load(path, engine), hum()) for engine in ENGINES]
    np.testing.assert_allclose(voiced[0], voiced[1], atol=2e-3)
    silent = voice_probabilities(load(path, "onnxruntime"), np.zeros((1, 576), np.float32))
    assert voiced[0].max() > silent.max() + 0.2, "a hum is more like a voice than silence"


@pytest.mark.parametrize("name", VAD[1:])
def test_compressed_weights_are_what_coremltools_decompresses(name, shared_models):
    path = shared_models / "program" / f"silero-vad-{name}.mlpackage"
    plain = cto.decompress_weights(ct.models.MLModel(str(path), skip_model_load=True))
    expected = voice_probabilities(pippin.load(plain.get_spec(), weights=plain.weights_dir), hum())
    np.testing.assert_allclose(voice_probabilities(load(path, None), hum()), expected, atol=2e-3)


def test_salient_object(shared_models):
    """A bright disc on a dark ground is what stands out."""
    picture = PIL.Image.new("RGB", (320, 320), (20, 30, 40))
    PIL.ImageDraw.Draw(picture).ellipse((90, 90, 230, 230), fill=(240, 200, 60))
    x = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255
    masks = [load(shared_models / "program" / "u2netp.mlpackage", e).predict({"input_1": x}) for e in ENGINES]
    (first,), (second,) = (m.values() for m in masks)
    assert first.dtype == np.float16 and first.shape == (1, 1, 320, 320)
    assert np.abs(first.astype(float) - second.astype(float)).max() < 1e-2
    mask = first[0, 0].astype(float)
    assert mask[130:190, 130:190].mean() > mask[:60, :60].mean() + 0.5


@pytest.mark.parametrize("engine", ENGINES)
def test_a_drawn_one(engine, shared_models):
    model = load(shared_models / "program" / "mnist.mlpackage", engine)
    picture = PIL.Image.new("L", (28, 28), 0)
    PIL.ImageDraw.Draw(picture).line((14, 5, 14, 22), fill=255, width=3)
    outputs = model.predict({"Input": picture})
    assert outputs["Prediction"] == 1
    assert sum(outputs["Prediction_probs"].values()) == pytest.approx(1, abs=1e-3)


NETWORKS = {
    "accelerometer-loop-branch.mlmodel": ["Identity"],
    "blazeface-short.mlpackage": ["scores", "regression"],
    "deeplabv3-int8-lut.mlmodel": ["semanticPredictions"],
    "es2en-encoder-lstm.mlmodel": ["encoder_lstm_h_out", "encoder_lstm_c_out"],
    "gesture-classifier.mlmodel": ["activityProbability", "activity"],
    "mnist-cnn.mlmodel": ["output", "classLabel"],
    "squeezenet-fp16.mlmodel": ["classLabelProbs", "classLabel"],
    "style-candy.mlmodel": ["outputImage"],
    "waifu-anime-noise0.mlmodel": ["conv7"],
    "waifu-photo-noise0.mlpackage": ["conv7"],
}


def seeded_features(model):
    """Something of the right kind for every input that has to be given."""
    rng = np.random.default_rng(0)
    features = {}
    for feature in model.description.function().inputs:
        match feature.type:
            case Image(width, height, color):
                picture = PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
                features[feature.name] = picture.convert("L" if color is ColorSpace.GRAYSCALE else "RGB")
            case MultiArray(shape=shape) if not feature.optional:
                features[feature.name] = rng.random(shape).astype(np.float32)
    return features


@pytest.mark.parametrize("name", NETWORKS)
def test_neural_networks(name, shared_models):
    """Each gives finite values of the declared kind, and both engines the same."""
    answers = []
    for engine in ENGINES:
        try:
            model = load(shared_models / "network" / name, engine)
        except pippin.errors.UnsupportedOperationError:  # peepholes, which OpenVINO gets wrong
            assert (name, engine) == ("es2en-encoder-lstm.mlmodel", "openvino")
            continue
        answers.append(model.predict(seeded_features(model)))
    for output in NETWORKS[name]:
        first, second = answers[0][output], answers[-1][output]
        if isinstance(first, dict):
            assert sum(first.values()) == pytest.approx(1, abs=0.02)
            assert max(abs(first[key] - second[key]) for key in first) < 1e-4
        elif isinstance(first, np.ndarray):
            assert np.isfinite(first).all()
            np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3)
        elif isinstance(first, PIL.Image.Image):
            assert np.abs(np.asarray(first, int) - np.asarray(second, int)).max() <= 1
        else:
            assert first == second


def test_a_digit_is_read_by_a_network(shared_models):
    picture = PIL.Image.new("L", (28, 28), 0)
    PIL.ImageDraw.Draw(picture).line((14, 5, 14, 22), fill=255, width=3)
    model = load(shared_models / "network" / "mnist-cnn.mlmodel", None)
    (name,) = (feature.name for feature in model.description.function().inputs)
    assert model.predict({name: picture})["classLabel"] == "1"


def test_what_is_not_executed_is_refused_by_its_kind(shared_models):
    with pytest.raises(pippin.errors.UnsupportedOperationError, match="custom layer of the class 'ResCropBlockLambda'"):
        pippin.load(shared_models / "network" / "style-starry-night-custom-layers.mlmodel")
    with pytest.raises(pippin.errors.UnsupportedModelError, match="visionFeaturePrint"):
        pippin.load(shared_models / "apple" / "cats-dogs-feature-print.mlmodel")
    for path in (shared_models / "compiled").iterdir():
        with pytest.raises(pippin.errors.UnsupportedModelError, match="compiled"):
            pippin.load(path)
