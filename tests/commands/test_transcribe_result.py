"""What `transcribe` makes of arguments, of Ctrl-C and of broken streams, with a server of canned words."""

import contextlib
import itertools
import json
import signal
import stat
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from appliance import cli
from tests.commands.test_transcribe import transcribe
from tests.server.running import environment

NOWHERE = "ws://127.0.0.1:9/asr"
TEXT = "Here are some words. They are always the same."
WORDS = [
    {"text": f" {text}", "start": n / 2, "end": n / 2 + 0.4, "probability": 0.9} for n, text in enumerate(TEXT.split())
]
TIMES = {"start": "0:00:00.00", "end": "0:00:04.40"}
LINE = {"speaker": 1, "text": TEXT, "detected_language": "en", "words": WORDS, **TIMES}
UPDATE = {"type": "snapshot", "seq": 1, "lines": [LINE], "buffer_transcription": "", "remaining_time_transcription": 0}
READY = {"type": "ready_to_stop"}
CONFIG = {"type": "config", "useAudioWorklet": True, "mode": "diff", "protocol": 1, "language": "auto"}
PATIENCE_S = 120.0
WAITS_LONGER = """
import sys
from appliance import cli
from appliance.client import recording

recording.LAST_WORDS_S = 60.0
sys.exit(cli.main())
"""


@contextmanager
def canned(*answers: dict[str, Any], after: int | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these answers after some messages of a stream, or at its end; and the audio it got."""
    heard: list[bytes] = []

    def answer(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            socket.send(json.dumps(CONFIG))
            for number in itertools.count():
                data = socket.recv(timeout=PATIENCE_S)
                if isinstance(data, str):
                    socket.send(json.dumps({"type": "pong", "id": json.loads(data)["id"]}))
                else:
                    heard.append(data)
                if number == after or (after is None and not data):
                    for message in answers:
                        socket.send(json.dumps(message))

    with serve(answer, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/asr", heard
        server.shutdown()
        thread.join(10)


class Result(NamedTuple):
    status: int
    out: str
    said: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """The command, without the cost of a process."""

    def run(*flags: str) -> Result:
        status = cli.main(["transcribe", *flags])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """3 s in which every sample is another number."""
    with wave.open(str(tmp_path / "ramp.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.arange(48000) - 24000).astype("<i2").tobytes())
    return tmp_path / "ramp.wav"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--from", "abc"], "not a time: 'abc'"),
        (["--to", "1:75"], "has 60 or more of a unit"),
        (["--from", "2", "--to", "1"], "--to 0:01 is not after --from 0:02"),
        (["--from", "0:03"], "--from 0:03 is beyond the end of the audio, which is 0:03 long"),
        (["--out", "/"], "--out / is a folder"),
        (["--out", "/nowhere/a.srt"], "there is no folder /nowhere"),
    ],
)
def test_wrong_arguments_are_told_before_any_connection(
    ramp: Path, run: Callable[..., Result], flags: list[str], expected: str
) -> None:
    status, out, said = run(str(ramp), "--url", NOWHERE, *flags)
    assert (status, out) == (2, "") and expected in said and "hint:" in said


def test_the_part_is_cut_to_the_sample_and_times_are_the_files(ramp: Path) -> None:
    flags = ["--from", "1.25", "--to", "0:02.5", "--format", "json"]
    for source, stdin in ((str(ramp), b""), ("-", ramp.read_bytes())):
        with canned(UPDATE, READY) as (url, heard):
            status, out, said = transcribe(source, "--url", url, *flags, stdin=stdin)
        assert status == 0, said
        assert np.array_equal(np.frombuffer(b"".join(heard), "<i2"), np.arange(20000, 40000) - 24000)
        answer = json.loads(out)
        assert (answer["text"], answer["language"], answer["duration"]) == (TEXT, "en", 1.25)
        assert (answer["lines"][0]["start"], answer["lines"][0]["end"]) == (1.25, 5.65)
        assert [word["start"] for word in answer["lines"][0]["words"]][:3] == [1.25, 1.75, 2.25]


def test_an_end_beyond_the_audio_is_noted(ramp: Path, run: Callable[..., Result]) -> None:
    with canned(UPDATE, READY) as (url, _):
        status, out, said = run(str(ramp), "--url", url, "--to", "1:00")
        assert (status, out) == (0, f"{TEXT}\n") and "note: the audio ends at 0:03, before --to" in said
        assert run(str(ramp), "--url", url, "--to", "1:00", "--quiet") == (0, out, "")


def test_result_in_a_file(ramp: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    target, link = tmp_path / "a.srt", tmp_path / "link.srt"
    target.write_text("old")
    link.symlink_to(target)
    with canned(UPDATE, READY) as (url, _):
        flags = [str(ramp), "--url", url, "--quiet", "--format", "srt", "--out"]
        assert run(*flags, str(link)) == (0, "", "")
        assert target.read_text() == (
            "1\n00:00:00,000 --> 00:00:02,000\nHere are some words.\n\n"
            "2\n00:00:02,000 --> 00:00:04,900\nThey are always the same.\n\n"
        )
        assert link.is_symlink() and sorted(path.name for path in tmp_path.iterdir()) == [
            "a.srt",
            "link.srt",
            "ramp.wav",
        ]
        assert run(*flags, "/dev/null") == (0, "", "")
        assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_full_disk_loses_nothing(ramp: Path, run: Callable[..., Result]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with canned(UPDATE, READY) as (url, _):
        status, out, said = run(str(ramp), "--url", url, "--quiet", "--out", "/dev/full")
    assert (status, out) == (1, f"{TEXT}\n") and "can't write /dev/full: No space left on device" in said


def started(*flags: str, program: Sequence[str] = ("-m", "appliance")) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *program, "transcribe", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )


def interrupted(program: subprocess.Popen[str], times: int = 1) -> tuple[int, str, str, float]:
    """Status, stdout, stderr and seconds of a program that gets Ctrl-C as soon as it shows text."""
    assert program.stderr is not None
    first = program.stderr.readline()
    at = time.monotonic()
    for _ in range(times):
        program.send_signal(signal.SIGINT)
        time.sleep(0.3)
    out, said = program.communicate(timeout=PATIENCE_S)
    return program.returncode, out, first + said, time.monotonic() - at


def test_ctrl_c_ends_the_stream_and_writes_what_was_committed(ramp: Path) -> None:
    with canned(UPDATE, after=2) as (url, heard):
        status, out, said, took_s = interrupted(started(str(ramp), "--url", url, "--pace", "realtime"))
    assert (status, out) == (130, f"{TEXT}\n")
    assert said == f"{TEXT}\ninterrupted\n"
    assert 4 < took_s < 30, "a server that does not end the stream is waited for a while"
    assert 9600 <= len(b"".join(heard)) < 96000


def test_ctrl_c_twice_is_at_once(ramp: Path) -> None:
    with canned(UPDATE, after=2) as (url, _):
        program = started(str(ramp), "--url", url, "--pace", "realtime", program=("-c", WAITS_LONGER))
        status, out, _, took_s = interrupted(program, times=2)
    assert (status, out) == (130, f"{TEXT}\n") and took_s < 30


def test_a_broken_stream_leaves_what_was_committed(ramp: Path, run: Callable[..., Result]) -> None:
    error = {"type": "error", "code": "restarting", "message": "the server is stopping", "hint": "come back"}
    with canned(UPDATE, error, after=2) as (url, _):
        status, out, said = run(str(ramp), "--url", url)
    assert (status, out) == (1, f"{TEXT}\n") and "server: the server is stopping" in said


def test_updates_that_make_no_sense(ramp: Path, run: Callable[..., Result]) -> None:
    for update in ({"lines": [{"speaker": 1, "text": "x", "start": "soon"}]}, {"type": "diff"}):
        with canned(update, after=2) as (url, _):
            status, out, said = run(str(ramp), "--url", url)
        assert (status, out) == (1, "") and "makes no sense" in said
