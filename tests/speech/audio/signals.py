"""Speech-like test signals, and PyAV encoders for every container that the decoder takes."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float32]


@dataclass(frozen=True)
class Encoding:
    muxer: str
    codec: str
    rate_hz: int
    layout: str
    options: dict[str, str] = field(default_factory=dict)
    tolerance_samples: int = 0
    """How many 16 kHz samples the codec itself may add or drop at the ends (priming, padding)."""


ENCODINGS = {
    "webm": Encoding("webm", "libopus", 48000, "mono", {"live": "1", "cluster_time_limit": "100"}, 120),
    "ogg-opus": Encoding("ogg", "libopus", 48000, "stereo", {}, 120),
    "wav-44k-stereo": Encoding("wav", "pcm_s16le", 44100, "stereo", {}, 2),
    "wav-16k": Encoding("wav", "pcm_s16le", 16000, "mono", {}, 0),
    "flac": Encoding("flac", "flac", 48000, "stereo", {}, 2),
    "mp3": Encoding("mp3", "libmp3lame", 44100, "mono", {}, 1200),
    "mp3-no-tag": Encoding("mp3", "libmp3lame", 44100, "mono", {"id3v2_version": "0", "write_xing": "0"}, 1600),
    "mp4-fragmented": Encoding(
        "mp4", "aac", 48000, "mono", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}, 1200
    ),
    "mp4-faststart": Encoding("mp4", "aac", 48000, "mono", {"movflags": "faststart"}, 1200),
    "aac-adts": Encoding("adts", "aac", 48000, "mono", {}, 1200),
    "matroska-7.1": Encoding("matroska", "aac", 48000, "7.1", {}, 1200),
    "matroska-16-channels": Encoding("matroska", "pcm_s16le", 48000, "hexadecagonal", {}, 2),
}


def speechlike(rate_hz: int, seconds: float = 3.0, seed: int = 7) -> Signal:
    """Voiced bursts with gliding pitch and formant-like harmonics, gaps, and faint noise; mono, peak 0.5."""
    count = round(rate_hz * seconds)
    t = np.arange(count) / rate_hz
    pitch_hz = 130 + 40 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voice = sum((np.sin(k * phase) / k for k in range(1, 16)), np.zeros(count))
    envelope = np.clip(np.sin(2 * np.pi * 1.9 * t), 0, 1) ** 0.5
    noise = np.random.default_rng(seed).normal(0, 0.003, count)
    mixed = voice * envelope + noise
    return np.asarray(0.5 * mixed / np.max(np.abs(mixed)), dtype=np.float32)


def encode(encoding: Encoding, signal: Signal) -> bytes:
    """The signal (mono, at the encoding's rate) in its container, the same on all channels."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "audio"
        _write(file, encoding, signal)
        return file.read_bytes()


def _write(file: Path, encoding: Encoding, signal: Signal) -> None:
    channels = av.AudioLayout(encoding.layout).nb_channels
    with av.open(str(file), "w", format=encoding.muxer, options=dict(encoding.options)) as container:
        stream = container.add_stream(encoding.codec, rate=encoding.rate_hz, layout=encoding.layout)
        codec_format = stream.codec_context.format.name
        resampler = av.AudioResampler(format=codec_format, layout=encoding.layout, rate=encoding.rate_hz)
        step = 960
        for start in range(0, signal.size, step):
            piece = np.repeat(signal[start : start + step], channels)[None, :]
            frame = av.AudioFrame.from_ndarray(piece, format="flt", layout=encoding.layout)
            frame.sample_rate, frame.pts = encoding.rate_hz, start
            for ready in resampler.resample(frame):
                container.mux(stream.encode(ready))
        for ready in resampler.resample(None):
            if ready is not None:
                container.mux(stream.encode(ready))
        container.mux(stream.encode(None))


def direct(encoding: Encoding, signal: Signal) -> Signal:
    """The signal resampled in one go to 16 kHz by libswresample: what a decoder should come close to."""
    frame = av.AudioFrame.from_ndarray(signal[None, :], format="flt", layout="mono")
    frame.sample_rate = encoding.rate_hz
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces if piece is not None])


def likeness(heard: Signal, expected: Signal, reach: int = 2400) -> tuple[float, float, int]:
    """Best correlation over shifts up to ``reach`` samples, the gain there, and that shift."""
    size = 1 << (heard.size + expected.size).bit_length()
    cross = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(expected, size)), size)
    shifts = np.concatenate([cross[-reach:], cross[: reach + 1]])
    best = int(np.argmax(shifts))
    norm = float(np.linalg.norm(heard) * np.linalg.norm(expected))
    return float(shifts[best]) / norm, float(np.linalg.norm(heard) / np.linalg.norm(expected)), best - reach
