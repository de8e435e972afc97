"""What a sealed process can do, and what not: each in one of its own, for it can't be undone; and in a real server."""

import errno
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.server import sealing
from tests.conftest import Spoken
from tests.server.running import committed, field_client, opened, pcm, pieces, running, updates, word_errors

BEGIN = """
import ctypes, errno, os, socket, subprocess, sys, threading
from appliance.server.sealing import seal
listener = socket.create_server(("127.0.0.1", 0))
early = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
go, said = threading.Event(), []
def later():
    go.wait()
    try:
        said.append(socket.socket())
    except OSError as error:
        said.append(error.errno)
thread = threading.Thread(target=later)
thread.start()
seal()
def refused(attempt):
    try:
        found = attempt()
    except OSError as error:
        assert error.errno in (errno.EACCES, errno.ECONNREFUSED), error
    else:
        raise AssertionError(f"{attempt} is possible: {found}")
"""


def run(body: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + body + "\ngo.set()\nthread.join()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "family, kind",
    [
        ("AF_INET", "SOCK_STREAM"),
        ("AF_INET6", "SOCK_STREAM"),
        ("AF_INET", "SOCK_DGRAM"),
        ("AF_INET", "SOCK_RAW"),
        ("AF_PACKET", "SOCK_RAW"),
        ("AF_NETLINK", "SOCK_RAW"),
        ("AF_VSOCK", "SOCK_STREAM"),
    ],
)
def test_there_are_no_new_sockets(family: str, kind: str) -> None:
    run(f"refused(lambda: socket.socket(socket.{family}, socket.{kind}))")


def test_a_socket_that_is_there_can_not_be_turned_to_somebody_else() -> None:
    run("""
import struct
libc = ctypes.CDLL(None, use_errno=True)
there = listener.getsockname()
for one in (accepted, listener, datagrams):
    refused(lambda: one.connect(there))
nobody = struct.pack("<H14x", socket.AF_UNSPEC)  # takes a connection back, so that it could be made anew
assert libc.connect(accepted.fileno(), nobody, len(nobody)) == -1 and ctypes.get_errno() == errno.ECONNREFUSED
refused(lambda: accepted.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", 9)))
refused(lambda: accepted.sendmsg([b"x"], [], socket.MSG_FASTOPEN, ("127.0.0.1", 9)))
""")


def test_other_numbers_for_the_same_calls_are_no_way_around() -> None:
    run("""
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall(ctypes.c_long(425), 8, None) == -1 and ctypes.get_errno() == errno.EACCES  # io_uring_setup
if os.uname().machine == "x86_64":
    assert libc.syscall(ctypes.c_long(0x40000000 | 41), 2, 1, 0) == -1 and ctypes.get_errno() == errno.ENOSYS
""")


def test_no_hold_is_taken_of_a_process_that_is_not_sealed() -> None:
    """Such as one that the engine starts in the same container, to ask after the server's health."""
    with subprocess.Popen(["sleep", "60"]) as other:
        run(f"""
libc = ctypes.CDLL(None, use_errno=True)
attach, get, memory = 16, 438, (101, 310, 311) if os.uname().machine == "x86_64" else (117, 270, 271)
def denied(number, *words):
    assert libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, words)) == -1
    assert ctypes.get_errno() == errno.EACCES, (number, os.strerror(ctypes.get_errno()))
denied(memory[0], attach, {other.pid}, 0, 0)
for number in memory[1:]:
    denied(number, {other.pid}, 0, 0, 0, 0, 0)
denied(get, -1, 0, 0)
""")
        other.kill()


def test_threads_that_ran_before_and_processes_that_come_after_are_sealed_too() -> None:
    run("""
go.set()
thread.join()
assert said == [errno.EACCES], said
inside = "import socket\\ntry:\\n socket.socket()\\nexcept PermissionError:\\n raise SystemExit(7)"
assert subprocess.run([sys.executable, "-c", inside]).returncode == 7
status = open("/proc/self/status").read()
assert "Seccomp:\\t2" in status and "NoNewPrivs:\\t1" in status
""")


def test_what_a_server_does_goes_on() -> None:
    run("""
import asyncio
accepted.sendall(b"to a client")
assert early.recv(100) == b"to a client"
one, two = socket.socketpair()
socket.socket(socket.AF_UNIX).close()
async def work():
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert (await process.communicate(b"pipes"))[0] == b"pipes"
    reader, writer = await asyncio.open_connection(sock=early)
    writer.close()
asyncio.run(work())
""")


ALLOWED, DENIED, UNKNOWN = 0x7FFF0000, 0x00050000 | errno.EACCES, 0x00050000 | errno.ENOSYS


def decision(rows: bytes, machine: int, number: int, *arguments: int) -> int:
    """What the kernel makes of a call, by a machine of our own for the few instructions that there are."""
    data = struct.pack("<iIQ6Q", number, machine, 0, *arguments, *[0] * (6 - len(arguments)))
    program = list(struct.iter_unpack("<HBBI", rows))
    place, held = 0, 0
    while True:
        code, met, unmet, value = program[place]
        place += 1
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return int(value)
        else:
            place += met if {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code] else unmet


@pytest.mark.parametrize("kind", sealing._CALLS)
def test_the_filter_of_each_kind_of_machine(kind: str) -> None:
    """Of arm64 too, where it was not run. The numbers are those of the kernel's own headers."""
    calls = sealing._CALLS[kind]
    rows = b"".join(sealing._filter(calls))

    def decide(number: int, *arguments: int) -> int:
        return decision(rows, calls.machine, number, *arguments)

    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_VSOCK):
        assert decide(calls.socket, family, socket.SOCK_STREAM) == DENIED
    assert decide(calls.socket, socket.AF_UNIX, socket.SOCK_DGRAM) == ALLOWED
    assert decide(calls.socket, socket.AF_INET | 1 << 32) == DENIED, "the kernel looks at 32 bits"
    assert (decide(calls.connect, 3), decide(425)) == (0x00050000 | errno.ECONNREFUSED, DENIED)
    for number, flags in calls.sends:
        assert decide(number, 3, 0, 0, 0) == ALLOWED
        given = [3, 0, 0, 0]
        given[flags] = 0x20000000 | 0x4000
        assert decide(number, *given) == DENIED
    assert {decide(number) for number in (438, *calls.holds)} == {DENIED}
    assert decide(0) == decide(calls.seccomp) == ALLOWED
    assert decision(rows, 0x40000003, calls.socket, socket.AF_UNIX) == UNKNOWN, "another machine's numbers"


@pytest.mark.model
@pytest.mark.parametrize(("flags_", "sealed"), [((), True), (("--allow-outgoing",), False)])
def test_a_server_seals_itself(
    flags_: tuple[str, ...], sealed: bool, flags: list[str], librivox: tuple[Spoken, ...], tmp_path: Path
) -> None:
    with running([*flags_, *flags], tmp_path) as server:
        server.wait_for("ready: base")
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        outside = Path("/proc/self/status").read_text()
        count = [int(text.split("Seccomp_filters:")[1].split()[0]) for text in (status, outside)]
        assert count[0] - count[1] == int(sealed)
        with opened(server) as client:
            final = updates(field_client(client, pieces(pcm(librivox[0].path))))[-1]
        assert word_errors(librivox[0].transcript, committed(final)) <= 2
        assert any("opens no connection" in line for line in server.lines) is sealed
