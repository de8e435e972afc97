"""Any audio in, 16 kHz mono float32 out, piece by piece as it arrives.

Containers are demuxed and decoded by PyAV, in a thread of their own (`appliance.speech.audio.container`), for a server
in a process of their own too (`appliance.speech.audio.apart`); raw PCM, and that of WAV, in place. All resampling and
down-mixing is libswresample's.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import av
import numpy as np

from appliance.errors import ApplianceError
from appliance.speech.audio.formats import HEAD_BYTES, RawFormat, recognise, refuse_foreign
from appliance.speech.audio.resample import Resampler, mixed, sane
from appliance.speech.audio.streamed import Contained, Open, StreamedContainer
from appliance.speech.audio.wav import read_header
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

AudioFormat = Literal["auto", "s16le", "f32le"]
MIN_RATE_HZ = 4_000
MAX_RATE_HZ = 192_000

_PIECE_BYTES = 64 * 1024


class AudioDecoder:
    """One stream of bytes to samples. Not for two threads at once; closing is always safe.

    `feed` and `finish` are generators that must be run to their end: they yield pieces of at most a
    few seconds, so a caller can hold back between pieces. They may block on the decoding thread
    (microseconds to milliseconds), so keep them off an event loop. Once `feed` has run out,
    everything that can be heard in the bytes so far has been given out.

    Args:
        format: ``auto`` recognises containers and takes anything else for ``raw_default``; the others mean raw PCM.
        rate_hz: sample rate of raw PCM; containers say their own.
        open_container: what decodes a container.
    """

    def __init__(
        self,
        format: AudioFormat = "auto",
        *,
        rate_hz: int = SAMPLE_RATE_HZ,
        raw_default: RawFormat = "s16le",
        open_container: Open = StreamedContainer,
    ) -> None:
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise ApplianceError(
                f"sample rate {rate_hz} Hz is not possible",
                f"give a rate from {MIN_RATE_HZ} to {MAX_RATE_HZ}",
                code="bad_request",
            )
        self._rate_hz = rate_hz
        self._raw_default = raw_default
        self._head = b""
        self._unchecked: bytes | None = b""
        self._open_container = open_container
        self._container: Contained | None = None
        self._closed = False
        self._kind: str | None = None
        self._raw = None if format == "auto" else RawDecoder(format, rate_hz)
        if self._raw:
            self._unchecked = None

    @property
    def kind(self) -> str | None:
        """The container's or raw format's name; None while it isn't known yet."""
        if self._container:
            return self._container.name
        return self._kind or (self._raw.name if self._raw else None)

    def feed(self, data: bytes) -> Iterator[Samples]:
        """Samples that this data completes, in order.

        Raises:
            ApplianceError: code ``unsupported_audio``; the decoder is of no use afterwards.
        """
        if self._container is None and self._raw is None:
            self._head += data
            data = self._decide(ended=False)
        yield from self._decode(data)

    def finish(self) -> Iterator[Samples]:
        """The rest, after the last byte. Raises as `feed` does."""
        if self._container is None and self._raw is None and self._head:
            yield from self._decode(self._decide(ended=True))
        if self._container:
            yield from self._container.finish()
        elif self._raw:
            yield from self._raw.finish()

    def close(self) -> None:
        """End what decodes beside this, if anything does, and drop what it holds."""
        self._closed = True
        if self._container:
            self._container.close()

    def _decide(self, *, ended: bool) -> bytes:
        """Choose the way to decode as soon as it is clear; returns the bytes to decode now."""
        found = recognise(self._head, ended=ended)
        if found is None:
            return b""
        if found.container == "wav":
            try:
                header = read_header(self._head)
            except IndexError:
                if not ended and len(self._head) < HEAD_BYTES:
                    return b""
                header = None
            if header is not None and MIN_RATE_HZ <= header.rate_hz <= MAX_RATE_HZ:
                self._raw = RawDecoder("s16le", header.rate_hz, header.channels, header.size)
                self._unchecked, self._kind = None, "wav"
                head, self._head = self._head[header.start :], b""
                return head
        if found.container:
            self._container = self._open_container(found.container)
            if self._closed:  # meanwhile, by another thread
                self._container.close()
        else:
            self._raw = RawDecoder(self._raw_default, self._rate_hz)
        head, self._head = self._head, b""
        return head

    def _decode(self, data: bytes) -> Iterator[Samples]:
        if self._container:
            yield from self._container.feed(data)
        elif self._raw:
            if self._unchecked is not None:
                self._unchecked += data[:HEAD_BYTES]
                refuse_foreign(self._unchecked, self._raw_default)
                if len(self._unchecked) >= HEAD_BYTES:
                    self._unchecked = None
            yield from self._raw.feed(data)


class RawDecoder:
    """Raw PCM of any rate, its channels mixed with equal weights; a sample may be split over two pieces of data.

    ``size``: bytes after which nothing more is audio, where that is known.
    """

    def __init__(self, name: RawFormat, rate_hz: int, channels: int = 1, size: int | None = None) -> None:
        self.name = name
        self._channels = channels
        self._width = (2 if name == "s16le" else 4) * channels
        self._left = size
        self._rate_hz = rate_hz
        self._resampler = Resampler() if rate_hz != SAMPLE_RATE_HZ else None
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Samples]:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        for start in range(0, len(data), _PIECE_BYTES):
            piece = self._rest + data[start : start + _PIECE_BYTES]
            whole = len(piece) // self._width * self._width
            self._rest = piece[whole:]
            if whole:
                yield from self._resample(mixed(self._convert(piece[:whole]).reshape(-1, self._channels).T))

    def finish(self) -> Iterator[Samples]:
        """The resampler's tail; an incomplete last sample is dropped."""
        if self._resampler:
            yield from map(mixed, self._resampler.flush())

    def _convert(self, data: bytes) -> Samples:
        if self.name == "s16le":
            return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(32768)
        return sane(np.frombuffer(data, dtype="<f4"))

    def _resample(self, samples: Samples) -> Iterable[Samples]:
        if self._resampler is None:
            return [samples]
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="flt", layout="mono")
        frame.sample_rate = self._rate_hz
        return map(mixed, self._resampler.push(frame))
