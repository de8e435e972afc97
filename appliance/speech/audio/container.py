"""A container stream decoded while it arrives: PyAV pulls, the caller pushes, a thread stands between them.

The two sides take turns rather than run freely: `feed` returns when the thread has used up all
bytes and asks for more, so no audio waits for the next piece of data. Both buffers are bounded.
"""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextvars import copy_context

import av

from appliance.errors import ApplianceError
from appliance.speech.audio.ffmpeg import bound_memory
from appliance.speech.audio.formats import Container, unsupported
from appliance.speech.audio.resample import Channels, Resampler, mixed
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

log = logging.getLogger(__name__)

_IN_BYTES = 256 * 1024
_OUT_SAMPLES = 4 * SAMPLE_RATE_HZ
_READ_BYTES = 4096
_MOV_READ_BYTES = 64 * 1024
"""The MP4 demuxer goes back inside one read only: make it likely that header boxes fit."""
_MAX_BAD_PACKETS = 50
_OPEN_OPTIONS = {"probesize": "32", "analyzeduration": "0"}
"""Trust the header and start at once. (``fflags=nobuffer`` would lose the first packet.)"""


class _Closed(Exception):
    """The caller is gone; unwinds the decoding thread."""


class ContainerDecoder:
    """Demux and decode one audio stream of a container; see `appliance.speech.audio.AudioDecoder` for the contract."""

    def __init__(self, name: Container) -> None:
        self.name: str = name
        self._turn = threading.Condition()
        self._in = bytearray()
        self._out: deque[Samples] = deque()
        self._out_samples = 0
        self._any_audio = False
        self._hungry = False
        self._no_more = False
        self._closed = False
        self._ended = False
        self._error: ApplianceError | None = None
        run = copy_context().run  # what the thread logs is of its caller's session
        self._thread = threading.Thread(target=run, args=(self._run,), name=f"decode-{name}", daemon=True)
        self._thread.start()

    # The caller's side.

    def feed(self, data: bytes) -> Iterator[Samples]:
        given = 0
        while True:
            with self._turn:
                while not self._out:
                    if self._error:
                        raise self._error
                    if self._ended or self._closed:
                        return
                    room = _IN_BYTES - len(self._in)
                    if given < len(data) and room > 0:
                        self._in += data[given : given + room]
                        given += room
                        self._hungry = False
                        self._turn.notify_all()
                    elif given >= len(data) and self._hungry:
                        return
                    else:
                        self._turn.wait()
                samples = self._out.popleft()
                self._out_samples -= samples.size
                self._turn.notify_all()
            yield samples

    def finish(self) -> Iterator[Samples]:
        with self._turn:
            self._no_more = True
            self._hungry = False
            self._turn.notify_all()
        yield from self.feed(b"")

    def close(self) -> None:
        with self._turn:
            self._closed = True
            self._in.clear()
            self._out.clear()
            self._turn.notify_all()
        self._thread.join()

    # The thread's side. FFmpeg calls `read`; without a `seek` method it knows that it can't go back.

    def read(self, size: int) -> bytes:
        with self._turn:
            while not self._in and not self._no_more and not self._closed:
                self._hungry = True
                self._turn.notify_all()
                self._turn.wait()
            self._hungry = False
            piece = bytes(self._in[:size])
            del self._in[:size]
            self._turn.notify_all()
            return piece

    def _emit(self, pieces: list[Channels]) -> None:
        for samples in map(mixed, pieces):
            self._put(samples)

    def _put(self, samples: Samples) -> None:
        with self._turn:
            while self._out_samples >= _OUT_SAMPLES and not self._closed:
                self._turn.wait()
            if self._closed:
                raise _Closed
            self._any_audio = True
            self._out.append(samples)
            self._out_samples += samples.size
            self._turn.notify_all()

    def _run(self) -> None:
        error: ApplianceError | None = ApplianceError(
            "the audio decoder stopped unexpectedly", "connect again; the server's log says more", code="internal"
        )
        try:
            self._decode()
            error = None
        except _Closed:
            error = None
        except ApplianceError as refused:
            error = refused
        except MemoryError:
            error = unsupported(f"the {self.name} audio takes more memory than any should")
        except (av.FFmpegError, ValueError) as broken:
            # A stream that is cut off ends a recording; one that never gave a sample was no recording.
            log.debug("decoding %s ended: %s", self.name, broken)
            error = (
                None if self._no_more and self._any_audio else unsupported(f"the {self.name} audio is broken: {broken}")
            )
        finally:
            with self._turn:
                self._error = error
                self._ended = True
                self._turn.notify_all()

    def _decode(self) -> None:
        bound_memory()
        resampler = Resampler()
        read_bytes = _MOV_READ_BYTES if self.name == "mov" else _READ_BYTES
        with av.open(
            self, "r", format=self.name, options=_OPEN_OPTIONS, buffer_size=read_bytes, metadata_errors="replace"
        ) as container:
            if not container.streams.audio:
                raise unsupported(f"the {self.name} stream holds no audio")
            stream = container.streams.audio[0]
            bad = 0
            with contextlib.suppress(av.EOFError):
                for packet in container.demux(stream):
                    try:
                        frames = stream.decode(packet)
                    except av.InvalidDataError as broken:
                        bad += 1
                        if bad > _MAX_BAD_PACKETS:
                            raise unsupported(f"the {self.name} audio is broken: {broken}") from broken
                        continue
                    bad = 0
                    for frame in frames:
                        self._emit(resampler.push(frame))
        self._emit(resampler.flush())
