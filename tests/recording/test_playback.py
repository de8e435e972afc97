"""Times as users write them, cutting to the sample, and the pace of a microphone."""

import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import UsageError
from appliance.recording.playback import Clip, duration_s, frames, paced, parse_time, show_time
from appliance.speech.audio.file import decode_file
from appliance.speech.types import SAMPLE_RATE_HZ, Samples


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("12.5", 12.5), ("90", 90), ("1:30", 90), ("01:05.25", 65.25), ("1:02:03.5", 3723.5), ("0:0:7", 7)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "abc", "1:60", "1:61:00", "1:2:3:4", "1.5:00", "1,5", "nan", "١", "1:"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="not a time") as caught:
        parse_time(text)
    assert "m:ss" in caught.value.hint and caught.value.exit_status == 2


def test_shown_times() -> None:
    shown = ["0:00", "0:12.50", "1:30", "59:59.99", "1:00:00", "1:02:03.50"]
    assert [show_time(s) for s in (0, 12.5, 90, 3599.99, 3600, 3723.5)] == shown


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """3.2 s in which every sample is another number."""
    values = np.arange(51_200, dtype="<i4") - 25_600
    with wave.open(str(tmp_path / "ramp.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(values.astype("<i2").tobytes())
    return tmp_path / "ramp.wav"


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(0.0, None), (0.0, 1.0), (1.2345, 2.5), (3.1, None), (1.0, 1.0001), (2.0, 99.0)]
)
def test_a_file_is_cut_to_the_sample(ramp: Path, start_s: float, end_s: float | None) -> None:
    whole = np.concatenate(list(decode_file(ramp)))
    clip = Clip(decode_file(ramp), start_s, end_s)
    cut = np.concatenate(list(clip))
    first, last = round(start_s * SAMPLE_RATE_HZ), min(51_200, round((end_s or 99) * SAMPLE_RATE_HZ))
    assert np.array_equal(cut, whole[first:last])
    assert clip.position_s == last / SAMPLE_RATE_HZ


def test_nothing_is_decoded_after_the_end(ramp: Path) -> None:
    decoded = 0

    def counted() -> Iterator[Samples]:
        nonlocal decoded
        for piece in decode_file(ramp):
            decoded += len(piece)
            yield piece

    assert sum(map(len, Clip(counted(), 0.0, 0.5))) == 8000
    assert 8000 <= decoded < 20_000


@pytest.mark.parametrize("start_s", [3.2, 4.0, 1e9])
def test_beyond_the_end(ramp: Path, start_s: float) -> None:
    with pytest.raises(UsageError, match=r"is beyond the end of the audio, which is 0:03.20 long"):
        list(Clip(decode_file(ramp), start_s))


@pytest.mark.parametrize("end_s", [0.0, 1.0, 2.0])
def test_reversed(end_s: float) -> None:
    with pytest.raises(UsageError, match="is not after --from 0:02"):
        Clip([], 2.0, end_s)


def test_length_as_the_file_says(ramp: Path, tmp_path: Path) -> None:
    assert duration_s(ramp) == pytest.approx(3.2)
    assert duration_s(tmp_path / "none.wav") is None
    (tmp_path / "text.wav").write_text("text")
    assert duration_s(tmp_path / "text.wav") is None


def test_frames() -> None:
    pieces = [np.full(n, n, dtype=np.float32) for n in (1, 1599, 0, 5000, 7)]
    cut = list(frames(pieces))
    assert [len(piece) for piece in cut] == [1600, 0, 1600, 1600, 1600, 207], "an empty one is passed on"
    assert np.array_equal(np.concatenate(cut), np.concatenate(pieces))


def test_pace_of_a_microphone() -> None:
    audio = [np.zeros(8000, dtype=np.float32)]
    started = time.monotonic()
    assert len(list(paced(audio, "fast"))) == 5
    assert time.monotonic() - started < 0.3
    started = time.monotonic()
    assert len(list(paced(audio, "realtime"))) == 5
    assert 0.49 < time.monotonic() - started < 2.0


def test_stop_ends_a_slow_stream_at_once() -> None:
    stop = threading.Event()
    stream = paced([np.zeros(16_000, dtype=np.float32)], "realtime", stop)
    next(stream)
    stop.set()
    assert list(stream) == []
