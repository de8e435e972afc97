"""Containers decoded in processes of their own (`forkserver.py`), as the process that is sent them sees it."""

import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from appliance.errors import ApplianceError
from appliance.speech.audio.forkserver import DATA, ERROR, FINISH, LONGEST_S, MOST_BYTES, SAMPLES, no_process
from appliance.speech.audio.formats import KINDS_HINT, Container
from appliance.speech.children import check_error, environment
from appliance.speech.types import Samples

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "appliance.speech.audio.forkserver")

_ANSWER_S = LONGEST_S + 10.0
"""A child that hangs is ended before; one that is not, as it is stopped from outside, is waited for no longer."""
_START_S = 10.0
_END_S = 5.0
_SOON_S = 0.5
"""From when its children's channels are closed to when a process that was killed is gone."""
_LINE_BYTES = 64 * 1024
_CODES = ("unsupported_audio", "internal")
"""What one that can't go on may say."""


class Decoders:
    """Keeps the process that forks decoders, and starts it again where it ended. For any number of threads."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        """Nothing is started before `start`, or the first stream."""
        self._command = command
        self._lock = threading.Lock()
        self._server: _ForkServer | None = None
        self._closed = False

    def start(self) -> None:
        """Start the process, so that the first stream does not wait for it.

        Raises:
            ApplianceError: no process can be started.
        """
        self._running()

    def open(self, name: Container) -> "ApartContainer":
        """A decoder of one stream.

        Raises:
            ApplianceError: no process can be started for it.
        """
        for _ in range(2):  # the process may end at any moment
            server = self._running()
            try:
                return ApartContainer(name, server.fork(name))
            except _LostError as lost:
                if server.ends_within(_SOON_S) or isinstance(lost.__cause__, TimeoutError):
                    server.end()
        raise no_process("it ends as soon as it is started; the log says more")

    def _running(self) -> "_ForkServer":
        with self._lock:
            if self._closed:
                raise ApplianceError("the server is stopping", code="restarting")
            if self._server and self._server.ends_within(0):
                self._server.end()
                self._server = None
            self._server = self._server or _ForkServer(self._command)
            return self._server

    def close(self) -> None:
        """Let the process end. Decoders that are open end with their streams."""
        with self._lock:
            self._closed = True
            if self._server:
                self._server.end()


class _ForkServer:
    """The process; see `forkserver.py`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._requests.settimeout(_START_S)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*command],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=environment() | {"OMP_NUM_THREADS": "1"},  # threads of numpy's would spin for nothing
                    process_group=0,
                )
            except OSError as error:
                self._requests.close()
                raise no_process(error.strerror) from error
        self._ending = threading.Lock()
        threading.Thread(target=_relay, args=(self._process.stderr,), name="decoders-log", daemon=True).start()

    def ends_within(self, seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def fork(self, name: Container) -> socket.socket:
        """Ask for a child; returns this end of its channel. Raises a `_LostError` where nobody takes the request."""
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.settimeout(_START_S)
        with theirs:
            try:
                socket.send_fds(self._requests, [name.encode()], [theirs.fileno()])
            except OSError as error:
                mine.close()
                raise _LostError from error
        return mine

    def end(self) -> None:
        """It ends when nobody can ask it any more; or else it is killed."""
        with self._ending:
            with contextlib.suppress(OSError):
                self._requests.shutdown(socket.SHUT_RDWR)
            self._requests.close()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class ApartContainer:
    """One stream's; see `appliance.speech.audio.decoder.AudioDecoder` for the contract."""

    def __init__(self, name: Container, channel: socket.socket) -> None:
        """Raises a `_LostError` where there is no process at the other end, an `ApplianceError` where none could be."""
        self.name: str = name
        self._channel = channel
        self._using = threading.Lock()
        self._closed = False
        self._error: ApplianceError | None = None
        self._owed = 0
        """Messages that are not answered to the end; more than one where somebody stopped listening."""
        try:
            answer = self._receive()
            if answer[:1] == ERROR:
                raise _told(answer[1:])
        except (_LostError, ApplianceError):
            channel.close()
            raise
        channel.settimeout(_ANSWER_S)

    def feed(self, data: bytes) -> Iterator[Samples]:
        for start in range(0, len(data), MOST_BYTES):
            yield from self._answered(DATA + data[start : start + MOST_BYTES])

    def finish(self) -> Iterator[Samples]:
        yield from self._answered(FINISH)

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for an answer
        with self._using:
            self._channel.close()

    def _answered(self, message: bytes) -> Iterator[Samples]:
        if self._error:
            raise self._error
        try:
            self._send(message)
            self._owed += 1
            while self._owed:
                answer = self._receive()
                if answer[:1] == SAMPLES:
                    yield _samples(answer[1:])
                elif answer[:1] == ERROR:
                    self._error = _told(answer[1:])
                    raise self._error
                else:
                    self._owed -= 1
        except _LostError as lost:
            if self._closed:
                return
            self._error = ApplianceError(
                f"the {self.name} audio ended the process that decoded it", KINDS_HINT, code="unsupported_audio"
            )
            raise self._error from lost

    def _send(self, message: bytes) -> None:
        with self._using:
            try:
                self._channel.sendall(message)
            except OSError as error:
                raise _LostError from error

    def _receive(self) -> bytes:
        with self._using:
            try:
                answer = self._channel.recv(1 + MOST_BYTES)
            except OSError as error:
                raise _LostError from error
        if not answer:
            raise _LostError
        return answer


class _LostError(Exception):
    """The process at the other end is gone, or may have been taken over, and is not listened to."""


def _samples(data: bytes) -> Samples:
    """Some numbers, if nothing else. Raises a `_LostError`."""
    if not data or len(data) % np.dtype(np.float32).itemsize:
        raise _strange("sound that is none")
    samples = np.frombuffer(data, np.float32).copy()
    if not np.isfinite(samples).all():
        raise _strange("sound that is none")
    return samples


def _told(last_words: bytes) -> ApplianceError:
    """What a process could not do, for clients and for the log. Raises a `_LostError`."""
    try:
        return check_error(json.loads(last_words), _CODES)
    except (ValueError, RecursionError) as fault:
        raise _strange("an error that is none of its") from fault


def _strange(what: str) -> _LostError:
    log.warning("decoding: a process answered %s", what)
    return _LostError()


def _relay(file: IO[bytes]) -> None:
    """What it prints has the form of the log."""
    with file:
        while line := file.readline(_LINE_BYTES):
            log.warning("decoding: %s", line.decode(errors="replace").rstrip())
