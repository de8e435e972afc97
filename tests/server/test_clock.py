"""The time of day is none that anything waits by: it may jump back a year, or forward two."""

import ast
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.conftest import ROOT, Spoken, missing
from tests.server.certificates import loaded
from tests.server.running import (
    Message,
    committed,
    environment,
    opened,
    pcm,
    pieces,
    receive,
    running,
    updates,
    word_errors,
)
from tests.server.test_trouble import report

YEAR_S = 365 * 86400
TOLD_BY_DATE = {
    *("server/authority", "server/certificate", "server/renewal"),
    *("journal/bounds", "journal/file", "journal/one_stream"),
}
"""Modules that may ask for the date: certificates have dates, and so has what a journal keeps for so many days."""
DATES = {"time", "time_ns", "now", "utcnow", "today", "localtime", "gmtime", "ctime"}


def asks_for_the_date(file: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in DATES and isinstance(node.value, ast.Name | ast.Attribute):
            whose = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if whose in ("time", "datetime", "date"):
                yield node.lineno


def test_nothing_that_serves_asks_for_the_date() -> None:
    rooms = ("server", "speech", "batch", "speakers", "translation", "pair", "client", "recording", "journal")
    files = [file for room in rooms for file in (ROOT / "appliance" / room).rglob("*.py")]
    home = ROOT / "appliance"
    asking = {str(file.relative_to(home).with_suffix("")) for file in files if list(asks_for_the_date(file))}
    assert len(files) > 100 and asking <= TOLD_BY_DATE and "server/certificate" in asking


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that gives a process another time of day."""
    if shutil.which("cc") is None:
        missing("a C compiler: apt-get install gcc libc6-dev")
    made = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).parent / "clock.c"
    subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


@pytest.mark.model
def test_a_stream_goes_on_whatever_the_clock_does(
    shim: Path, flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    spoken = librivox[1]
    off = tmp_path / "off"

    def jump(seconds: int) -> None:
        with off.open("r+b" if off.exists() else "wb") as file:
            file.write(struct.pack("l", seconds))

    jump(0)
    env = environment(LD_PRELOAD=str(shim), CLOCK_OFF=str(off))
    state = tmp_path / "state"
    with running(["--idle-timeout-s", "60", *flags], state, env=env) as server:
        server.wait_for("ready: base")
        data = pieces(pcm(spoken.path))
        with opened(server) as socket:
            messages: list[Message] = [receive(socket)]
            for seconds, part in ((0, data[:20]), (-YEAR_S, data[20:40]), (2 * YEAR_S, data[40:])):
                jump(seconds)
                for chunk in part:
                    socket.send(chunk)
                socket.send(json.dumps({"type": "ping", "id": seconds}))
                while messages[-1] != {"type": "pong", "id": seconds}:
                    messages.append(receive(socket))
                assert report(server)["status"] == "ready"
            socket.send(b"")
            while messages[-1].get("type") != "ready_to_stop":
                messages.append(receive(socket))
        assert word_errors(spoken.transcript, committed(updates(messages)[-1])) <= 2
        # Two years on the certificate has expired: it is renewed at the next look.
        server.wait_for("serving with the new certificate", 150)
        renewed = loaded(state / "tls" / "certificate.pem")
        assert isinstance(renewed, x509.Certificate)
        jump(0)
        assert server.stop() == 0
    # Right again, the clock is before what was made then; it serves, and says so.
    with running(flags, state) as again:
        again.wait_for("still serving with the certificate that is there: .*is valid only from")
        assert report(again)["warning"] == "certificate_early"
