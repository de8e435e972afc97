"""The process that makes passes: turns come on stdin, several at once, and what was found goes to stdout.

It knows no stream and keeps nothing between turns, so another can take its place at any moment. It ends when its
parent does. Signals for the whole group of processes are the parent's business: last words are still to be found.
"""

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from io import RawIOBase
from pathlib import Path
from typing import Any, Protocol

from appliance.errors import ApplianceError
from appliance.log import configure
from appliance.pair.intact import check_intact
from appliance.speech.children import belong_to_the_parent, pack_error
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.inference import wire
from appliance.speech.memory import release_code, share_one_arena, trim_until

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_BEFORE_THE_SERVER = "500"
"""Where memory runs out: this process goes before its parent, which can start another, and after that of files."""


class Recognizer(Protocol):
    """Makes passes; any number of threads may call it at once."""

    def recognize(self, requests: Sequence[Request]) -> list[Hypothesis]: ...


Load = Callable[[EngineConfig], Recognizer]


def main(load: Load) -> None:
    """Serve turns until stdin ends. The first message says what to load."""
    _end_with_the_parent()
    share_one_arena()
    turns, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb", buffering=0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)  # whatever a library prints must not come between
    faulthandler.enable()
    serve(turns, answers, load)
    os._exit(0)  # the parent is gone, or wants no more; what is under way is for nobody


def _end_with_the_parent() -> None:
    belong_to_the_parent(_BEFORE_THE_SERVER)
    with contextlib.suppress(AttributeError):  # not Linux; then the end of stdin has to do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def serve(turns: RawIOBase, answers: RawIOBase, load: Load) -> None:
    """Answer all turns that come, until no more can come."""
    first = wire.receive(turns)
    if first is None:
        return
    setup, _ = first
    configure(setup["log_level"], "json")
    config = wire.unpack_config(setup["config"])
    try:
        if setup["compare"]:
            check_intact(config.pair)
        recognizer = load(config)
    except ApplianceError as error:
        wire.send(answers, {"id": setup["id"], "error": pack_error(error)})
        return
    except (RuntimeError, OSError, ValueError, MemoryError, ImportError) as error:
        told = ApplianceError(
            f"the models could not be loaded: {type(error).__name__}: {error}",
            "is there enough memory, and are the model files whole? wlk-appliance selftest tries them alone",
            code="internal",
        )
        wire.send(answers, {"id": setup["id"], "error": pack_error(told)})
        return
    release_code()
    threading.Thread(target=trim_until, args=(threading.Event(),), name="trim", daemon=True).start()
    answering = threading.Lock()

    def answer(header: Mapping[str, Any]) -> None:
        with answering:
            wire.send(answers, header)

    def answered(number: int, turn: "Future[None]") -> None:
        if error := turn.exception():
            log.error("a turn failed", exc_info=error)
            answer({"id": number, "failed": f"{type(error).__name__}: {error}"[:1000]})

    def work(number: int, rows: list[Mapping[str, Any]], samples: bytearray) -> None:
        found = recognizer.recognize(wire.unpack_requests(rows, samples)) if rows else []
        answer({"id": number, "found": wire.pack_hypotheses(found)})

    answer({"id": setup["id"], "found": []})
    with ThreadPoolExecutor(config.turns, thread_name_prefix="passes") as pool:
        while message := wire.receive(turns):
            header, samples = message
            number = int(header["id"])
            pool.submit(work, number, header["requests"], samples).add_done_callback(partial(answered, number))


def load_recognizer(config: EngineConfig) -> Recognizer:
    """Both halves of the pair, on a core for each turn.

    Raises:
        ApplianceError: there is no such device, or something can't be loaded.
    """
    from appliance.speech.models import load  # imports torch, after all is set that must be before

    return load(config)


if __name__ == "__main__":
    main(load_recognizer)
