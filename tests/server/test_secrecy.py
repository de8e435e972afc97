"""What nobody but its client gets to know: tokens and what was said, in logs, addresses and lists of processes."""

import base64
import re
import stat
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.typing import Subprotocol

from tests.conftest import Spoken
from tests.server.files.openapi_hooks import silence
from tests.server.running import (
    Running,
    children,
    committed,
    environment,
    field_client,
    opened,
    pcm,
    pieces,
    running,
    trusting,
    updates,
)

pytestmark = pytest.mark.model

TOKENS = {"anna": "tick/of+anna?", "bert": "tock-of-bert", "token": "the:one=of&all"}
GUESS = "a-guess-of-somebody"


def coded(secret: str) -> str:
    return base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")


def spellings(secret: str) -> set[str]:
    """As a log might have it: plain, in an address, in a subprotocol."""
    return {secret, urllib.parse.quote(secret), urllib.parse.quote(secret, safe=""), coded(secret)}


@pytest.fixture(scope="module")
def talkative(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server under TLS that logs all it can, with a token in its variables and two in a file."""
    folder = tmp_path_factory.mktemp("talkative")
    file = folder / "tokens"
    file.touch(0o600)
    file.write_text(f"anna: {TOKENS['anna']}\nbert: {TOKENS['bert']}\n")
    more = ["--token-file", str(file), "--log-level", "debug", "--language", "en", "--idle-timeout-s", "60"]
    with running([*more, *flags], folder / "state", env=environment(WLK_TOKEN=TOKENS["token"])) as started:
        started.wait_for("ready: base")
        yield started


def ask(server: Running, path: str, data: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(server.url + path, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, context=trusting(server), timeout=600) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_neither_a_token_nor_a_word_is_in_the_log_and_no_token_in_a_list_of_processes(
    talkative: Running, librivox: tuple[Spoken, ...]
) -> None:
    """Each way to give a token, good and bad, on the socket and for files; and speech that is understood."""
    speech = pieces(pcm(librivox[0].path))
    offered = [Subprotocol("wlk"), Subprotocol("wlk.token." + coded(TOKENS["anna"]))]
    query = "&token=" + urllib.parse.quote(TOKENS["bert"], safe="")
    bearer = {"Authorization": f"Bearer {TOKENS['token']}"}
    heard = []
    for more, options in (("", {"subprotocols": offered}), (query, {}), ("", {"additional_headers": bearer})):
        with opened(talkative, f"?encoding=s16le&pcm=1{more}", **options) as client:
            heard.append(committed(updates(field_client(client, speech))[-1]))
    for wrong in (f"?token={GUESS}", "?token=%ff"):
        with opened(talkative, wrong) as client:
            field_client(client, [])
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        + librivox[0].path.read_bytes()
        + b'\r\n--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nQuillfeather\r\n--b--\r\n'
    )
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert ask(talkative, "v1/audio/transcriptions", body, **form, **bearer) == 200
    assert ask(talkative, f"v1/audio/transcriptions?token={GUESS}", silence(), **form) == 401
    assert ask(talkative, f"nowhere?token={GUESS}") == 404 and ask(talkative, "metrics", **bearer) == 200

    processes = [Path(f"/proc/{pid}") for pid in (talkative.process.pid, *children(talkative.process.pid))]
    assert len(processes) >= 2, "the one for files runs too"
    for process in processes:
        line = (process / "cmdline").read_text(errors="replace")
        assert not any(spelling in line for secret in TOKENS.values() for spelling in spellings(secret))
        # A variable is for the eyes of this user alone.
        assert stat.S_IMODE((process / "environ").stat().st_mode) == 0o400

    log = "".join(talkative.lines)
    assert "DEBUG" in log and "anna@127.0.0.1" in log and "bert@127.0.0.1" in log and "unauthorized" in log
    for secret in (*TOKENS.values(), GUESS, "Quillfeather"):
        assert not [spelling for spelling in spellings(secret) if spelling in log]
    said = {word for word in re.findall("[a-z]+", f"{heard} {librivox[0].transcript}".lower()) if len(word) > 4}
    assert len(said) > 4, heard
    assert not said & set(re.findall("[a-z]+", log.lower()))


@pytest.mark.parametrize("flag", ["--token=seen-by-all", "--tokens=anna: seen-by-all"])
def test_a_token_in_the_command_line_is_remarked(flag: str, flags: list[str], tmp_path: Path) -> None:
    with running(["--no-tls", flag, *flags], tmp_path) as server:
        server.wait_for(f"WARNING .*see what {flag.partition('=')[0]} says in the list of processes")
        assert "seen-by-all" not in "".join(server.lines)
