"""Recordings of different rates and channels as one: lengths, levels, frequencies, and where they meet."""

import itertools
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.errors import ApplianceError, UsageError
from appliance.recording.joining import channel_counts, joined, mix, one_channel, same_count, save_wav
from appliance.speech.audio.file import decode_file

Signal = NDArray[np.float64]


def tone(hz: float, rate_hz: int, seconds: float, level: float = 0.5) -> Signal:
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def write(path: Path, rate_hz: int, *channels: Signal, muxer: str = "wav", codec: str = "pcm_s16le") -> Path:
    """A recording in which each channel is its own signal."""
    names = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1"}
    layout = names[len(channels)]
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        pcm = stream.codec_context.format.name
        encoder = av.AudioResampler(format=pcm, layout=layout, rate=rate_hz, frame_size=stream.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(np.stack(channels).astype(np.float32), format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        for ready in (*encoder.resample(frame), *encoder.resample(None)):
            if ready is not None:
                container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return path


def strongest_hz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum)) * 16000 / samples.size


def level(samples: NDArray[np.float32]) -> float:
    """Peak of a sine of this loudness."""
    return float(np.sqrt(2 * np.mean(samples[800:-800] ** 2)))


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_each_recording_keeps_its_length_pitch_and_level(tmp_path: Path, rate_hz: int) -> None:
    odd_s = 1.0 + 7 / rate_hz
    first = write(tmp_path / "a.wav", rate_hz, tone(440, rate_hz, odd_s))
    second = write(
        tmp_path / "b.flac", 44100, tone(1000, 44100, 0.7), tone(1000, 44100, 0.7), muxer="flac", codec="flac"
    )
    out = np.concatenate(list(mix(joined([first, second, first]))))
    one = round(odd_s * 16000)
    assert abs(out.size - (2 * one + 0.7 * 16000)) <= 3
    parts = out[:one], out[one + 1 : one + 11199], out[-one:]
    assert [round(strongest_hz(part), -1) for part in parts] == [440, 1000, 440]
    assert [level(part) for part in parts] == pytest.approx([0.5] * 3, rel=0.01)


def test_no_click_where_they_meet(tmp_path: Path) -> None:
    """Whole periods end near zero, so a step there would be the joining's own."""
    first = write(tmp_path / "a.wav", 48000, tone(400, 48000, 0.5))
    second = write(tmp_path / "b.wav", 22050, tone(400, 22050, 0.5))
    out = np.concatenate(list(mix(joined([first, second]))))
    steepest = 0.5 * 2 * np.pi * 400 / 16000
    assert np.abs(np.diff(out[7000:9000])).max() < 1.3 * steepest


def test_a_lossy_recording_keeps_its_length(tmp_path: Path) -> None:
    file = write(tmp_path / "a.mp3", 44100, tone(500, 44100, 2.0), muxer="mp3", codec="libmp3lame")
    out = np.concatenate(list(mix(joined([file]))))
    assert abs(out.size - 32000) <= 3 and strongest_hz(out) == pytest.approx(500, abs=2)


@pytest.mark.parametrize("count", [2, 4, 6])
def test_channels_are_mixed_with_equal_weights_and_never_clip(tmp_path: Path, count: int) -> None:
    tones = [300 * (n + 1) for n in range(count)]
    file = write(tmp_path / "a.wav", 48000, *(tone(hz, 48000, 1.0, 0.8) for hz in tones))
    out = np.concatenate(list(mix(joined([file]))))
    spectrum = np.abs(np.fft.rfft(out)) * 2 / out.size
    assert [spectrum[hz] for hz in tones] == pytest.approx([0.8 / count] * count, rel=0.02)
    loud = write(tmp_path / "b.wav", 16000, *([np.full(16000, 32767 / 32768)] * count))
    assert np.concatenate(list(mix(joined([loud])))).max() <= 1.0


def test_channels_apart(tmp_path: Path) -> None:
    tones = [300, 700]
    file = write(tmp_path / "a.wav", 44100, *(tone(hz, 44100, 1.0) for hz in tones))
    for number, hz in enumerate(tones):
        out = np.concatenate(list(one_channel(joined([file, file]), number)))
        assert abs(out.size - 32000) <= 2 and strongest_hz(out) == pytest.approx(hz, abs=1)
        spectrum = np.abs(np.fft.rfft(out[:16000])) * 2 / 16000
        assert spectrum[tones[1 - number]] < 0.001


def test_what_cant_be_joined(tmp_path: Path) -> None:
    mono = write(tmp_path / "mono.wav", 16000, tone(300, 16000, 0.1))
    stereo = write(tmp_path / "stereo.wav", 16000, *[tone(300, 16000, 0.1)] * 2)
    counts = channel_counts([mono, stereo])
    assert counts == [1, 2]
    with pytest.raises(UsageError, match=r"stereo\.wav and .*mono\.wav .*one has 2, the other 1"):
        same_count([mono, stereo], counts)
    with pytest.raises(ApplianceError, match="channel 2 ends"):
        list(one_channel(joined([stereo, mono]), 1))
    with pytest.raises(ApplianceError, match="can't read"):
        channel_counts([mono, tmp_path / "none.wav"])


def test_saved(tmp_path: Path) -> None:
    first = write(tmp_path / "a.wav", 44100, tone(300, 44100, 1.0), tone(500, 44100, 1.0))
    out = tmp_path / "joined.wav"
    assert save_wav(joined([first, first]), out) == pytest.approx(2.0, abs=2 / 16000)
    with wave.open(str(out)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 16000, 2)
        assert abs(file.getnframes() - 32000) <= 2
    ours, theirs = (np.concatenate(list(samples)) for samples in (decode_file(out), mix(joined([first, first]))))
    assert np.abs(ours - theirs).max() <= 1 / 32768
    with pytest.raises(ApplianceError, match="number of channels changes"):
        save_wav(itertools.chain(joined([first]), [np.zeros((1, 10), np.float32)]), out)
    with pytest.raises(ApplianceError, match="can't read"):
        save_wav(joined([tmp_path / "none.wav"]), tmp_path / "other.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "joined.wav"]
