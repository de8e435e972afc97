"""A worker as it is, but for its models: it knows numbered words, and some of them do what broken models do.

Run as a program: ``deadly.py NEEDED BROKEN``. It loads while NEEDED is there, for ever where that is not empty, and
makes no pass while BROKEN is.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.inference import worker
from tests.speech.doubles import Recognizer, heard_in

CRASH, STOP, WAIT, FAIL, EXHAUST, EXIT, GARBLE, SLOW, TALK = range(201, 210)


class Deadly(Recognizer):
    def __init__(self, broken: Path) -> None:
        super().__init__()
        self._broken = broken

    def recognize(self, requests: Sequence[Request]) -> list[Hypothesis]:
        if self._broken.exists():
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        words = {token.id for request in requests for token in heard_in(request.window)}
        if SLOW in words:
            threading.Event().wait(1.0)
        if CRASH in words:
            ctypes.string_at(0)
        if STOP in words:
            os.kill(os.getpid(), signal.SIGSTOP)
        if WAIT in words:
            threading.Event().wait()
        if FAIL in words:
            raise RuntimeError("bad pass")
        if EXHAUST in words:
            raise MemoryError
        if EXIT in words:
            os._exit(3)
        if GARBLE in words:
            os.write(4, b"x" * 100)
        if TALK in words:
            logging.getLogger("models").warning("a word of theirs")
            print("printed by a library", flush=True)
        return super().recognize(requests)


def load(config: EngineConfig) -> Deadly:
    needed, broken = map(Path, sys.argv[1:])
    if not needed.exists():
        raise ApplianceError("there are no models", "put them there", code="missing_model")
    if needed.read_text():
        threading.Event().wait()
    return Deadly(broken)


if __name__ == "__main__":
    worker.main(load)
