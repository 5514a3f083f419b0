"""Recording: reads WAV files as samples at the network's rate, and writes them."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from notes import RATE


class RecordingError(Exception):
    """A file that cannot be read as sound; the message contains the path and the reason."""


def read_wav(path: Path) -> np.ndarray:
    """Read a WAV file as the mean of its channels: float32 samples at 22,050 Hz.

    Integers of any width, including 24 bits, are scaled by full scale to [-1, 1); floats are unchanged. Other rates are
    resampled with a polyphase filter. Raises RecordingError if the file is not WAV, has a truncated header, is
    compressed, has no samples, or has non-finite samples.
    """
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    try:
        rate, samples = wavfile.read(path)
    except (OSError, ValueError, ArithmeticError, struct.error) as error:
        raise RecordingError(
            f"{path} cannot be read as WAV ({error}); convert it to uncompressed WAV: ffmpeg -i recording out.wav"
        ) from error
    if not samples.size:
        raise RecordingError(f"{path} has no samples")
    mono = _full_scale(samples).reshape(len(samples), -1).mean(axis=1)
    if not np.isfinite(mono).all():
        raise RecordingError(
            f"{path} has samples that are not finite, the first at {np.isfinite(mono).argmin() / rate} s"
        )
    common = math.gcd(rate, RATE)
    return np.asarray(resample_poly(mono, RATE // common, rate // common), np.float32)


def write_wav(path: Path, sound: np.ndarray) -> None:
    """Write float samples in [-1, 1] at 22,050 Hz as 16-bit PCM."""
    from scipy.io import wavfile

    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, RATE, np.round(sound * 32767).astype(np.int16))


def _full_scale(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)  # scipy shifts 24 bits up to fill 32
    middle = half if samples.dtype.kind == "u" else 0.0  # up to 8 bits, samples are unsigned
    return (samples - middle) / half
