"""Containers in real processes: the samples are the same, and what ends one process ends one stream."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.speech.audio.apart import ApartContainer, Decoders
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.audio.forkserver import MOST_MEMORY
from tests.conftest import ROOT
from tests.speech.audio import poisoned
from tests.speech.audio.poisoned import CRASH, EXHAUST, GROW, HANG, STAND
from tests.speech.audio.signals import ENCODINGS, encode, speechlike
from tests.speech.audio.test_decoder import heard, split

LIMIT_S = 20.0
POISONED = (sys.executable, "-m", poisoned.__name__, "1", "6")


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders()
    yield made
    made.close()


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoders]:
    monkeypatch.chdir(ROOT)
    made = Decoders(POISONED)
    yield made
    made.close()


@pytest.fixture(scope="module")
def webm() -> bytes:
    return encode(ENCODINGS["webm"], speechlike(48000, 2.0))


def server_pid(decoders: Decoders) -> int:
    return decoders._running()._process.pid


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_gone(*pids: int) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not all(map(is_gone, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def all_of(decoder: AudioDecoder, data: bytes) -> int:
    """How many samples it is."""
    return heard(decoder, split(data, 1000)).size


@pytest.mark.parametrize("name", ENCODINGS)
def test_samples_are_those_of_this_process(decoders: Decoders, name: str) -> None:
    chunks = split(encode(ENCODINGS[name], speechlike(ENCODINGS[name].rate_hz, 2.0)), 50_000)
    apart = AudioDecoder(open_container=decoders.open)
    assert np.array_equal(heard(apart, chunks), heard(AudioDecoder(), chunks))


def test_what_can_be_heard_is_given_out_at_once(decoders: Decoders, webm: bytes) -> None:
    here, apart = AudioDecoder(), AudioDecoder(open_container=decoders.open)
    for chunk in split(webm, 400):
        given = [sum(piece.size for piece in decoder.feed(chunk)) for decoder in (here, apart)]
        assert given[0] == given[1]
    here.close()
    apart.close()


def test_one_recording_after_another_is_one_process(decoders: Decoders, webm: bytes) -> None:
    decoder = AudioDecoder(open_container=decoders.open)
    once = all_of(AudioDecoder(), webm)
    before = children(server_pid(decoders))
    pieces = [piece.size for _ in range(3) for piece in decoder.feed(webm)]
    assert len({*children(server_pid(decoders))} - {*before}) == 1
    pieces += [piece.size for piece in decoder.finish()]
    decoder.close()
    assert sum(pieces) == 3 * once


def test_who_stopped_listening_hears_the_rest_at_the_end(decoders: Decoders, webm: bytes) -> None:
    decoder = AudioDecoder(open_container=decoders.open)
    given = [next(decoder.feed(webm)).size]
    given += [piece.size for piece in decoder.finish()]
    decoder.close()
    assert sum(given) == all_of(AudioDecoder(), webm) and len(given) > 2


def test_broken_sound_is_told_as_in_this_process(decoders: Decoders) -> None:
    told = []
    for decoder in (AudioDecoder(), AudioDecoder(open_container=decoders.open)):
        with pytest.raises(ApplianceError) as refused:
            all_of(decoder, b"\x1aE\xdf\xa3" + bytes(3000))
        with pytest.raises(ApplianceError, match=refused.value.message[:20]):
            list(decoder.feed(b"more"))
        decoder.close()
        told.append((refused.value.message, refused.value.hint, refused.value.code))
    assert told[0] == told[1] and told[0][2] == "unsupported_audio"


@pytest.mark.parametrize(
    ("poison", "logged"),
    [
        (CRASH, "was ended by SIGSEGV"),
        (HANG, "was ended by SIGPROF"),
        (STAND, "was ended by SIGALRM"),
        (EXHAUST, "wanted more than"),
    ],
)
def test_what_ends_its_process_ends_one_stream(
    deadly: Decoders, webm: bytes, poison: bytes, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    once = all_of(AudioDecoder(), webm)
    half = len(webm) // 2
    other, bad = (AudioDecoder(open_container=deadly.open) for _ in range(2))
    given = [piece.size for decoder in (other, bad) for piece in decoder.feed(webm[:half])]
    server = server_pid(deadly)
    with pytest.raises(ApplianceError, match="the matroska audio ended the process that decoded it") as ended:
        list(bad.feed(poison))
    assert ended.value.code == "unsupported_audio" and ended.value.hint
    bad.close()
    given = given[: len(given) // 2] + [piece.size for piece in other.feed(webm[half:])]
    given += [piece.size for piece in other.finish()]
    other.close()
    assert sum(given) == once and all_of(AudioDecoder(open_container=deadly.open), webm) == once
    assert server_pid(deadly) == server
    deadline = time.monotonic() + LIMIT_S
    while logged not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    assert logged in caplog.text


def test_streams_outlive_the_process_that_forked_them_and_the_next_has_another(deadly: Decoders, webm: bytes) -> None:
    once = all_of(AudioDecoder(), webm)
    begun = AudioDecoder(open_container=deadly.open)
    given = [piece.size for piece in begun.feed(webm[:1000])]
    before = server_pid(deadly)
    os.kill(before, signal.SIGKILL)
    assert all_of(AudioDecoder(open_container=deadly.open), webm) == once
    assert server_pid(deadly) != before
    given += [piece.size for piece in begun.feed(webm[1000:])]
    given += [piece.size for piece in begun.finish()]
    begun.close()
    assert sum(given) == once


def test_a_child_that_fails_at_its_start_ends_no_other(deadly: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    server = server_pid(deadly)
    with pytest.raises(ApplianceError, match="no process can be started"):
        deadly.open("no such container")  # type: ignore[arg-type]
    assert server_pid(deadly) == server
    deadly.open("matroska").close()


def test_where_none_can_be_started_that_is_told(webm: bytes) -> None:
    for command, why in ((["/no/such/program"], "No such file"), ([sys.executable, "-c", ""], "ends as soon as")):
        decoders = Decoders(command)
        with pytest.raises(ApplianceError, match=why) as refused:
            list(AudioDecoder(open_container=decoders.open).feed(webm))
        assert refused.value.code == "internal" and refused.value.hint
        decoders.close()


@pytest.mark.parametrize(
    "said",
    [
        "b'sabc'",
        "b's' + np.array([0.1, np.nan], np.float32).tobytes()",
        "b's'",
        "b'e' + 30000 * b'['",
        "b'e[]'",
        """b'e{"message": "x", "code": "made_up"}'""",
        """b'e{"message": "x\\\\nINFO all is well", "code": "internal"}'""",
    ],
)
def test_what_a_process_never_says_is_not_listened_to(said: str, webm: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """From one that was taken over: what FFmpeg finds is made finite there, and errors are the project's own."""
    program = f"""
import socket
import numpy as np
requests = socket.socket(fileno=0)
_, handles, _, _ = socket.recv_fds(requests, 64, 1)
channel = socket.socket(fileno=handles[0])
channel.sendall(b"r")
channel.recv(65536)
for _ in range(1000):
    channel.sendall({said})
"""
    decoders = Decoders([sys.executable, "-c", program])
    decoder = AudioDecoder(open_container=decoders.open)
    with pytest.raises(ApplianceError, match="ended the process that decoded it") as refused:
        list(decoder.feed(webm))
    assert refused.value.code == "unsupported_audio"
    assert "a process answered" in caplog.text
    decoder.close()
    decoders.close()


NO_ROOM = """
import errno, os
from appliance.speech.audio import forkserver
def no_room():
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
os.fork = no_room
forkserver.main()
"""


def test_where_no_more_processes_are_allowed_that_is_told_and_those_there_go_on(webm: bytes) -> None:
    decoders = Decoders([sys.executable, "-c", NO_ROOM])
    with pytest.raises(ApplianceError, match="to decode sound: Resource temporarily unavailable") as refused:
        list(AudioDecoder(open_container=decoders.open).feed(webm))
    assert refused.value.code == "internal" and refused.value.hint
    server = server_pid(decoders)
    with pytest.raises(ApplianceError, match="temporarily"):
        decoders.open("matroska")
    assert server_pid(decoders) == server
    decoders.close()


def test_a_child_is_bounded_and_knows_no_secret(webm: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_TOKEN", "hush-hush")
    decoders = Decoders()
    decoder = AudioDecoder(open_container=decoders.open)
    list(decoder.feed(webm))
    server = server_pid(decoders)
    [child] = children(server)
    limits = {
        line[:26].strip(): line[26:].split()[:2] for line in Path(f"/proc/{child}/limits").read_text().splitlines()
    }
    taken = int(Path(f"/proc/{server}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    assert limits["Max core file size"] == ["1", "1"] and limits["Max open files"] == ["32", "32"]
    assert int(limits["Max address space"][0]) <= taken + MOST_MEMORY
    for pid in (server, child):
        assert b"hush-hush" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == 400
    assert len(list(Path(f"/proc/{child}/fd").iterdir())) <= 4
    decoder.close()
    decoders.close()


def test_one_that_has_grown_is_ended_before_others_where_memory_runs_out(deadly: Decoders, webm: bytes) -> None:
    small, large = (deadly.open("matroska") for _ in range(2))
    list(small.feed(webm))
    assert list(large.feed(GROW)) == []
    found = [int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in children(server_pid(deadly))]
    assert sorted(found) == [400, 900]
    small.close()
    large.close()


def test_closed_nothing_is_left(webm: bytes) -> None:
    before = set(threading.enumerate())
    decoders = Decoders()
    decoder = AudioDecoder(open_container=decoders.open)
    list(decoder.feed(webm))
    server = server_pid(decoders)
    [child] = children(server)
    decoder.close()
    wait_gone(child)
    decoders.close()
    wait_gone(server)
    with pytest.raises(ApplianceError, match="stopping"):
        decoders.open("matroska")
    for thread in set(threading.enumerate()) - before:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def test_closed_in_the_middle_nobody_waits(deadly: Decoders, webm: bytes) -> None:
    container = deadly.open("matroska")
    [child] = children(server_pid(deadly))
    os.kill(child, signal.SIGSTOP)
    threading.Timer(0.3, container.close).start()
    began = time.monotonic()
    assert list(container.feed(webm)) == []
    assert time.monotonic() - began < LIMIT_S / 2
    os.kill(child, signal.SIGCONT)
    wait_gone(child)


def test_none_of_a_hundred_openings_at_once_is_lost(decoders: Decoders, webm: bytes) -> None:
    opened: list[ApartContainer] = []
    threads = [threading.Thread(target=lambda: opened.append(decoders.open("matroska"))) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert len(opened) == 100
    for container in opened:
        container.close()


ORPHAN = """
import signal
from tests.speech.audio.test_apart import Decoders, children, server_pid
decoders = Decoders()
container = decoders.open("matroska")
server = server_pid(decoders)
print(server, *children(server), flush=True)
signal.pause()
"""


def test_it_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    wait_gone(*pids)
