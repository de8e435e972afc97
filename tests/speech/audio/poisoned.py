"""What containers are decoded in, but that some bytes crash it, make it hang, grow, or take all its memory."""

import ctypes
import sys
import time
from collections.abc import Iterator
from typing import get_args

from appliance.speech.audio import forkserver
from appliance.speech.audio.formats import Container
from appliance.speech.audio.streamed import StreamedContainer
from appliance.speech.types import Samples

CRASH, HANG, STAND, GROW, EXHAUST = b"<crash>", b"<hang>", b"<stand>", b"<grow>", b"<exhaust>"


class Poisoned(StreamedContainer):
    def __init__(self, name: Container) -> None:
        if name not in get_args(Container):
            raise ValueError(name)
        super().__init__(name)
        self._grown = b""

    def feed(self, data: bytes) -> Iterator[Samples]:
        if CRASH in data:
            ctypes.string_at(0)
        while HANG in data:
            pass
        while STAND in data:
            time.sleep(1)
        if GROW in data:
            self._grown = b"x" * forkserver.LARGE
            return
        if EXHAUST in data:
            bytearray(forkserver.MOST_MEMORY + 1)
        yield from super().feed(data)


if __name__ == "__main__":
    if sys.argv[1:]:
        forkserver.LONGEST_CPU_S, forkserver.LONGEST_S = map(float, sys.argv[1:])
    forkserver.main(Poisoned)
