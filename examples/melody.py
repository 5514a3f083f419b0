"""Melody: synthesizes a short piece with a known score, the default input of `transcribe.py`."""

from __future__ import annotations

import numpy as np

from notes import Note

RATE = 22_050

# A rising arpeggio, a turn and a final chord.
SCORE = [
    Note(0.25, 0.40, 60),
    Note(0.75, 0.40, 64),
    Note(1.25, 0.40, 67),
    Note(1.75, 0.40, 72),
    Note(2.25, 0.60, 71),
    Note(3.00, 0.40, 69),
    Note(3.50, 0.40, 65),
    Note(4.00, 0.40, 62),
    Note(4.50, 1.20, 48),
    Note(4.50, 1.20, 60),
    Note(4.50, 1.20, 64),
    Note(4.50, 1.20, 67),
]


def synthesize(score: list[Note] = SCORE, rate: int = RATE) -> np.ndarray:
    """Synthesize plucked tones, whose higher harmonics fade sooner, as float32 samples in [-1, 1]."""
    end = max(note.start + note.duration for note in score) + 0.8
    sound = np.zeros(int(end * rate))
    for note in score:
        tone = _tone(440 * 2 ** ((note.pitch - 69) / 12), note.duration, rate)
        begin = int(note.start * rate)
        sound[begin : begin + len(tone)] += tone[: len(sound) - begin]
    sound += np.random.default_rng(0).normal(0, 1e-4, len(sound))  # background noise, as in any recording
    return (0.8 * sound / np.abs(sound).max()).astype(np.float32)


def _tone(frequency: float, duration: float, rate: int) -> np.ndarray:
    t = np.arange(int((duration + 0.05) * rate)) / rate
    harmonics = (
        np.sin(2 * np.pi * k * frequency * t) * k**-2.5 * np.exp(-t * (0.8 + 0.5 * k))
        for k in range(1, 9)
        if k * frequency < rate / 2
    )
    attack, release = np.minimum(t / 0.008, 1), np.clip((duration + 0.05 - t) / 0.05, 0, 1)
    return sum(harmonics, np.zeros_like(t)) * attack * release
