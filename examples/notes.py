"""Notes: from the posteriors of Basic Pitch to note events.

The network and its constants: Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note
Transcription and Multipitch Estimation", ICASSP 2022. It reads windows of two seconds of sound at 22,050 Hz and gives,
every 256 samples, for each of the 88 keys of a piano, how likely a note sounds and how likely one begins. The decoding
is that of the paper: notes from the onsets, the last first, then notes from the energy that no onset explains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RATE = 22_050
HOP = 256
WINDOW = 2 * RATE - HOP
FRAMES = 172
OVERLAP = 30  # frames shared by two windows: half of them are cut off each side, where the network sees too little
LOWEST = 21  # the MIDI pitch of the first key
# Below one step of 24 bits. The Core ML model divides by the range of the loudness in a window, and where nothing
# sounds that is 0 / 0.
SILENT = 1e-7

ONSET = 0.5
SOUNDING = 0.3
SHORTEST = 11  # frames (128 ms); a note is longer
PATIENCE = 11  # frames that a note may be faint before it is over


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """Seconds, seconds, MIDI pitch (69 is A4, 440 Hz)."""

    start: float
    duration: float
    pitch: int

    @property
    def name(self) -> str:
        names = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
        return f"{names[self.pitch % 12]}{self.pitch // 12 - 1}"


def windows(sound: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """The windows (1, WINDOW, 1) that cover the sound, each with the time in seconds of its first sample."""
    step = WINDOW - OVERLAP * HOP
    before = OVERLAP // 2 * HOP
    padded = np.concatenate([np.zeros(before, np.float32), sound.astype(np.float32)])
    for begin in range(0, max(len(padded) - before, 1), step):
        window = padded[begin : begin + WINDOW]
        yield (begin - before) / RATE, np.pad(window, (0, WINDOW - len(window))).reshape(1, WINDOW, 1)


def kept_frames(start: float) -> tuple[slice, np.ndarray]:
    """Which frames of a window are kept, and their times."""
    inner = slice(OVERLAP // 2, FRAMES - OVERLAP // 2)
    return inner, start + np.arange(FRAMES)[inner] * HOP / RATE


def find_notes(times: np.ndarray, sounding: np.ndarray, onsets: np.ndarray) -> list[Note]:
    """Note events from times (T) and posteriors (T, 88), in order of their start."""
    energy = sounding.copy()
    spans = [*_struck(energy, onsets), *_unstruck(energy)]
    return sorted(
        Note(float(times[begin]), float(times[end - 1] - times[begin]), key + LOWEST) for begin, end, key in spans
    )


def _struck(energy: np.ndarray, onsets: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(first frame, frame after the last, key) of the notes that begin at a peak of their onset posterior.

    The last beginnings come first: a note takes its energy with it, so an earlier one ends where the next begins.
    """
    for begin, key in reversed(_peaks(onsets)):
        end = begin + _length(energy[begin:, key])
        if end - begin > SHORTEST:
            _take(energy, begin, end, key)
            yield begin, end, key


def _unstruck(energy: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """The notes that nobody struck: energy that is left, from the likeliest frame both forward and backward."""
    likeliest = np.argsort(-energy, axis=None, kind="stable")[: np.count_nonzero(energy >= SOUNDING)]
    for frame, key in zip(*(axis.tolist() for axis in np.unravel_index(likeliest, energy.shape)), strict=True):
        if energy[frame, key] < SOUNDING:  # a likelier note has taken it
            continue
        begin = frame + 1 - _length(energy[frame::-1, key])
        end = frame + _length(energy[frame:, key])
        _take(energy, begin, end, key)
        if end - begin > SHORTEST:
            yield begin, end, key


def _peaks(onsets: np.ndarray) -> list[tuple[int, int]]:
    """(frame, key) where an onset is a maximum over time and likely enough, in order of time."""
    padded = np.pad(onsets, ((1, 1), (0, 0)))
    highest = (onsets > padded[:-2]) & (onsets >= padded[2:]) & (onsets >= ONSET)
    return [(int(frame), int(key)) for frame, key in np.argwhere(highest)]


def _length(likelihood: np.ndarray) -> int:
    """The number of frames until a key falls silent: until more of them in a row are faint than patience allows."""
    faint = 0
    for count, value in enumerate(likelihood, start=1):
        faint = faint + 1 if value < SOUNDING else 0
        if faint > PATIENCE:
            return count - faint
    return len(likelihood) - faint


def _take(energy: np.ndarray, begin: int, end: int, key: int) -> None:
    """What belongs to a note, on its own key and what spills to the neighbouring ones, is heard no more."""
    energy[begin:end, max(key - 1, 0) : key + 2] = 0
