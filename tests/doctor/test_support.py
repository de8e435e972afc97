import json
import stat
import tarfile
from pathlib import Path

import pytest

from appliance.doctor.finding import Finding
from appliance.doctor.support import MOST_BYTES, MOST_LINES, bounded, pack
from appliance.errors import ApplianceError
from appliance.server.flags import load_settings
from appliance.server.tls import keep

FINDINGS = [Finding("pair", "error", "the token is hunter2hunter2", "copy it")]


def unpacked(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        return {
            member.name.partition("/")[2]: content.read().decode()
            for member in archive
            if (content := archive.extractfile(member))
        }


def test_what_is_in_it_and_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_TOKEN", "hunter2hunter2")
    monkeypatch.setenv("WLK_INITIAL_PROMPT", "Doctor Zhivago")
    monkeypatch.setenv("SITE_NAME", "not looked at")
    keep(tmp_path / "state", ["box.example"])
    log = tmp_path / "server.log"
    log.write_text("12:00:00 INFO appliance.server.asr: 192.0.2.7:4242: done hunter2hunter2\nDoctor Zhivago\n")
    said = pack(tmp_path / "x.tar.gz", FINDINGS, load_settings(["--state-dir", str(tmp_path / "state")]), [log])
    files = unpacked(tmp_path / "x.tar.gz")
    assert stat.S_IMODE((tmp_path / "x.tar.gz").stat().st_mode) == 0o600
    assert set(files) >= {
        "README.txt",
        "findings.txt",
        "findings.json",
        "machine.txt",
        "settings.txt",
        "log-server.log",
    }
    assert files["README.txt"] == said and "log-server.log" in said
    assert json.loads(files["findings.json"])["worst"] == "error"
    assert "token = (secret)" in files["settings.txt"] and "initial_prompt = (secret)" in files["settings.txt"]
    assert "port = 8000" in files["settings.txt"]
    assert "box.example" in files["certificate.txt"] and "SHA-256" in files["certificate.txt"]
    whole = "".join(files.values())
    for secret in ("hunter2", "Zhivago", "192.0.2.7", "PRIVATE KEY", "not looked at"):
        assert secret not in whole


def test_tokens_with_names_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text("anna: hunter2anna\nbert: hunter2bert\n")
    file.chmod(0o600)
    monkeypatch.setenv("WLK_TOKENS", "carl: hunter2carl\ndora: hunter2dora")
    log = tmp_path / "server.log"
    log.write_text("hunter2anna hunter2bert hunter2carl hunter2dora carl@192.0.2.7:1: done\n")
    flags = ["--state-dir", str(tmp_path), "--token-file"]
    for number, given in enumerate((str(file), "/no/where")):
        out = tmp_path / f"{number}.tar.gz"
        pack(out, FINDINGS, load_settings([*flags, given]), [log])
        whole = "".join(unpacked(out).values())
        assert "carl@(address)" in whole and "hunter2carl" not in whole and "hunter2dora" not in whole
        assert ("hunter2anna" in whole) is (given == "/no/where")


def test_it_is_made_with_settings_that_can_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_TOKEN", "hunter2hunter2")
    pack(tmp_path / "x.tar.gz", FINDINGS, ApplianceError("WLK_PORT is 'x'"))
    files = unpacked(tmp_path / "x.tar.gz")
    assert "settings.txt" not in files and "hunter2" not in "".join(files.values())


def test_logs_are_bounded_and_their_end_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"row {number}\n" for number in range(3 * MOST_LINES)))
    pack(tmp_path / "x.tar.gz", FINDINGS, load_settings(["--state-dir", str(tmp_path)]), [log])
    kept = unpacked(tmp_path / "x.tar.gz")["log-a.log"].splitlines()
    assert len(kept) == MOST_LINES and kept[-1] == f"row {3 * MOST_LINES - 1}"
    assert len(bounded("é" * MOST_BYTES).encode()) == MOST_BYTES


def test_nothing_is_replaced_and_what_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    settings = load_settings(["--state-dir", str(tmp_path)])
    for target, message in (("there", "is there already"), ("no/folder", "can't write")):
        with pytest.raises(ApplianceError, match=message):
            pack(tmp_path / target, FINDINGS, settings)
    with pytest.raises(ApplianceError, match="can't read the log"):
        pack(tmp_path / "new", FINDINGS, settings, [tmp_path / "no.log"])
    assert not (tmp_path / "new").exists()
