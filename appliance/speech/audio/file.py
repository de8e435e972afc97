"""A whole audio file as pieces of samples. Unlike a stream, a file may be read back and forth."""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from appliance.errors import ApplianceError
from appliance.speech.audio.ffmpeg import bound_memory
from appliance.speech.audio.formats import unsupported
from appliance.speech.audio.resample import Channels, Resampler, mixed
from appliance.speech.types import Samples

CONTAINERS = "aac,aiff,amr,asf,avi,caf,flac,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav"
"""FFmpeg's names of what is read. Among the others are scripts and playlists, which open files that they name."""

_OPEN_OPTIONS = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}


def opened(path: Path) -> InputContainer:
    """A file of one of the `CONTAINERS`, which opens no other. Raises an `av.FFmpegError` for what is none.

    Titles and the like may be in any encoding: they are not of interest.
    """
    bound_memory()
    return av.open(f"file:{path}", "r", container_options=_OPEN_OPTIONS, metadata_errors="replace")


def decode_file(path: Path) -> Iterator[Samples]:
    """All samples of a file's first audio stream, its channels mixed, in pieces as they are decoded.

    What is damaged is left out.

    Raises:
        ApplianceError: the file can't be read, or holds no audio that we know.
    """
    return map(mixed, decode_channels(path))


def decode_channels(path: Path) -> Iterator[Channels]:
    """The same with the channels apart. Raises as `decode_file` does."""
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise ApplianceError(f"can't read {path}: {error.strerror}", "give an audio file") from error
    resampler = Resampler()
    hint = "WebM, Ogg, WAV, FLAC, MP3, MP4 and AAC files work"
    try:
        with opened(path) as container:
            if not container.streams.audio:
                raise unsupported(f"{path} holds no audio", hint)
            for frame in _frames(container, container.streams.audio[0]):
                yield from resampler.push(frame)
    except av.FFmpegError as error:
        said = "no kind that is read here" if isinstance(error, av.ArgumentError) else error.strerror
        raise unsupported(f"{path} is no audio that can be decoded: {said}", hint) from error
    yield from resampler.flush()


def packets_s(path: Path) -> float:
    """How much audio a file's packets hold by what they say, in seconds, read through and not decoded.

    A file that can't be read, or not to its end, counts as far as it can be. Less is said than is there where packets
    don't say it.
    """
    ticks, tick_s = 0, Fraction(0)
    with contextlib.suppress(OSError, av.FFmpegError), opened(path) as container:  # decoding says what is wrong
        for stream in container.streams.audio[:1]:
            tick_s = stream.time_base or tick_s
            for packet in container.demux(stream):
                ticks += packet.duration or 0
    return float(ticks * tick_s)


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """The frames that can be decoded: a file that was cut off, or has a scratch, still holds the others.

    Raises:
        av.FFmpegError: there are damaged ones only, or the file can't be read on.
    """
    decoded = False
    damaged: av.InvalidDataError | None = None
    for packet in container.demux(stream):
        try:
            for frame in packet.decode():
                decoded = True
                yield frame
        except av.InvalidDataError as error:
            damaged = error
    if damaged is not None and not decoded:
        raise damaged
