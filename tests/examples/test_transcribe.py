"""Transcribe: windows, note decoding and WAV reading, against values by hand, and the demo from end to end."""

from __future__ import annotations

import csv
import struct
import wave

import numpy as np
import pytest
import typer
from coremltools.converters.mil.mil import Builder as mb
from PIL import Image
from scipy.io import wavfile
from typer.testing import CliRunner

import pippin
import transcribe
from melody import SCORE, synthesize
from notes import HOP, LOWEST, RATE, WINDOW, Note, find_notes, kept_frames, windows
from recording import RecordingError, read_wav
from support.small_models import saved_program


@pytest.mark.parametrize("pitch, name", [(21, "A0"), (60, "C4"), (61, "C♯4"), (69, "A4"), (71, "B4"), (108, "C8")])
def test_note_name(pitch, name):
    assert Note(0, 0, pitch).name == name


# A window is 43,844 samples, and the next begins 30 frames of 256 before its end: 36,164 further on.
@pytest.mark.parametrize(
    "samples, count",
    [(1, 1), (WINDOW - 3840, 2), (36_164, 1), (36_165, 2), (2 * 36_164, 2), (100_000, 3), (1_000_000, 28)],
)
def test_windows_cover_the_sound_once(samples, count):
    sound = np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)
    found = list(windows(sound))
    assert len(found) == count
    times = np.concatenate([kept_frames(start)[1] for start, _ in found])
    assert times[0] == 0
    assert times[-1] >= (samples - HOP) / RATE, "the end is covered"
    steps = np.diff(times) * RATE
    assert (steps > 0).all() and (steps < HOP + 0.01).all(), "no frame is skipped or comes twice"
    surrounded = np.concatenate([np.zeros(3840, np.float32), sound, np.zeros(WINDOW, np.float32)])
    for start, window in found:
        begin = round(start * RATE) + 3840
        np.testing.assert_array_equal(window, surrounded[begin : begin + WINDOW].reshape(1, WINDOW, 1))


C, D, E = 39, 41, 43  # keys of C4, D4, E4


def bar(first, last, key, value=0.9):
    return slice(first, last + 1), key, value


# energy (first frame, last, key[, likelihood]); onsets {(frame, key): likelihood}; notes (first frame, last, key)
DECODED = {
    "silence": ([], {}, []),
    "one note": ([bar(10, 40, C)], {(10, C): 0.9}, [(10, 40, C)]),
    "a chord": ([bar(10, 40, C), bar(10, 50, E)], {(10, C): 0.9, (10, E): 0.6}, [(10, 40, C), (10, 50, E)]),
    "to the end of the recording": ([bar(60, 99, C)], {(60, C): 0.9}, [(60, 99, C)]),
    "from its beginning": ([bar(0, 20, C)], {(0, C): 0.9}, [(0, 20, C)]),
    "the lowest and the highest key": ([bar(5, 30, 0), bar(5, 30, 87)], {(5, 0): 0.9}, [(5, 30, 0), (5, 30, 87)]),
    "12 frames are a note": ([bar(10, 21, C)], {(10, C): 0.9}, [(10, 21, C)]),
    "11 frames are not": ([bar(10, 20, C)], {(10, C): 0.9}, []),
    "11 faint frames do not end it": ([bar(10, 30, C), bar(42, 60, C)], {(10, C): 0.9}, [(10, 60, C)]),
    "12 faint frames do": ([bar(10, 30, C), bar(43, 60, C)], {(10, C): 0.9}, [(10, 30, C), (43, 60, C)]),
    "energy under 0.3 is faint": ([bar(10, 40, C, 0.29)], {(10, C): 0.9}, []),
    "energy of 0.3 is not": ([bar(10, 40, C, 0.31)], {(10, C): 0.9}, [(10, 40, C)]),
    "struck again": ([bar(10, 60, C)], {(10, C): 0.9, (30, C): 0.9}, [(10, 29, C), (30, 60, C)]),
    "an onset under 0.5 does not strike": ([bar(10, 60, C)], {(10, C): 0.9, (30, C): 0.49}, [(10, 60, C)]),
    "an onset beside a higher one does not": ([bar(10, 60, C)], {(30, C): 0.9, (31, C): 0.8}, [(10, 29, C), (30, 60, C)]),
    "of equal onsets the first strikes": ([bar(30, 60, C)], {(30, C): 0.9, (31, C): 0.9}, [(30, 60, C)]),
    "an onset without energy": ([], {(10, C): 0.9}, []),
    "an onset a little before the energy": ([bar(14, 40, C)], {(10, C): 0.9}, [(10, 40, C)]),
    "energy without an onset": ([bar(10, 40, C, 0.5), bar(25, 26, C, 0.8)], {}, [(10, 40, C)]),
    "both ways over faint frames": ([bar(10, 30, C), bar(42, 60, C, 0.95)], {}, [(10, 60, C)]),
    "11 frames without an onset": ([bar(10, 20, C)], {}, []),
    "what spills to neighbours": ([bar(10, 40, C), bar(10, 40, C - 1, 0.5), bar(10, 40, C + 1, 0.5)], {(10, C): 0.9}, [(10, 40, C)]),
    "a neighbour that outlasts it": ([bar(10, 40, C), bar(10, 60, C + 1, 0.5)], {(10, C): 0.9}, [(10, 40, C), (41, 60, C + 1)]),
    "two keys apart is another note": ([bar(10, 40, C), bar(10, 40, D, 0.5)], {(10, C): 0.9}, [(10, 40, C), (10, 40, D)]),
}  # fmt: skip


@pytest.mark.parametrize("case", DECODED)
def test_decoding(case):
    energy, struck, expected = DECODED[case]
    sounding, onsets = np.full((100, 88), 0.05, np.float32), np.full((100, 88), 0.02, np.float32)
    for frames, key, value in energy:
        sounding[frames, key] = value
    for (frame, key), value in struck.items():
        onsets[frame, key] = value
    given = sounding.copy()
    found = find_notes(np.arange(100) / 10, sounding, onsets)
    frames = [(round(10 * n.start), round(10 * (n.start + n.duration)), n.pitch - LOWEST) for n in found]
    assert frames == sorted(expected)
    np.testing.assert_array_equal(sounding, given, "what was given is left as it was")


def tone(rate, frequency=440.0, seconds=0.4):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def write_24_bits(path, rate, channels):
    samples = np.round(channels * (2**23 - 1)).astype("<i4")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels.shape[1])
        file.setsampwidth(3)
        file.setframerate(rate)
        file.writeframes(samples.reshape(-1, 1).view(np.uint8)[:, :3].tobytes())


def write(path, rate, channels, form):
    if form == "int24":
        return write_24_bits(path, rate, channels)
    if form == "uint8":
        return wavfile.write(path, rate, np.round(channels * 127 + 128).astype(np.uint8))
    if form.startswith("int"):
        return wavfile.write(path, rate, np.round(channels * np.iinfo(form).max).astype(form))
    return wavfile.write(path, rate, channels.astype(form))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize(
    "form, step", [("uint8", 2**-7), ("int16", 2**-15), ("int24", 2**-23), ("int32", 0), ("float32", 0), ("float64", 0)]
)
def test_any_form_and_rate(form, step, rate, tmp_path):
    write(tmp_path / "a.wav", rate, np.stack([tone(rate), tone(rate)], 1), form)
    sound = read_wav(tmp_path / "a.wav")
    assert sound.dtype == np.float32
    assert sound.shape == (RATE * 2 // 5,)
    error = np.abs(sound - tone(RATE))[RATE // 20 : -RATE // 20]  # the filter needs samples on both sides
    assert error.max() < 2 * step + (2e-6 if rate == RATE else 1e-3)


@pytest.mark.parametrize(
    "form, values, expected",
    [
        ("uint8", [0, 64, 128, 192], [-1, -0.5, 0, 0.5]),
        ("int16", [-32768, -16384, 0, 16384], [-1, -0.5, 0, 0.5]),
        ("int32", [-(2**31), -(2**30), 0, 2**30], [-1, -0.5, 0, 0.5]),
        ("float32", [-2, -0.5, 0, 1.5], [-2, -0.5, 0, 1.5]),
        ("int16", [[16384, 0], [0, 16384], [-16384, 16384]], [0.25, 0.25, 0]),
    ],
)
def test_full_scale(form, values, expected, tmp_path):
    wavfile.write(tmp_path / "a.wav", RATE, np.array(values, form))
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav"), np.array(expected, np.float32))


def test_what_the_lower_rate_cannot_hold_is_gone(tmp_path):
    write(tmp_path / "a.wav", 48_000, tone(48_000, 15_000.0).reshape(-1, 1), "float32")
    assert np.abs(read_wav(tmp_path / "a.wav"))[RATE // 20 : -RATE // 20].max() < 1e-3


def sound_file(samples, at=0, inserted=b"", end=None):
    """The bytes of a WAV file with `inserted` over what is `at` that offset, cut off at `end`."""
    data = np.asarray(samples, "<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", len(data))  # fmt: skip
    whole = head + data
    return (whole[:at] + inserted + whole[at + len(inserted) :])[:end]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "No such file"),
        (b"", "cannot be read as WAV"),
        (b"ID3 this is an MP3", "cannot be read as WAV"),
        (sound_file([1, 2, 3], end=20), "cannot be read as WAV"),
        (sound_file([1, 2, 3], end=36), "cannot be read as WAV"),
        (sound_file([1, 2, 3], at=20, inserted=struct.pack("<H", 6)), "ALAW"),
        (sound_file([1, 2, 3], at=22, inserted=struct.pack("<H", 0)), "cannot be read as WAV"),
        (sound_file([1, 2, 3], at=24, inserted=struct.pack("<I", 0)), "cannot be read as WAV"),
        (sound_file([]), "no samples"),
    ],
)
def test_unsound_files(content, message, tmp_path):
    path = tmp_path / "unsound.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError, match=message) as raised:
        read_wav(path)
    assert str(path) in str(raised.value)


def test_samples_that_are_not_finite(tmp_path):
    samples = np.zeros(RATE, np.float32)
    samples[RATE // 2 :] = np.inf
    wavfile.write(tmp_path / "a.wav", RATE, samples)
    with pytest.raises(RecordingError, match=r"not finite, the first at 0\.5 s"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "found, agree",
    [
        (SCORE, True),
        ([Note(n.start + 0.07, 0.1, n.pitch) for n in SCORE], True),
        (SCORE[1:], False),
        ([*SCORE, Note(6, 0.2, 72)], False),
        ([*SCORE[1:], Note(6, 0.2, 72)], False),
        ([Note(n.start, n.duration, n.pitch + 12) for n in SCORE], False),
        ([Note(n.start + 0.09, n.duration, n.pitch) for n in SCORE], False),
    ],
)
def test_agrees(found, agree):
    assert transcribe.agrees(found, SCORE) is agree


@pytest.fixture(scope="module", params=["openvino", "onnxruntime"])
def model(request, basic_pitch):
    return pippin.load(basic_pitch / "nmp.mlpackage", pippin.Configuration(engine=request.param))


@pytest.mark.parametrize("before", [0.0, 0.7, 3.0, 5.31], ids="{} s of silence before".format)
def test_score_is_found(before, model):
    sound = np.concatenate([np.zeros(int(before * RATE), np.float32), synthesize()])
    score = [Note(n.start + before, n.duration, n.pitch) for n in SCORE]
    found = find_notes(*transcribe.posteriors(model, sound))
    assert transcribe.agrees(found, score)
    for note in score:
        (same,) = (n for n in found if transcribe.matches(n, note))
        assert abs(same.duration - note.duration - 0.05) < 0.06  # a tone takes 0.05 s to fade


@pytest.mark.parametrize("seconds", [0.001, 1.0, 5.0])
def test_silence_has_no_notes(seconds, model):
    times, sounding, onsets = transcribe.posteriors(model, np.zeros(int(seconds * RATE), np.float32))
    assert sounding.shape == onsets.shape == (len(times), 88)
    assert seconds - HOP / RATE <= times[-1] < seconds
    assert np.isfinite(sounding).all() and np.isfinite(onsets).all()
    assert find_notes(times, sounding, onsets) == []


@pytest.fixture
def run(basic_pitch, tmp_path, monkeypatch):
    """The command in an empty folder: arguments to (exit code, what it printed)."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(transcribe.main)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.exit_code, result.output

    return run


def notes_in(path):
    with path.open(newline="") as file:
        return [(float(r["start_seconds"]), int(r["midi_pitch"]), r["name"]) for r in csv.DictReader(file)]


@pytest.mark.slow
def test_demo(run, tmp_path):
    code, printed = run()
    assert code == 0, printed
    assert "12 notes" in printed and "C4 at 0.25 s" in printed and "loaded in" in printed
    rate, samples = wavfile.read(tmp_path / "out" / "melody.wav")
    assert (rate, samples.dtype) == (RATE, np.int16)
    found = notes_in(tmp_path / "out" / "notes.csv")
    assert sorted(pitch for _, pitch, _ in found) == sorted(note.pitch for note in SCORE)
    assert found[0][2] == "C4"
    picture = np.asarray(Image.open(tmp_path / "out" / "piano-roll.png").convert("RGB")).reshape(-1, 3)
    assert (np.abs(picture.astype(int) - (0x7F, 0xE0, 0xD0)).sum(1) < 12).sum() > 1000, "the boxes are drawn"


@pytest.mark.slow
@pytest.mark.parametrize(
    "score, message",
    [([*SCORE, Note(5.9, 0.3, 79)], "missed: G5 at 5.90 s"), (SCORE[:-1], "not in the score")],
    ids=["missed", "extra"],
)
def test_demo_fails_where_the_score_differs(score, message, run, monkeypatch):
    monkeypatch.setattr(transcribe, "SCORE", score)
    code, printed = run()
    assert code == 1
    assert message in printed


@pytest.mark.slow
@pytest.mark.parametrize("form, rate", [("int24", 48_000), ("float32", 44_100)])
def test_recording(form, rate, run, tmp_path):
    from scipy.signal import resample

    melody = synthesize()
    melody = resample(melody, round(len(melody) * rate / RATE))
    write(tmp_path / "a $^$ song [of] mine.wav", rate, 0.8 * np.stack([melody, 0.5 * melody], 1), form)
    code, printed = run("a $^$ song [of] mine.wav", "--picture", "p/roll.png", "--notes", "n/notes.csv")
    assert code == 0, printed
    found = notes_in(tmp_path / "n" / "notes.csv")
    assert sorted(pitch for _, pitch, _ in found) == sorted(note.pitch for note in SCORE)
    assert (tmp_path / "p" / "roll.png").stat().st_size > 10_000
    assert not (tmp_path / "out").exists()


def test_recording_of_nothing(run, tmp_path):
    wavfile.write(tmp_path / "a.wav", RATE, np.zeros(1, np.int16))
    code, printed = run("a.wav")
    assert code == 0, printed
    assert "0 notes" in printed
    assert notes_in(tmp_path / "out" / "notes.csv") == []
    assert (tmp_path / "out" / "piano-roll.png").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [(["absent.wav"], "absent.wav"), (["--model", "absent.mlpackage"], "absent.mlpackage")],
)
def test_what_is_absent_is_named(arguments, message, run):
    code, printed = run(*arguments)
    assert code == 1
    assert message in printed


def test_another_model_is_named(run, tmp_path):
    path = saved_program(tmp_path, lambda left, right: mb.add(x=left, y=right, name="sum"), left=(1, 3), right=(1, 3))
    code, printed = run("--model", path)
    assert code == 1
    assert "not Basic Pitch" in printed and "left, right" in printed and "sum" in printed
