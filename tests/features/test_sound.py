"""Sounds: every width of sample, the rate of the file and of the model, and what nothing here reads."""

from __future__ import annotations

import importlib
import io
import sys
import types
import wave

import numpy as np
import pytest
from scipy import signal

from pippin.errors import FeatureValueError
from pippin.features.sound import declared_rate, is_sound, read_sound, resampled

SAMPLES = np.array([[0.0, 0.5], [-0.25, 0.25], [0.75, 0.25], [-1.0, 0.0]])
MONO = SAMPLES.mean(1)


def wav(width, rate=8000, samples=SAMPLES):
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setparams((samples.shape[1], width, rate, 0, "NONE", ""))
        numbers = (samples * 2.0 ** (8 * width - 1)).astype(np.int64) + (128 if width == 1 else 0)
        data = numbers.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
        written.writeframes(data.tobytes())
    file.seek(0)
    return file


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_widths(width):
    sound = read_sound(wav(width, 11025), "x.wav", "audio")
    assert sound.rate == 11025 and sound.samples.dtype == np.float32
    np.testing.assert_allclose(sound.samples, MONO, atol=1e-6)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 has no aifc and sunau")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("module, suffix", [("aifc", ".aiff"), ("sunau", ".au")])
def test_other_formats_of_python(module, suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    with importlib.import_module(module).open(str(path), "wb") as written:
        written.setnchannels(2)
        written.setsampwidth(2)
        written.setframerate(22050)
        if module == "sunau":
            written.setcomptype("NONE", "not compressed")
        written.writeframes((SAMPLES * 32767).astype(">i2").tobytes())
    sound = read_sound(io.BytesIO(path.read_bytes()), path.name, "audio")
    assert sound.rate == 22050
    np.testing.assert_allclose(sound.samples, MONO, atol=1e-4)


def without_soundfile(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)


REFUSED = {
    "x.mp3 cannot be read: nothing installed reads .mp3 files; convert it to a .wav": ("x.mp3", io.BytesIO(b"ID3")),
    "x.wav cannot be read: file does not start with RIFF id": ("x.wav", io.BytesIO(b"junk" * 9)),
    "x.wav cannot be read: the file ends too early": ("x.wav", io.BytesIO(b"")),
    "x.wav cannot be read: a rate of 2000000 Hz": ("x.wav", wav(2, 2_000_000)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_read(message, monkeypatch):
    without_soundfile(monkeypatch)
    name, file = REFUSED[message]
    with pytest.raises(FeatureValueError) as raised:
        read_sound(io.BytesIO(file.getvalue()), name, "audio")
    assert str(raised.value).startswith(f"'audio': {message}") and "pip install soundfile" in str(raised.value)


def test_what_an_installed_package_reads(monkeypatch):
    package = types.SimpleNamespace(read=lambda file, **how: (SAMPLES.astype(np.float32), 44100))
    monkeypatch.setitem(sys.modules, "soundfile", package)
    for name in ("x.flac", "x.wav"):  # a .wav of floats, which Python's own module refuses
        sound = read_sound(io.BytesIO(b"fLaC"), name, "audio")
        assert sound.rate == 44100
        np.testing.assert_allclose(sound.samples, MONO, atol=1e-6)


RATES = [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 44100), (44101, 16000), (16000, 16000)]


@pytest.mark.parametrize("rate, wanted", RATES)
def test_a_tone_stays_the_same_tone(rate, wanted):
    """A tone below both Nyquist frequencies is the same function of time at the new rate."""

    def tone(rate):
        t = np.arange(rate // 4) / rate
        return 0.5 * np.sin(2 * np.pi * 440 * t) + 0.25 * np.cos(2 * np.pi * 2500 * t) + 0.1

    found, expected = resampled(tone(rate), rate, wanted), tone(wanted)
    assert abs(len(found) - len(expected)) <= 1
    middle = slice(len(expected) // 8, len(expected) // 8 * 7)  # the ends are faded in from silence
    np.testing.assert_allclose(found[middle], expected[middle], atol=1e-3)


def test_what_is_too_high_is_removed():
    t = np.arange(44100) / 44100
    found = resampled(np.sin(2 * np.pi * 12000 * t), 44100, 16000)
    assert np.abs(found[200:-200]).max() < 1e-3


def test_like_scipy():
    noise = np.random.default_rng(0).standard_normal(4410)
    low = signal.sosfiltfilt(signal.butter(8, 3000, fs=44100, output="sos"), noise)
    expected = signal.resample_poly(low, 160, 441, window=("kaiser", 9.0))
    np.testing.assert_allclose(resampled(low, 44100, 16000)[100:-100], expected[100:-100], atol=2e-3)


DECLARED = {
    "metadata": ({"sample_rate": "22050"}, (), 22050),
    "camel case": ({"sampleRate": "44.1 kHz"}, ("at 16 kHz",), 44100),
    "description": ({}, ("Tells birds apart", "mono, 16 kHz"), 16000),
    "hertz": ({}, ("samples at 16000 Hz from -1 to 1",), 16000),
    "two rates": ({}, ("8 kHz or 16 kHz",), None),
    "none": ({"author": "16000"}, ("16000 samples",), None),
    "nonsense": ({"sample rate": "fast"}, (), None),
    "out of range": ({"sample rate": "1e400"}, ("9 Hz",), None),
}


@pytest.mark.parametrize("name", DECLARED)
def test_declared_rates(name):
    metadata, texts, expected = DECLARED[name]
    assert declared_rate(metadata, texts) == expected


def test_names_of_sounds():
    assert [is_sound(f"x{suffix}") for suffix in (".WAV", ".mp3", ".npy", "")] == [True, True, False, False]
