"""The client against a real server, and against what is none."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Spoken
from tests.server.running import Running, environment, webm, word_errors


def transcribe(*flags: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "appliance", "transcribe", *flags]
    done = subprocess.run(command, input=stdin, capture_output=True, env=env or environment(), timeout=90, check=False)
    assert b"Traceback" not in done.stderr
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.model
def test_file_and_stdin(server: Running, librivox: tuple[Spoken, ...]) -> None:
    env = environment(WLK_STATE_DIR=str(server.state_dir))
    status, text, growing = transcribe(str(librivox[0].path), "--url", server.asr, "--pace", "realtime", env=env)
    assert status == 0 and word_errors(librivox[0].transcript, text) <= 2
    assert len(growing.splitlines()) > 1 and growing.split() == text.split()
    flags = ["-", "--url", server.asr, "--format", "json", "--insecure"]
    status, out, _ = transcribe(*flags, stdin=webm(librivox[0].path))
    answer = json.loads(out)
    assert status == 0 and word_errors(librivox[0].transcript, answer["text"]) <= 2
    assert answer["lines"][0]["words"]


@pytest.mark.model
def test_server_says_no(server: Running, librivox: tuple[Spoken, ...]) -> None:
    status, out, said = transcribe(str(librivox[0].path), "--url", server.asr, "--insecure", "--language", "tlh")
    assert (status, out) == (1, "") and "server: unknown language: 'tlh'" in said
    status, _, said = transcribe(str(librivox[0].path), "--url", server.asr)
    assert status == 1 and "is not trusted" in said and "--insecure" in said
    status, _, said = transcribe(str(librivox[0].path), "--url", server.asr.replace("wss", "ws"))
    assert status == 1 and "wss://" in said


def test_bad_file_is_told_before_any_connection(tmp_path: Path) -> None:
    status, _, said = transcribe("/nowhere.wav")
    assert status == 1 and "can't read /nowhere.wav" in said and "WLK_TOKEN" not in said
    status, _, said = transcribe("/nowhere.wav", "--token", "hush-hush")
    assert status == 1 and "list of processes: give WLK_TOKEN" in said and "hush-hush" not in said
    (tmp_path / "a.wav").write_text("this is text")
    status, _, said = transcribe(str(tmp_path / "a.wav"))
    assert status == 1 and "no audio that can be decoded" in said


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    import wave

    with wave.open(str(tmp_path / "short.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(3200))
    return tmp_path / "short.wav"


@pytest.fixture
def web_server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{web.server_port}/asr"
        web.shutdown()
        thread.join()


def test_no_server_or_another_kind(wav: Path, web_server: str) -> None:
    for url, expected in (
        ("ws://127.0.0.1:9/asr", "no server at ws://127.0.0.1:9/asr"),
        (web_server, "does not answer as a WebSocket"),
        ("http://127.0.0.1:9/asr", "not a WebSocket address"),
        (web_server.replace("ws:", "wss:"), "no TLS with"),
    ):
        status, _, said = transcribe(str(wav), "--url", url)
        assert status == 1 and expected in said and "hint" in said
