"""Sounds in which nothing is said, made here: the same ones every time."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from appliance.bench.clips import Clip
from appliance.speech.audio.pcm import s16le
from appliance.speech.types import SAMPLE_RATE_HZ

SECONDS_EACH = 60
"""Five sounds, five minutes."""

_SEED = 16_000
_MAINS_HZ = 50
_CHORDS_HZ = ((220.0, 277.2, 329.6), (196.0, 246.9, 293.7), (174.6, 220.0, 261.6), (164.8, 207.7, 246.9))
_BEAT_S = 0.5

Signal = NDArray[np.float64]


def quiet_clips(language: str, seconds: int = SECONDS_EACH) -> list[Clip]:
    """Silence, white noise, pink noise, mains hum and plain music, at the levels of a room."""
    made: dict[str, tuple[Callable[[int], Signal], float]] = {
        "silence": (np.zeros, 0.0),
        "white-noise": (_white, -40.0),
        "pink-noise": (_pink, -30.0),
        "mains-hum": (_hum, -30.0),
        "music": (_music, -25.0),
    }
    samples = seconds * SAMPLE_RATE_HZ
    return [Clip(name, language, s16le(_at_level(make(samples), dbfs)), "") for name, (make, dbfs) in made.items()]


def _at_level(signal: Signal, dbfs: float) -> NDArray[np.float32]:
    """Scaled to a root mean square of ``dbfs`` decibels below full scale; silence stays silence."""
    effective = float(np.sqrt(np.mean(signal**2)))
    scaled = signal * (10 ** (dbfs / 20) / effective) if effective else signal
    return scaled.astype(np.float32)


def _white(samples: int) -> Signal:
    return np.random.default_rng(_SEED).standard_normal(samples)


def _pink(samples: int) -> Signal:
    """White noise with its power divided by the frequency, from 20 Hz on."""
    spectrum = np.fft.rfft(_white(samples))
    frequencies_hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE_HZ)
    spectrum /= np.sqrt(np.maximum(frequencies_hz, 20.0))
    return np.fft.irfft(spectrum, samples)


def _hum(samples: int) -> Signal:
    """The mains and its odd harmonics."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    return sum(
        (np.sin(2 * np.pi * _MAINS_HZ * order * time_s) / order for order in (1, 3, 5, 7)), start=np.zeros(samples)
    )


def _music(samples: int) -> Signal:
    """Struck chords, one every half second, each dying away."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    beat = (time_s / _BEAT_S).astype(int)
    chords = np.array(_CHORDS_HZ)[beat // 4 % len(_CHORDS_HZ)]
    notes = sum(np.sin(2 * np.pi * chords.T * order * time_s) / order**2 for order in (1, 2, 3))
    fading: Signal = np.sum(notes, axis=0) * np.exp(-3 * (time_s % _BEAT_S) / _BEAT_S)
    return fading
