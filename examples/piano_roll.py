"""Piano roll: draws posteriors, the notes found in them and a keyboard to a picture file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from notes import HOP, LOWEST, RATE, Note

INK, PAPER, LANE, NOTE = "#e8e6e3", "#12101c", "#ffffff", "#7fe0d0"
BLACK_KEYS = (1, 3, 6, 8, 10)


def draw(times: np.ndarray, sounding: np.ndarray, found: list[Note], path: Path, title: str) -> None:
    """Draw posteriors (T, 88) at times (T) in seconds as a heat map with a box around each note; write it to `path`.

    The suffix selects the format: .png, .svg or .pdf. The width grows with the recording, up to a limit.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    low, high = _range(found)
    width = float(np.clip(1.5 * (times[-1] - times[0]), 11, 40))
    height = float(np.clip(0.19 * (high - low), 5, 12))
    colours = {"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    with mpl.rc_context(colours | {"figure.facecolor": PAPER, "axes.facecolor": PAPER, "font.size": 10}):
        figure, (keys, roll) = plt.subplots(
            1, 2, figsize=(width, height), width_ratios=[1, 1.8 * width], sharey=True, layout="constrained"
        )
        figure.get_layout_engine().set(wspace=0.0, w_pad=0.03, h_pad=0.08)
        _keyboard(keys, low, high)
        heat = _roll(roll, times, sounding, found)
        roll.set_ylim(low - 0.5, high + 0.5)
        roll.set_title(
            f"Basic Pitch hears {title}", loc="left", fontsize=13, fontweight="bold", pad=10, parse_math=False
        )
        roll.set_title(f"{len(found)} notes", loc="right", color=NOTE, pad=10)
        figure.colorbar(heat, label="probability that the key sounds", pad=0.012, aspect=30).outline.set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=140)
    plt.close(figure)


def _range(found: list[Note]) -> tuple[int, int]:
    """Lowest and highest pitch to show: the notes and some keys around them, at least two octaves."""
    low = min((note.pitch for note in found), default=60) - 4
    high = max((note.pitch for note in found), default=72) + 4
    spare = max(24 - (high - low), 0)
    return max(low - spare // 2, LOWEST), min(high + spare - spare // 2, LOWEST + 87)


def _keyboard(axes: Any, low: int, high: int) -> None:
    """Draw the keys beside their rows; every C is labelled, and every white key if there is room."""
    axes.set_facecolor("#f4f2ee")
    for pitch in range(low, high + 1):
        if pitch % 12 in BLACK_KEYS:  # the line where the white keys on both sides meet
            axes.plot([0.62, 1], [pitch, pitch], color="#b9b6b0", linewidth=0.8)
            axes.barh(pitch, 0.62, height=0.9, color="#1b1926")
        elif pitch % 12 in (0, 5):
            axes.plot([0, 1], [pitch - 0.5, pitch - 0.5], color="#b9b6b0", linewidth=0.8)
    named = [p for p in range(low, high + 1) if p % 12 == 0 or (high - low <= 48 and p % 12 not in BLACK_KEYS)]
    axes.set_yticks(named, [Note(0, 0, pitch).name for pitch in named], fontsize=8)
    axes.set(xlim=(0, 1), xticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _roll(axes: Any, times: np.ndarray, sounding: np.ndarray, found: list[Note]) -> Any:
    half = HOP / RATE / 2
    extent = (times[0] - half, times[-1] + half, LOWEST - 0.5, LOWEST + 87.5)
    heat = axes.imshow(sounding.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=0, vmax=1)
    for pitch in range(LOWEST, LOWEST + 88):
        if pitch % 12 in (0, 5):  # lines between adjacent white keys: below C and F
            axes.axhline(pitch - 0.5, color=LANE, alpha=0.22 if pitch % 12 == 0 else 0.1, linewidth=0.7)
    for note in found:
        box = axes.barh(note.pitch, note.duration, left=note.start, height=1, fill=False, edgecolor=NOTE, linewidth=1.3)
        box[0].set_joinstyle("round")
        if len(found) <= 120:  # more labels would hide the picture
            axes.annotate(note.name, (note.start, note.pitch + 0.65), color=NOTE, fontsize=8)
    axes.set(xlim=extent[:2], xlabel="seconds")
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.spines[:].set_visible(False)
    return heat
