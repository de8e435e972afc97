import numpy as np
import pytest

from appliance.speakers.regions import PAD_SAMPLES
from appliance.speakers.windows import HEARD_SAMPLES, SpeechWindows, Window
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from tests.speakers.loudness import LoudVad


def sound(*parts: float) -> Samples:
    """Speech and silence in turn, of so many seconds each, speech first; no sample of speech is like another."""
    pieces = [
        np.full(round(part * SAMPLE_RATE_HZ), index % 2 == 0, dtype=np.float32) for index, part in enumerate(parts)
    ]
    loud = np.concatenate(pieces)
    return loud * np.linspace(0.1, 0.9, len(loud), dtype=np.float32)


def cut(samples: Samples, piece: int) -> list[Window]:
    speech = SpeechWindows(LoudVad())
    windows: list[Window] = []
    before = 0
    for start in range(0, len(samples), piece):
        speech.feed(samples[start : start + piece])
        while speech.pending:
            windows += speech.advance()
        assert before <= speech.decided <= start + piece
        before = speech.decided
        assert len(speech._audio) <= 2 * HEARD_SAMPLES
    speech.finish()
    while speech.pending:
        windows += speech.advance()
    assert speech.done
    assert speech.decided == len(samples)
    return windows


@pytest.mark.parametrize("piece", [512, 1600, 16_000, 1_000_000])
def test_windows_stand_for_all_speech_once_and_hold_its_samples(piece: int) -> None:
    samples = sound(0.4, 0.5, 3.3, 1.0, 7.1, 0.4, 0.9, 2.0)
    windows = cut(samples, piece)
    found = np.zeros(len(samples), dtype=int)
    for window in windows:
        assert window.start < window.end
        found[window.start : window.end] += 1
        (begin,) = np.flatnonzero(samples == window.samples.max())[:1] - window.samples.argmax()
        assert np.array_equal(samples[begin : begin + len(window.samples)], window.samples)
        assert begin <= window.start + PAD_SAMPLES or len(window.samples) == HEARD_SAMPLES
    assert found.max() == 1
    assert np.all(found[samples > 0] == 1)
    assert found.sum() <= np.count_nonzero(samples) + 4 * (2 * PAD_SAMPLES + 1024)


def test_a_second_of_speech_is_enough_to_go_on() -> None:
    speech = SpeechWindows(LoudVad())
    speech.feed(sound(1.1))
    (window,) = speech.advance()
    assert (window.start, len(window.samples)) == (0, SAMPLE_RATE_HZ)
    assert speech.decided == window.end > 0.5 * SAMPLE_RATE_HZ


def test_parts_meet_in_a_pause_where_there_is_one() -> None:
    samples = sound(0.87, 0.1, 3.0)
    first, *_ = cut(samples, 1600)
    assert 0.87 * SAMPLE_RATE_HZ - 512 <= first.end <= 0.97 * SAMPLE_RATE_HZ + 512


def test_the_last_shorter_piece_is_heard_too() -> None:
    *_, last = cut(sound(5.0, 0.5, 0.2), 1600)
    assert last.end == round(5.7 * SAMPLE_RATE_HZ)
    assert len(last.samples) < HEARD_SAMPLES


def test_of_silence_there_is_nothing_to_hear() -> None:
    assert cut(np.zeros(100_000, dtype=np.float32), 1600) == []


def test_a_stream_without_samples_ends() -> None:
    speech = SpeechWindows(LoudVad())
    assert not speech.pending
    speech.finish()
    assert speech.pending
    assert speech.advance() == []
    assert speech.done
