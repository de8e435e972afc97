"""The decoder of a stream: containers and raw PCM, cut anywhere. Two bytes choose how; the rest is sound."""

from collections.abc import Iterator

import numpy as np

from appliance.errors import ApplianceError
from appliance.speech.audio.decoder import AudioDecoder, AudioFormat
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from tests.fuzz.material import recordings
from tests.fuzz.watch import Finding, documented

_PIECES = (4096, 65536, 333, 37)
_MOST_PIECES = 5000
"""A piece costs some 25 us by itself, a thread is woken for it; a connection may send a thousand in a second."""
_FORMATS: tuple[tuple[AudioFormat, int], ...] = (("auto", 16000), ("s16le", 48000), ("f32le", 8000), ("auto", 44100))
_LONGEST = 20 * SAMPLE_RATE_HZ
"""Then the stream is closed, as a session that is behind stops reading; what follows would be as what was."""
_LONGEST_PIECE = 60 * SAMPLE_RATE_HZ


def seeds() -> Iterator[bytes]:
    for number, data in enumerate(recordings().values()):
        yield bytes([number % len(_PIECES), 0]) + data
    raw = (0.1 * np.sin(np.arange(8000) / 20)).astype(np.float32)
    yield b"\0\1" + (raw * 32767).astype("<i2").tobytes()
    yield b"\0\2" + raw.tobytes()
    yield b"\0\0" + recordings()["webm"] * 2


def words() -> Iterator[bytes]:
    yield from (
        b"\x1aE\xdf\xa3",
        b"OggS",
        b"fLaC",
        b"RIFF",
        b"WAVE",
        b"fmt ",
        b"data",
        b"ID3",
        b"ftyp",
        b"moov",
        b"moof",
        b"mdat",
    )
    yield from (
        b"\x1fC\xb6u",
        b"\xa3",
        b"\xae",
        b"\xb5",
        b"OpusHead",
        b"OpusTags",
        b"trak",
        b"stsd",
        b"mp4a",
        b"esds",
        b"\xff\xf1",
    )


def one(data: bytes) -> bool:
    size, (form, rate_hz) = _PIECES[data[:1][0] % 4 if data else 0], _FORMATS[data[1:2][0] % 4 if data[1:] else 0]
    decoder = AudioDecoder(form, rate_hz=rate_hz)
    heard = 0
    try:
        for samples in _samples(decoder, data[2:], max(size, len(data) // _MOST_PIECES)):
            heard += _checked(samples)
            if heard > _LONGEST:
                break
    except ApplianceError as error:
        documented(error, ("unsupported_audio",))
        return False
    finally:
        decoder.close()
    return heard > 0


def _samples(decoder: AudioDecoder, data: bytes, size: int) -> Iterator[Samples]:
    for at in range(0, len(data), size):
        yield from decoder.feed(data[at : at + size])
    yield from decoder.finish()


def _checked(samples: Samples) -> int:
    if samples.dtype != np.float32 or samples.ndim != 1 or samples.size > _LONGEST_PIECE:
        raise Finding(f"samples of {samples.dtype}, shape {samples.shape}")
    if not np.isfinite(samples).all() or (samples.size and np.abs(samples).max() > 1.0):
        raise Finding("samples beyond [-1, 1]")
    return samples.size
