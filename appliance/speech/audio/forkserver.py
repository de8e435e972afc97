"""The process that containers are decoded in children of: one for each stream, forked when FFmpeg is loaded already.

A container is the one thing that strangers send which native code reads. What breaks or hangs it ends a child, and with
it one stream. A child has its own bound of memory, and no more time for a message than `LONGEST_S`.

Requests come over stdin, a socket: the name of a container, and with it the child's end of a socket of its own. That
carries messages of a byte and what it announces: the parent sends `DATA` or `FINISH`, and for each of these gets any
number of `SAMPLES` (float32, 16 kHz), then `READY`; or `ERROR`, the last one. A child says `READY` once before all.
"""

import contextlib
import faulthandler
import gc
import json
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import cast

from appliance.errors import ApplianceError
from appliance.speech.audio.formats import Container
from appliance.speech.audio.streamed import Contained, Open, StreamedContainer
from appliance.speech.children import belong_to_the_parent, go, leave_no_core, pack_error
from appliance.speech.types import Samples

DATA, FINISH, SAMPLES, READY, ERROR = b"d", b"f", b"s", b"r", b"e"
MOST_BYTES = 32 * 1024
"""Of what a message carries."""

LONGEST_CPU_S = 5.0
LONGEST_S = 20.0
"""What a child may take for some seconds of sound, or for a message without any; then it hangs."""
MOST_MEMORY = 512 << 20
"""Address space that a child may take beyond what it begins with."""

LARGE = 96 << 20
"""Resident memory that no child needs: thrice what is usual."""

_AFTER_INFERENCE = "400"
"""Where memory runs out: that for inference goes first, for it is replaced without a loss, and these are small."""
_BEFORE_INFERENCE = "900"
"""A child that is large: many such are what memory runs out for."""
_MOST_FILES = 32
_NAME_BYTES = 64


def no_process(why: str | None) -> ApplianceError:
    return ApplianceError(
        f"no process can be started to decode sound: {why}",
        "is there enough memory, and are more processes allowed here?",
        code="internal",
    )


def main(open_container: Open = StreamedContainer) -> None:
    """Fork children until the parent is gone."""
    belong_to_the_parent(_AFTER_INFERENCE)
    faulthandler.enable()
    signal.signal(signal.SIGCHLD, _reap)
    gc.freeze()  # or each child would get copies of pages for counting what is in them
    with socket.socket(fileno=0) as requests:
        while True:
            name, handles, _, _ = socket.recv_fds(requests, _NAME_BYTES, 1)
            if not name:
                return
            with socket.socket(fileno=handles[0]) as channel:
                try:
                    is_child = os.fork() == 0
                except OSError as error:
                    with contextlib.suppress(OSError):  # nobody waits for it any more
                        channel.sendall(_last_words(no_process(error.strerror)))
                    continue
                if is_child:
                    requests.close()
                    _decode(channel, cast(Container, name.decode()), open_container)


def _reap(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if os.WIFSIGNALED(ended[1]):
                _tell(f"process {ended[0]} was ended by {signal.Signals(os.WTERMSIG(ended[1])).name}")


def _tell(what: str) -> None:
    """The parent has it in its log. Also where a signal has just interrupted this."""
    os.write(2, f"{what}\n".encode())


def _decode(channel: socket.socket, name: Container, open_container: Open) -> None:
    """All of a stream; does not return."""
    try:
        for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGPROF):
            signal.signal(number, signal.SIG_DFL)
        _bound()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the parent is gone, or wants no more
            serve(channel, open_container(name))
    except MemoryError:
        _tell(f"process {os.getpid()} wanted more than {MOST_MEMORY >> 20} MiB")
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        os._exit(0)


def _bound() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MOST_MEMORY
    leave_no_core()
    for what, limit in ((resource.RLIMIT_AS, most), (resource.RLIMIT_NOFILE, _MOST_FILES)):
        hard = resource.getrlimit(what)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (limit, limit))


def serve(channel: socket.socket, container: Contained) -> None:
    """Answer what comes, until no more can come or the container is of no use any more."""
    channel.sendall(READY)
    try:
        while message := channel.recv(1 + MOST_BYTES):
            pieces = container.feed(message[1:]) if message[:1] == DATA else container.finish()
            for samples in _timed(pieces):
                block = samples.tobytes()
                for start in range(0, len(block), MOST_BYTES):
                    channel.sendall(SAMPLES + block[start : start + MOST_BYTES])
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > LARGE >> 10:
                go(_BEFORE_INFERENCE)
            channel.sendall(READY)
    except ApplianceError as error:
        channel.sendall(_last_words(error))


def _last_words(error: ApplianceError) -> bytes:
    return ERROR + json.dumps(pack_error(error)).encode()


def _timed(pieces: Iterator[Samples]) -> Iterator[Samples]:
    """The kernel ends this process where one of them takes too long, whatever it hangs in."""
    while True:
        signal.setitimer(signal.ITIMER_PROF, LONGEST_CPU_S)
        signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
        samples = next(pieces, None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if samples is None:
            return
        yield samples


if __name__ == "__main__":
    main()
