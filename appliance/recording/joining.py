"""Recordings of any rates and channels, one after the other, as one; no more than a piece of one is in memory."""

import itertools
import os
import wave
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from appliance.errors import ApplianceError, UsageError
from appliance.speech.audio.file import decode_channels
from appliance.speech.audio.pcm import s16le
from appliance.speech.audio.resample import Channels, mixed
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

_LONGEST_WAV_BYTES = (1 << 32) - 4096
"""A WAV file can't say that it is longer: 37 hours of one channel."""


def joined(paths: Sequence[Path]) -> Iterator[Channels]:
    """All recordings, each resampled to its end before the next begins: so each keeps its length, to a sample.

    Raises:
        ApplianceError: one can't be decoded.
    """
    return itertools.chain.from_iterable(map(decode_channels, paths))


def mix(pieces: Iterable[Channels]) -> Iterator[Samples]:
    """All channels with equal weights, as mono."""
    return map(mixed, pieces)


def one_channel(pieces: Iterable[Channels], number: int) -> Iterator[Samples]:
    """One channel, counted from 0.

    Raises:
        ApplianceError: it ends in mid-recording.
    """
    for piece in pieces:
        if number >= len(piece):
            raise ApplianceError(
                f"channel {number + 1} ends in the middle of the recording", "leave --channels split out"
            )
        yield piece[number]


def channel_counts(paths: Sequence[Path]) -> list[int]:
    """How many channels each recording has, as its beginning tells: so that a bad one is told before any work.

    Raises:
        ApplianceError: one can't be decoded.
    """
    return [next((len(piece) for piece in decode_channels(path)), 1) for path in paths]


def same_count(paths: Sequence[Path], counts: Sequence[int]) -> int:
    """How many channels all of them have.

    Raises:
        UsageError: not all have as many.
    """
    for path, count in zip(paths, counts, strict=True):
        if count != counts[0]:
            raise UsageError(
                f"{path} and {paths[0]} can't be joined with channels apart: one has {count}, the other {counts[0]}",
                "leave --channels split out, or join recordings that are alike",
            )
    return counts[0]


def save_wav(pieces: Iterable[Channels], out: Path) -> float:
    """Write 16-bit PCM at 16 kHz as it comes; the file is there whole or not at all.

    Returns:
        Its length in seconds.

    Raises:
        ApplianceError: a recording can't be decoded; the file can't be written, or can't hold so much.
    """
    pieces = iter(pieces)
    first = next(pieces, np.zeros((1, 0), dtype=np.float32))  # before the file is begun: bad audio leaves none
    target = out.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as handle, wave.open(handle, "wb") as file:
            file.setparams((len(first), 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
            length_s = _write(itertools.chain([first], pieces), file)
        partial.replace(target)
    except OSError as error:
        raise ApplianceError(f"can't write {out}: {error.strerror}", "name a file on another disk") from error
    finally:
        partial.unlink(missing_ok=True)
    return length_s


def _write(pieces: Iterable[Channels], file: wave.Wave_write) -> float:
    samples, count = 0, file.getnchannels()
    for piece in pieces:
        if len(piece) != count:
            raise ApplianceError("the number of channels changes in mid-recording", "leave --channels split out")
        samples += piece.shape[1]
        if 2 * count * samples > _LONGEST_WAV_BYTES:
            raise ApplianceError("the joined recording is over 4 GB, more than a WAV file holds", "join fewer")
        file.writeframesraw(s16le(piece.T))
    return samples / SAMPLE_RATE_HZ
