import numpy as np
import pytest

from appliance.speakers.features import BANDS, log_mel
from appliance.speech.types import SAMPLE_RATE_HZ


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    time_s = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.1 * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)


@pytest.mark.parametrize(("samples", "frames"), [(399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)])
def test_only_whole_frames_count(samples: int, frames: int) -> None:
    features = log_mel(np.ones(samples, dtype=np.float32))
    assert features.shape == (frames, BANDS)
    assert features.dtype == np.float32


def test_silence_is_the_floor_and_not_minus_infinity() -> None:
    assert np.allclose(log_mel(np.zeros(1600, dtype=np.float32)), np.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize("hertz", [150.0, 440.0, 1000.0, 3000.0, 7000.0])
def test_a_tone_is_loudest_in_the_band_around_it(hertz: float) -> None:
    low, high = 1127 * np.log1p(20 / 700), 1127 * np.log1p(8000 / 700)
    centre = (1127 * np.log1p(hertz / 700) - low) / (high - low) * (BANDS + 1) - 1
    assert np.all(np.abs(log_mel(tone(hertz)).argmax(axis=1) - centre) <= 1)


def test_twice_as_loud_is_more_by_the_logarithm_of_four() -> None:
    noise = np.random.default_rng(1).standard_normal(8000).astype(np.float32) * np.float32(0.1)
    assert np.allclose(log_mel(2 * noise) - log_mel(noise), np.log(4), atol=1e-4)


def test_the_figures_that_kaldi_gives() -> None:
    """Of a rising tone: as kaldi-native-fbank 1.23 gave them, without dither."""
    expected = [
        [-5.774, 3.522, -11.540, -15.942],
        [-15.141, -12.609, 6.150, -15.942],
        [-15.942, -15.942, -12.763, -15.942],
    ]
    time_s = np.arange(1600) / SAMPLE_RATE_HZ
    features = log_mel((0.5 * np.sin(2 * np.pi * (200 * time_s + 20_000 * time_s**2))).astype(np.float32))
    assert features.shape == (8, BANDS)
    assert np.allclose(features[[0, 3, 7], :][:, [5, 20, 40, 79]], expected, atol=1e-2)
