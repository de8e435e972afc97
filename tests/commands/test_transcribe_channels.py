"""Real recordings, joined and with channels apart."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.speech.audio.file import decode_file
from appliance.speech.types import Samples
from tests.commands.test_transcribe import transcribe
from tests.conftest import Spoken
from tests.server.running import word_errors

pytestmark = pytest.mark.model


def samples_of(spoken: Spoken) -> Samples:
    return np.concatenate(list(decode_file(spoken.path)))


def stereo(path: Path, channels: NDArray[np.float32]) -> Path:
    """FLAC of two channels at 44.1 kHz."""
    with av.open(str(path), "w", format="flac") as out:
        stream = out.add_stream("flac", rate=44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout="stereo")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=44100, frame_size=4608)
        for ready in (*resampler.resample(frame), *resampler.resample(None)):
            if ready is not None:
                out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return path


def test_each_channels_words_are_its_speakers(librivox: tuple[Spoken, ...], flags: list[str], tmp_path: Path) -> None:
    first, second = samples_of(librivox[0]), samples_of(librivox[2])
    before = np.zeros(len(first) + 8000, np.float32)
    channels = np.zeros((2, len(before) + len(second) + 8000), np.float32)
    channels[0, : len(first)] = first
    channels[1, len(before) : len(before) + len(second)] = second
    file = stereo(tmp_path / "both.flac", channels)
    command = [str(file), "--in-process", *flags, "--language", "en", "--channels", "split", "--quiet", "--format"]
    status, out, said = transcribe(*command, "json")
    assert status == 0, said
    lines = json.loads(out)["lines"]
    texts = {n: " ".join(line["text"] for line in lines if line["speaker"] == n) for n in (1, 2)}
    assert word_errors(librivox[0].transcript, texts[1]) <= 2
    assert word_errors(librivox[2].transcript, texts[2]) <= 2
    starts = [line["start"] for line in lines]
    assert starts == sorted(starts) and lines[0]["speaker"] == 1 and lines[-1]["speaker"] == 2
    assert lines[-1]["words"][0]["start"] > len(before) / 16000 - 0.5


def test_joined_recordings_are_heard_as_one(librivox: tuple[Spoken, ...], flags: list[str], tmp_path: Path) -> None:
    first = samples_of(librivox[0])
    left = stereo(tmp_path / "a.flac", np.stack([first, np.zeros_like(first)]))
    command = [str(left), str(librivox[2].path), "--join", "--in-process", *flags, "--language", "en", "--quiet"]
    status, out, said = transcribe(*command)
    assert status == 0, said
    assert word_errors(f"{librivox[0].transcript} {librivox[2].transcript}", out) <= 4
