"""A container as it arrives, cut anywhere: MP4's boxes whole, and one recording of a WebM stream after the other."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from appliance.errors import ApplianceError
from appliance.speech.audio.container import ContainerDecoder
from appliance.speech.audio.formats import Container
from appliance.speech.audio.matroska import HeaderWatch
from appliance.speech.audio.mp4 import BoxGate
from appliance.speech.types import Samples


class Contained(Protocol):
    """What decodes one container; see `appliance.speech.audio.decoder.AudioDecoder` for the contract."""

    @property
    def name(self) -> str: ...
    def feed(self, data: bytes) -> Iterator[Samples]: ...
    def finish(self) -> Iterator[Samples]: ...
    def close(self) -> None: ...


Open = Callable[[Container], Contained]


class StreamedContainer:
    """Decoded in this process, by a thread; see `appliance.speech.audio.decoder.AudioDecoder` for the contract."""

    def __init__(self, name: Container) -> None:
        self.name: str = name
        self._decoder = ContainerDecoder(name)
        self._gate = BoxGate() if name == "mov" else None
        self._watch = HeaderWatch() if name == "matroska" else None
        self._closed = False

    def feed(self, data: bytes) -> Iterator[Samples]:
        yield from self._feed(data)

    def finish(self) -> Iterator[Samples]:
        yield from self._feed(b"", ended=True)
        yield from self._decoder.finish()

    def close(self) -> None:
        self._closed = True
        self._decoder.close()

    def _feed(self, data: bytes, *, ended: bool = False) -> Iterator[Samples]:
        if self._gate:
            yield from self._decoder.feed(self._gate.rest() if ended else self._gate.push(data))
        elif self._watch:
            for piece, begins_anew in self._watch.push(data, ended=ended):
                if begins_anew:
                    yield from self._next_recording()
                yield from self._decoder.feed(piece)
        else:
            yield from self._decoder.feed(data)

    def _next_recording(self) -> Iterator[Samples]:
        """End the container that was begun, and open another one of its kind."""
        with contextlib.suppress(ApplianceError):  # cut off before its first sample: there is nothing to hear in it
            yield from self._decoder.finish()
        self._decoder.close()
        self._decoder = ContainerDecoder("matroska")
        if self._closed:  # meanwhile, by another thread
            self._decoder.close()
