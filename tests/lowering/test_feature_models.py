"""Feature models: VGGish's front end, against numpy's Fourier transform; the messages of the others."""

from __future__ import annotations

import numpy as np
import pytest

import pippin
from pippin.errors import SpecificationError, UnsupportedModelError
from pippin.format.schema import messages

ENGINES = ("openvino", "onnxruntime")


def sound_preprocessing(samples=15600, shape=(1, 96, 64)):
    spec = messages("Model").Model(specificationVersion=4)
    spec.soundAnalysisPreprocessing.vggish.SetInParent()
    for features, name, sizes in (
        (spec.description.input, "sound", (samples,)),
        (spec.description.output, "mel", shape),
    ):
        feature = features.add(name=name)
        feature.type.multiArrayType.shape.extend(sizes)
        feature.type.multiArrayType.dataType = 65568  # FLOAT32
    return spec


def log_mel(sound):
    """Frames of 25 ms under a periodic Hann window, 10 ms apart; magnitudes of the transform of 512; 64 mel bands."""
    starts = range(0, len(sound) - 399, 160)
    window = np.hanning(401)[:-1]
    magnitudes = np.abs(np.fft.rfft([sound[s : s + 400] * window for s in starts], 512))

    def mel(f):
        return 1127.0 * np.log(1.0 + f / 700.0)

    corners = np.linspace(mel(125.0), mel(7500.0), 66)
    bands = np.stack(
        [np.interp(mel(np.linspace(0, 8000, 257)), corners[i : i + 3], [0, 1, 0], 0, 0) for i in range(64)], 1
    )
    return np.log(magnitudes @ bands + 0.01)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["noise", "tone", "silence", "chirp"])
def test_sound_preprocessing(kind, engine):
    t = np.arange(15600) / 16_000
    sound = {
        "noise": np.random.default_rng(0).uniform(-1, 1, t.size),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * t),
        "silence": np.zeros(t.size),
        "chirp": np.sin(2 * np.pi * (100 + 3000 * t) * t),
    }[kind].astype(np.float32)
    found = pippin.load(sound_preprocessing(), pippin.Configuration(engine=engine)).predict({"sound": sound})["mel"]
    assert found.shape == (1, 96, 64) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], log_mel(sound.astype(float)), atol=2e-3)


def test_another_length_gives_other_frames():
    sound = np.random.default_rng(1).uniform(-1, 1, 8000).astype(np.float32)
    found = pippin.load(sound_preprocessing(8000, (1, 48, 64))).predict({"sound": sound})["mel"]
    np.testing.assert_allclose(found[0], log_mel(sound.astype(float)), atol=2e-3)


@pytest.mark.parametrize(
    ("samples", "shape", "message"),
    [(15600, (1, 95, 64), "the description declares"), (399, (1, 1, 64), "at least 400 sound samples")],
)
def test_sound_preprocessing_that_contradicts_itself(samples, shape, message):
    with pytest.raises(SpecificationError, match=message):
        pippin.load(sound_preprocessing(samples, shape))


@pytest.mark.parametrize("kind", ["wordEmbedding", "gazetteer", "textClassifier", "wordTagger"])
def test_a_model_of_text_is_refused_with_the_way_out(kind):
    spec = messages("Model").Model(specificationVersion=4)
    getattr(spec, kind).revision = 1
    spec.description.input.add(name="text").type.stringType.SetInParent()
    spec.description.output.add(name="y").type.stringType.SetInParent()
    with pytest.raises(UnsupportedModelError, match=rf"{kind}: .*pippin.replace_feature_extractor\('{kind}'"):
        pippin.load(spec)


def test_a_word_embedding_is_replaced():
    spec = messages("Model").Model(specificationVersion=4)
    spec.wordEmbedding.language = "en"
    spec.description.input.add(name="text").type.stringType.SetInParent()
    vector = spec.description.output.add(name="vector").type.multiArrayType
    vector.shape.append(3)
    vector.dataType = 65568
    pippin.replace_feature_extractor("wordEmbedding", lambda text, *, language: [len(text), language == "en", 0.5])
    try:
        assert pippin.load(spec).predict({"text": "pear"})["vector"].tolist() == [4, 1, 0.5]
    finally:
        pippin.replace_feature_extractor("wordEmbedding", None)
