"""The file that is sent away: what a session says must not get out, whatever the server logs."""

import re
import tarfile
from pathlib import Path

import pytest

from appliance.cli import main
from tests.conftest import Spoken
from tests.server.running import committed, field_client, opened, pcm, pieces, running, updates


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["support-bundle", "--out", str(tmp_path / "x"), "--no-such-flag"]) == 2
    assert not (tmp_path / "x").exists() and "--no-such-flag" in capsys.readouterr().err
    assert main(["support-bundle", "--out", str(tmp_path / "no/x")]) == 1
    assert "can't write" in capsys.readouterr().err


@pytest.mark.model
def test_no_word_of_a_session_is_in_it_at_any_level(
    flags: list[str], librivox: tuple[Spoken, ...], tmp_path: Path
) -> None:
    """Real speech, with the most that the server can log, a client that fails, and one that is refused."""
    token = "an-unusual-secret"
    words = ["--log-level", "debug", "--token", token, "--initial-prompt", "Barnabas Quillfeather", *flags]
    with running(words, tmp_path / "state") as server:
        server.wait_for("ready: base")
        speech = pcm(librivox[0].path)
        with opened(server, f"?pcm=1&token={token}&encoding=s16le") as client:
            heard = committed(updates(field_client(client, pieces(speech)))[-1])
        with opened(server, f"?token={token}") as client:
            field_client(client, [b"no audio at all, " * 100])
        with opened(server, "?token=wrong") as client:
            field_client(client, [])
        log = tmp_path / "server.log"
    log.write_text("".join(server.lines))
    out = tmp_path / "x.tar.gz"
    assert "asr: 127.0.0.1" in log.read_text() and "DEBUG" in log.read_text()
    main(["support-bundle", "--out", str(out), "--log", str(log), "--state-dir", str(tmp_path / "state"), *words])
    with tarfile.open(out) as archive:
        packed = {
            member.name: content.read().decode() for member in archive if (content := archive.extractfile(member))
        }
    log_words = set(re.findall(r"[a-z]+", packed["wlk-support/log-server.log"].lower()))
    said = {word for word in re.findall(r"[a-z]+", f"{heard} {librivox[0].transcript}".lower()) if len(word) > 3}
    assert len(said) > 5, heard
    assert not said & log_words
    whole = "".join(packed.values())
    assert heard not in whole
    for secret in (token, "Quillfeather", "127.0.0.1"):
        assert secret not in packed["wlk-support/log-server.log"]
    assert token not in whole and "Quillfeather" not in whole and "PRIVATE KEY" not in whole
