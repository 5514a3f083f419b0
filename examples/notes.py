"""Notes: from the posteriors of Basic Pitch to note events.

The network and its constants: Bittner et al., "A Lightweight Instrument-Agnostic Model for Polyphonic Note
Transcription and Multipitch Estimation", ICASSP 2022. It reads windows of two seconds of sound at 22,050 Hz and gives,
every 256 samples, for each of the 88 keys of a piano, how likely a note sounds and how likely one begins.
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

ONSET = 0.5
SOUNDING = 0.3
SHORTEST = 11  # frames, 128 ms
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
    """Note events from times (T) and posteriors (T, 88), in order of their start.

    A note begins at a peak of its onset posterior and lasts while it sounds. The last beginnings are taken first, and
    a note takes its energy with it, and that of the neighbouring keys, so that nothing is heard twice.
    """
    energy = sounding.copy()
    notes = []
    for begin, key in reversed(_peaks(onsets)):
        end = _end(energy[:, key], begin)
        if end - begin <= SHORTEST:
            continue
        energy[begin:end, max(key - 1, 0) : key + 2] = 0
        notes.append(Note(float(times[begin]), float(times[end - 1] - times[begin]), key + LOWEST))
    return sorted(notes)


def _peaks(onsets: np.ndarray) -> list[tuple[int, int]]:
    """(frame, key) where an onset is a maximum over time and likely enough, in order of time."""
    padded = np.pad(onsets, ((1, 1), (0, 0)))
    highest = (onsets > padded[:-2]) & (onsets >= padded[2:]) & (onsets >= ONSET)
    return [(int(frame), int(key)) for frame, key in np.argwhere(highest)]


def _end(energy: np.ndarray, begin: int) -> int:
    """The frame at which a key falls silent: the first of more faint ones in a row than patience allows."""
    faint = 0
    for frame in range(begin, len(energy)):
        faint = faint + 1 if energy[frame] < SOUNDING else 0
        if faint > PATIENCE:
            return frame + 1 - faint
    return len(energy) - faint
