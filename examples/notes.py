"""Notes: splits sound into windows for Basic Pitch and decodes its posteriors to note events.

Source of the network, its constants and the decoding: Bittner et al., "A Lightweight Instrument-Agnostic Model for
Polyphonic Note Transcription and Multipitch Estimation", ICASSP 2022. The network reads windows of two seconds of sound
at 22,050 Hz. For every 256 samples and each of a piano's 88 keys it returns the probabilities that a note sounds and
that one begins. Decoding first finds notes from the onsets, last onset first, then from energy that no onset explains.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

RATE = 22_050
HOP = 256
WINDOW = 2 * RATE - HOP
FRAMES = 172
OVERLAP = 30  # frames shared by two windows; half are discarded on each side, where the network lacks context
LOWEST = 21  # MIDI pitch of the first key
# Below one step of 24-bit audio. The Core ML model divides by a window's loudness range, which is 0 / 0 in silence.
SILENT = 1e-7

ONSET = 0.5
SOUNDING = 0.3
SHORTEST = 11  # frames (128 ms); notes must be longer
PATIENCE = 11  # frames below the threshold before a note ends


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """A note: start and duration in seconds, MIDI pitch (69 is A4, 440 Hz)."""

    start: float
    duration: float
    pitch: int

    @property
    def name(self) -> str:
        names = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
        return f"{names[self.pitch % 12]}{self.pitch // 12 - 1}"


def windows(sound: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    """Split the sound into windows (1, WINDOW, 1), each with the time of its first sample in seconds."""
    step = WINDOW - OVERLAP * HOP
    before = OVERLAP // 2 * HOP
    padded = np.concatenate([np.zeros(before, np.float32), sound.astype(np.float32)])
    for begin in range(0, max(len(padded) - before, 1), step):
        window = padded[begin : begin + WINDOW]
        yield (begin - before) / RATE, np.pad(window, (0, WINDOW - len(window))).reshape(1, WINDOW, 1)


def kept_frames(start: float) -> tuple[slice, np.ndarray]:
    """Frames of a window to keep, and their times in seconds."""
    inner = slice(OVERLAP // 2, FRAMES - OVERLAP // 2)
    return inner, start + np.arange(FRAMES)[inner] * HOP / RATE


def find_notes(times: np.ndarray, sounding: np.ndarray, onsets: np.ndarray) -> list[Note]:
    """Decode times (T) and posteriors (T, 88) to note events, sorted by start."""
    energy = sounding.copy()
    spans = [*_struck(energy, onsets), *_unstruck(energy)]
    return sorted(
        Note(float(times[begin]), float(times[end - 1] - times[begin]), key + LOWEST) for begin, end, key in spans
    )


def _struck(energy: np.ndarray, onsets: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Notes that begin at a peak of the onset posterior, as (first frame, frame after the last, key).

    Later onsets are processed first: each note removes its energy, so an earlier note ends where the next begins.
    """
    for begin, key in reversed(_peaks(onsets)):
        end = begin + _length(energy[begin:, key])
        if end - begin > SHORTEST:
            _take(energy, begin, end, key)
            yield begin, end, key


def _unstruck(energy: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Notes without an onset: the remaining energy, extended from its likeliest frames forward and backward."""
    likeliest = np.argsort(-energy, axis=None, kind="stable")[: np.count_nonzero(energy >= SOUNDING)]
    for frame, key in zip(*(axis.tolist() for axis in np.unravel_index(likeliest, energy.shape)), strict=True):
        if energy[frame, key] < SOUNDING:  # removed with a likelier note
            continue
        begin = frame + 1 - _length(energy[frame::-1, key])
        end = frame + _length(energy[frame:, key])
        _take(energy, begin, end, key)
        if end - begin > SHORTEST:
            yield begin, end, key


def _peaks(onsets: np.ndarray) -> list[tuple[int, int]]:
    """(frame, key) of the onsets that are local maxima over time and above the threshold, in order of time."""
    padded = np.pad(onsets, ((1, 1), (0, 0)))
    highest = (onsets > padded[:-2]) & (onsets >= padded[2:]) & (onsets >= ONSET)
    return [(int(frame), int(key)) for frame, key in np.argwhere(highest)]


def _length(likelihood: np.ndarray) -> int:
    """Frames until a key falls silent: until more than PATIENCE consecutive frames are below SOUNDING."""
    faint = 0
    for count, value in enumerate(likelihood, start=1):
        faint = faint + 1 if value < SOUNDING else 0
        if faint > PATIENCE:
            return count - faint
    return len(likelihood) - faint


def _take(energy: np.ndarray, begin: int, end: int, key: int) -> None:
    """Remove a note's energy on its key and the neighbouring keys."""
    energy[begin:end, max(key - 1, 0) : key + 2] = 0
