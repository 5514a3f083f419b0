"""Real models that other people published: they open, both engines agree, and the answers make sense.

`conformance/real_models.py` has the checks; `python -m conformance.models` writes them into docs/models.md.
"""

from __future__ import annotations

import coremltools.optimize.coreml as cto
import numpy as np
import pytest

import coremltools as ct
import pippin
from conformance.real_models import CHECKS, cat, checked, sounds, voice_probabilities
from pippin.errors import (
    ConfigurationError,
    FeatureShapeError,
    PredictionError,
    UnsupportedModelError,
    UnsupportedOperationError,
)

pytestmark = pytest.mark.slow

COMPRESSED = ["int8", "palette-4bit", "pruned-int8"]


@pytest.mark.parametrize("name", CHECKS)
def test_check(name, shared_models):
    _, found = checked(shared_models / name, name)
    assert found


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_weights_are_what_coremltools_decompresses(name, shared_models):
    path = shared_models / "program" / f"silero-vad-{name}.mlpackage"
    plain = cto.decompress_weights(ct.models.MLModel(str(path), skip_model_load=True))
    pieces = list(sounds())
    expected = voice_probabilities(pippin.load(plain.get_spec(), weights=plain.weights_dir), pieces)
    np.testing.assert_allclose(voice_probabilities(pippin.load(path), pieces), expected, atol=2e-3)


def test_a_sequence_at_once_is_its_steps_with_states(shared_models):
    model = pippin.load(shared_models / "network" / "es2en-encoder-lstm.mlmodel")
    steps = np.eye(101, dtype=np.float32)[[3, 50, 7, 100]]
    together = model.predict({"encodedSeq": steps.reshape(4, 1, 101, 1, 1)})
    states = {}
    for step in steps:
        found = model.predict({"encodedSeq": step, **states})
        states = {f"encoder_lstm_{s}_in": found[f"encoder_lstm_{s}_out"] for s in "hc"}
    for state in "hc":
        name = f"encoder_lstm_{state}_out"
        assert together[name].shape == (256,)
        np.testing.assert_allclose(together[name], found[name], atol=1e-5)
    with pytest.raises(
        FeatureShapeError, match=r"a sequence must have the shape \[sequence\] x .*, got 4 x 1 x 100 x 1 x 1"
    ):
        model.predict({"encodedSeq": np.zeros((4, 1, 100, 1, 1), np.float32)})


def test_custom_layers_are_named_where_they_are_missing(shared_models):
    with pytest.raises(UnsupportedOperationError, match=r"class 'ResCropBlockLambda': .* @pippin.custom_layer"):
        pippin.load(shared_models / "network" / "style-starry-night-custom-layers.mlmodel")


APPLE = {
    "cats-dogs-feature-print": ("visionFeaturePrint.scene", "its weights are in Apple's Vision framework"),
    "text-classifier": ("textClassifier", "only Apple's Natural Language framework knows"),
    "word-tagger": ("wordTagger", "only Apple's Natural Language framework knows"),
}


@pytest.fixture
def replaced():
    kinds = []

    def replace(kind, by):
        kinds.append(kind)
        pippin.replace_feature_extractor(kind, by)

    yield replace
    for kind in kinds:
        pippin.replace_feature_extractor(kind, None)


@pytest.mark.parametrize("name", APPLE)
def test_apples_own_models_are_refused_with_the_way_out(name, shared_models):
    kind, reason = APPLE[name]
    with pytest.raises(UnsupportedModelError, match=rf"{kind}: .*{reason}.*replace_feature_extractor\('{kind}'"):
        pippin.load(shared_models / "apple" / f"{name}.mlmodel")


def test_a_replaced_feature_print_feeds_the_classifier(shared_models, replaced, tmp_path, monkeypatch):
    """From the cache as well; the classifier is checked against its own weights."""
    monkeypatch.setenv("PIPPIN_CACHE", str(tmp_path))
    path = shared_models / "apple" / "cats-dogs-feature-print.mlmodel"
    seen = []

    def features(image, *, revision):
        seen.append((image.size, image.mode, image.getpixel((3, 3)), revision))
        return np.random.default_rng(0).random(2048) * np.asarray(image).mean() / 255

    replaced("visionFeaturePrint.scene", features)
    picture = cat((320, 300))
    answers = [pippin.load(path).predict({"image": picture}) for _ in range(2)]
    assert answers[0] == answers[1]
    assert seen[0] == ((320, 300), "RGB", picture.getpixel((3, 3)), 1)
    from pippin.format.asset import open_asset

    glm = list(open_asset(path).parts())[1].specification.glmClassifier
    score = np.array(glm.weights[0].value) @ features(picture, revision=1).astype(np.float32) + glm.offset[0]
    assert answers[0]["classLabelProbs"]["Dog"] == pytest.approx(1 / (1 + np.exp(-score)), rel=1e-5)
    replaced("visionFeaturePrint.scene", lambda image: np.zeros(7))
    with pytest.raises(PredictionError, match=r"returned an output of shape \(7,\), expected \(2048,\)"):
        pippin.load(path).predict({"image": picture})
    replaced("visionFeaturePrint.scene", lambda image: 1 / 0)
    with pytest.raises(PredictionError, match=r"replacement for visionFeaturePrint.scene failed: ZeroDivisionError"):
        pippin.load(path).predict({"image": picture})


def test_a_model_replaces_a_feature_print(shared_models, replaced):
    """SqueezeNet's 1,000 probabilities, twice and some zeros, are no features that the classifier knows; but they fit."""
    squeeze = pippin.load(shared_models / "network" / "squeezenet-fp16.mlmodel")

    class Model:
        description = squeeze.description

        def predict(self, features):
            (picture,) = features.values()
            found = squeeze.predict({"image": picture.resize((227, 227))})["classLabelProbs"]
            return {"vector": np.resize(list(found.values()), 2048)}

    replaced("visionFeaturePrint.scene", Model())
    found = pippin.load(shared_models / "apple" / "cats-dogs-feature-print.mlmodel").predict({"image": cat((300, 300))})
    assert sum(found["classLabelProbs"].values()) == pytest.approx(1)


def test_replaced_text_models_take_and_give_strings(shared_models, replaced, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPPIN_CACHE", str(tmp_path))

    def classify(text, *, labels, data, revision):
        assert labels == ["negative", "positive"] and len(data) == 15512 and revision == 1
        return labels["good" in text]

    def tag(text, *, labels):
        tokens = text.split()
        return {
            "tokens": tokens,
            "labels": [labels[token[0].isupper()] for token in tokens],
            "locations": [text.index(token) for token in tokens],
            "lengths": [len(token) for token in tokens],
        }

    replaced("textClassifier", classify)
    replaced("wordTagger", tag)
    for _ in range(2):
        classifier = pippin.load(shared_models / "apple" / "text-classifier.mlmodel")
        assert classifier.predict({"text": "a good day"}) == {"label": "positive"}
        tagger = pippin.load(shared_models / "apple" / "word-tagger.mlmodel")
        assert tagger.predict({"text": "my Phone rang"}) == {
            "tokens": ["my", "Phone", "rang"],
            "labels": ["NONE", "PROD", "NONE"],
            "locations": [0, 3, 9],
            "lengths": [2, 5, 4],
        }
    with pytest.raises(
        UnsupportedOperationError, match="openvino cannot run this model: strings: OpenVINO has no string tensors"
    ):
        pippin.load(shared_models / "apple" / "word-tagger.mlmodel", pippin.Configuration(engine="openvino"))
    with pytest.raises(pippin.errors.FeatureTypeError, match="'text' must be a string, got int"):
        classifier.predict({"text": 3})


@pytest.mark.parametrize(
    ("kind", "by", "message"),
    [
        ("visionFeaturePrint", len, "unknown feature extractor 'visionFeaturePrint'"),
        ("gazetteer", 3, "must be a function or a model"),
    ],
)
def test_what_cannot_replace_is_refused(kind, by, message):
    with pytest.raises(ConfigurationError, match=message):
        pippin.replace_feature_extractor(kind, by)
