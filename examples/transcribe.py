"""Transcribe: from a recording to notes, with Basic Pitch's Core ML model, on any machine.

    python examples/transcribe.py                      a melody made here, with a known score
    python examples/transcribe.py recording.wav        any WAV file

The model comes with Spotify's package basic-pitch (Apache-2.0): pip install --no-deps basic-pitch==0.4.0
"""

from __future__ import annotations

import csv
import importlib.util
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import pippin
from melody import SCORE, synthesize
from notes import RATE, Note, find_notes, kept_frames, windows

OUT = Path("out")
# The outputs of nmp.mlpackage: how likely each key sounds, and how likely it is struck.
SOUNDING, ONSETS = "Identity_1", "Identity_2"
EARLY_OR_LATE = 0.08  # seconds
console = Console(highlight=False)


def transcribe(
    audio: Annotated[Path | None, typer.Argument(help="A WAV file; without one, a melody is made.")] = None,
    model: Annotated[Path | None, typer.Option(help="Basic Pitch's nmp.mlpackage.")] = None,
    picture: Annotated[Path, typer.Option(help="Where the piano roll is drawn.")] = OUT / "piano-roll.png",
    notes: Annotated[Path, typer.Option(help="Where the notes are written.")] = OUT / "notes.csv",
) -> None:
    """Print the notes of a recording, and draw them."""
    sound = read_wav(audio) if audio else make_melody()
    started = time.perf_counter()
    loaded = pippin.load(model or installed_model())
    load_time = time.perf_counter() - started
    started = time.perf_counter()
    times, sounding, onsets = posteriors(loaded, sound)
    predict_time = time.perf_counter() - started
    found = find_notes(times, sounding, onsets)
    write_notes(found, notes)
    draw(times, sounding, found, picture, audio.name if audio else "a melody with a known score")
    show(found, None if audio else SCORE)
    seconds = len(sound) / RATE
    console.print(f"loaded in {load_time:.2f} s on {loaded.engine}; {seconds:.1f} s of sound in {predict_time:.2f} s")
    console.print(f"piano roll: {picture}   notes: {notes}")
    if not audio and not agrees(found, SCORE):
        console.print("[red]these are not the notes of the score[/red]")
        raise typer.Exit(1)


def posteriors(model: pippin.Model, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (T), and for each of 88 keys how likely it sounds and how likely it begins (T, 88)."""
    (name,) = (feature.name for feature in model.description.function().inputs)
    parts = []
    for start, window in windows(sound):
        outputs = model.predict({name: window})
        inner, when = kept_frames(start)
        parts.append((when, outputs[SOUNDING][0, inner], outputs[ONSETS][0, inner]))
    times, sounding, onsets = (np.concatenate(part) for part in zip(*parts, strict=True))
    heard = times < len(sound) / RATE
    return times[heard], sounding[heard], onsets[heard]


def read_wav(path: Path) -> np.ndarray:
    """Mono float32 samples at 22,050 Hz, from PCM of any width or floats, any rate, any number of channels."""
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    try:
        rate, samples = wavfile.read(path)
    except (OSError, ValueError) as error:
        console.print(f"[red]{path} cannot be read as WAV: {error}[/red]")
        raise typer.Exit(1) from None
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples / float(np.iinfo(samples.dtype).max)
    mono = samples.reshape(len(samples), -1).mean(1)
    common = np.gcd(rate, RATE)
    return resample_poly(mono, RATE // common, rate // common).astype(np.float32)


def make_melody() -> np.ndarray:
    from scipy.io import wavfile

    sound = synthesize()
    OUT.mkdir(exist_ok=True)
    wavfile.write(OUT / "melody.wav", RATE, (sound * 32767).astype(np.int16))
    return sound


def installed_model() -> Path:
    """nmp.mlpackage in the installed basic-pitch, which is not imported: it would need TensorFlow."""
    spec = importlib.util.find_spec("basic_pitch")
    if spec is None or spec.origin is None:
        console.print("[red]basic-pitch is not installed: pip install --no-deps basic-pitch==0.4.0[/red]")
        raise typer.Exit(1)
    return Path(spec.origin).parent / "saved_models" / "icassp_2022" / "nmp.mlpackage"


def matches(note: Note, other: Note) -> bool:
    return note.pitch == other.pitch and abs(note.start - other.start) < EARLY_OR_LATE


def agrees(found: list[Note], score: list[Note]) -> bool:
    """Whether every note of the score was found, and no other."""
    return len(found) == len(score) and all(any(matches(n, s) for n in found) for s in score)


def show(found: list[Note], score: list[Note] | None) -> None:
    table = Table("start", "length", "note", "MIDI", *(["score"] if score else []), title=f"{len(found)} notes")
    for note in found:
        row = [f"{note.start:.2f} s", f"{note.duration:.2f} s", note.name, str(note.pitch)]
        if score:
            same = next((s for s in score if matches(note, s)), None)
            row.append(f"{same.name} at {same.start:.2f} s" if same else "[red]not in the score[/red]")
        table.add_row(*row)
    console.print(table)
    for missed in [s for s in score or [] if not any(matches(n, s) for n in found)]:
        console.print(f"[red]missed: {missed.name} at {missed.start:.2f} s[/red]")


def write_notes(found: list[Note], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["start_seconds", "duration_seconds", "midi_pitch", "name"])
        writer.writerows([f"{n.start:.3f}", f"{n.duration:.3f}", n.pitch, n.name] for n in found)


def draw(times: np.ndarray, sounding: np.ndarray, found: list[Note], path: Path, title: str) -> None:
    """The posteriors as a heat map, with a box around each note that was found."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(11, 5), layout="constrained")
    low = min((n.pitch for n in found), default=60) - 4
    high = max((n.pitch for n in found), default=72) + 5
    edges = (times[0], times[-1], 20.5, 108.5)
    picture = axes.imshow(sounding.T, origin="lower", aspect="auto", extent=edges, cmap="magma", vmin=0, vmax=1)
    for note in found:
        corner = (note.start, note.pitch - 0.5)
        axes.add_patch(plt.Rectangle(corner, note.duration, 1, fill=False, edgecolor="#7fe0d0", linewidth=1.4))
        axes.annotate(note.name, (note.start, note.pitch + 0.7), color="#7fe0d0", fontsize=8)
    pitches = [p for p in range(low, high + 1) if p % 12 in (0, 2, 4, 5, 7, 9, 11)]
    axes.set_yticks(pitches, [Note(0, 0, p).name for p in pitches], fontsize=8)
    axes.set(xlim=(max(times[0], 0), times[-1]), ylim=(low, high), xlabel="seconds", title=f"Basic Pitch on {title}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(picture, label="how likely the key sounds", pad=0.01)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(transcribe)
