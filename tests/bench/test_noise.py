import numpy as np
import pytest

from appliance.bench.noise import quiet_clips


def test_five_sounds_at_their_levels_and_the_same_every_time() -> None:
    clips = quiet_clips("en", seconds=4)
    assert [clip.name for clip in clips] == ["silence", "white-noise", "pink-noise", "mains-hum", "music"]
    assert all(clip.length_s == 4 and clip.transcript == "" and not clip.words for clip in clips)
    levels = []
    for clip in clips:
        signal = np.frombuffer(clip.pcm, dtype="<i2") / 32768
        assert np.abs(signal).max() < 0.9
        levels.append(20 * np.log10(np.sqrt(np.mean(signal**2)) + 1e-9))
    assert levels == pytest.approx([-180, -40, -30, -30, -25], abs=0.2)
    assert [clip.pcm for clip in quiet_clips("en", seconds=4)] == [clip.pcm for clip in clips]


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    pink = next(clip for clip in quiet_clips("en", seconds=20) if clip.name == "pink-noise")
    power = np.abs(np.fft.rfft(np.frombuffer(pink.pcm, dtype="<i2") / 32768)) ** 2
    low, high = power[200 * 20 : 400 * 20].mean(), power[3200 * 20 : 6400 * 20].mean()
    assert 10 * np.log10(low / high) == pytest.approx(12, abs=1)
