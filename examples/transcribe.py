"""Transcribe: converts a recording to notes with Basic Pitch's Core ML model. A WAV file enters; a CSV file of notes
and a piano roll leave.

    python examples/transcribe.py                      a synthesized melody with a known score
    python examples/transcribe.py recording.wav        any WAV file

The model is part of Spotify's package basic-pitch (Apache-2.0): pip install --no-deps basic-pitch==0.4.0
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
from notes import RATE, SILENT, Note, find_notes, kept_frames, windows
from piano_roll import draw
from recording import RecordingError, read_wav, write_wav

OUT = Path("out")
# Outputs of nmp.mlpackage: probability that each key sounds, and that it is struck.
SOUNDING, ONSETS = "Identity_1", "Identity_2"
EARLY_OR_LATE = 0.08  # seconds
console = Console(highlight=False)


def main(
    audio: Annotated[Path | None, typer.Argument(help="WAV file; default: a synthesized melody.")] = None,
    model: Annotated[Path | None, typer.Option(help="Basic Pitch's nmp.mlpackage.")] = None,
    picture: Annotated[Path, typer.Option(help="Output file of the piano roll.")] = OUT / "piano-roll.png",
    notes: Annotated[Path, typer.Option(help="Output file of the notes, CSV.")] = OUT / "notes.csv",
) -> None:
    """Print and draw the notes of a recording."""
    try:
        found = transcribe(audio or make_melody(), model or installed_model(), picture, notes, known=audio is None)
    except (RecordingError, pippin.PippinError) as error:
        console.print(
            error.report() if isinstance(error, pippin.PippinError) else str(error), style="red", markup=False
        )
        raise typer.Exit(1) from None
    if audio is None and not agrees(found, SCORE):
        console.print("[red]the notes differ from the score[/red]")
        raise typer.Exit(1)


def transcribe(audio: Path, model: Path, picture: Path, notes: Path, known: bool) -> list[Note]:
    """Read, predict, decode, write, draw and print. `known` prints the melody's score next to the notes."""
    sound = read_wav(audio)
    started = time.perf_counter()
    loaded = pippin.load(model)
    load_time = time.perf_counter() - started
    started = time.perf_counter()
    times, sounding, onsets = posteriors(loaded, sound)
    predict_time = time.perf_counter() - started
    found = find_notes(times, sounding, onsets)
    write_notes(found, notes)
    draw(times, sounding, found, picture, "a melody with a known score" if known else audio.name)
    show(found, SCORE if known else None)
    seconds = len(sound) / RATE
    console.print(f"loaded in {load_time:.2f} s on {loaded.engine}; {seconds:.1f} s of sound in {predict_time:.2f} s")
    console.print(f"piano roll: {picture}   notes: {notes}", markup=False)
    return found


def posteriors(model: pippin.Model, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (T), and for each of 88 keys the probabilities that it sounds and that it begins, each (T, 88)."""
    name = only_input(model)
    parts = []
    for start, window in windows(sound):
        inner, when = kept_frames(start)
        if np.abs(window).max() < SILENT:
            nothing = np.zeros((len(when), 88), np.float32)
            parts.append((when, nothing, nothing))
            continue
        outputs = model.predict({name: window})
        parts.append((when, outputs[SOUNDING][0, inner], outputs[ONSETS][0, inner]))
    times, sounding, onsets = (np.concatenate(part) for part in zip(*parts, strict=True))
    heard = times < len(sound) / RATE
    return times[heard], sounding[heard], onsets[heard]


def only_input(model: pippin.Model) -> str:
    """Name of the sound input; exits with an error if the model is not Basic Pitch."""
    function = model.description.function()
    inputs, outputs = [f.name for f in function.inputs], [f.name for f in function.outputs]
    if len(inputs) != 1 or not {SOUNDING, ONSETS} <= set(outputs):
        console.print(
            f"the model is not Basic Pitch: it must have one input and the outputs {SOUNDING} and {ONSETS},"
            f" got the inputs {', '.join(inputs)} and the outputs {', '.join(outputs)}",
            style="red",
            markup=False,
        )
        raise typer.Exit(1)
    return inputs[0]


def make_melody() -> Path:
    path = OUT / "melody.wav"
    write_wav(path, synthesize())
    return path


def installed_model() -> Path:
    """Path of nmp.mlpackage in the installed basic-pitch, which is not imported because it needs TensorFlow."""
    spec = importlib.util.find_spec("basic_pitch")
    if spec is None or spec.origin is None:
        console.print("[red]basic-pitch is not installed; run pip install --no-deps basic-pitch==0.4.0[/red]")
        raise typer.Exit(1)
    return Path(spec.origin).parent / "saved_models" / "icassp_2022" / "nmp.mlpackage"


def matches(note: Note, other: Note) -> bool:
    return note.pitch == other.pitch and abs(note.start - other.start) < EARLY_OR_LATE


def agrees(found: list[Note], score: list[Note]) -> bool:
    """Whether exactly the notes of the score were found."""
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


if __name__ == "__main__":
    typer.run(main)
