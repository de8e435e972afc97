"""Log-mel filterbank features as Kaldi computes them, which speaker models are trained on.

Method: Kaldi's compute-fbank-feats with its defaults and no dither: frames of 25 ms every 10 ms, whole ones only; each
without its mean, pre-emphasized by 0.97, under Povey's window; the power spectrum of 512 points; 80 triangles from
20 Hz to 8 kHz, equally spaced on and straight over the scale ``1127 ln(1 + f / 700)``; the logarithm.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.speech.types import SAMPLE_RATE_HZ, Samples

BANDS = 80
FRAME_SAMPLES = SAMPLE_RATE_HZ * 25 // 1000
HOP_SAMPLES = SAMPLE_RATE_HZ // 100

_FFT_SAMPLES = 512
_PREEMPHASIS = np.float32(0.97)
_LOWEST_HZ = 20.0
_LEAST = np.finfo(np.float32).eps


def log_mel(samples: Samples) -> NDArray[np.float32]:
    """Features ``[frames, 80]``, float32; no frames where there are fewer than 400 samples."""
    if len(samples) < FRAME_SAMPLES:
        return np.zeros((0, BANDS), dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::HOP_SAMPLES]
    frames = frames - frames.mean(axis=1, keepdims=True)
    frames[:, 1:] -= _PREEMPHASIS * frames[:, :-1]
    frames[:, 0] *= 1 - _PREEMPHASIS
    spectrum = np.fft.rfft(frames * _window(), _FFT_SAMPLES)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    features: NDArray[np.float32] = np.log(np.maximum(power @ _filters(), _LEAST))
    return features


@cache
def _window() -> NDArray[np.float32]:
    """Povey's: a Hann window to the power of 0.85."""
    return np.asarray(np.hanning(FRAME_SAMPLES) ** 0.85, dtype=np.float32)


@cache
def _filters() -> NDArray[np.float32]:
    """The triangles, ``[bins, 80]``."""
    lowest, highest = _mel(np.array([_LOWEST_HZ, SAMPLE_RATE_HZ / 2]))
    edges = np.linspace(lowest, highest, BANDS + 2)
    bins = _mel(np.arange(_FFT_SAMPLES // 2 + 1) * (SAMPLE_RATE_HZ / _FFT_SAMPLES))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)), dtype=np.float32)


def _mel(hertz: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log1p(hertz / 700), dtype=np.float64)
