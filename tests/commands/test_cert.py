import os
import stat
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.server.authority import LEAF_DAYS, fingerprint
from appliance.server.settings import OLDER_NAMES, Settings, variable
from appliance.server.tls import files_in
from tests.conftest import missing
from tests.server.certificates import days_ago, loaded, put_foreign, put_ours, serving, shake_hands


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*OLDER_NAMES, "WLK_ENV_FILE", "STATE_DIRECTORY", *map(variable, Settings.model_fields)]:
        monkeypatch.delenv(name, raising=False)


def cert(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["cert", *words])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_made_then_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ("--state-dir", str(tmp_path))
    assert cert(capsys, "check", *state) == (1, "due: a new CA and certificate: first start\n")
    assert list(tmp_path.iterdir()) == [], "a check changes nothing"
    status, said = cert(capsys, "--names", "box.example,10.1.2.3", *state)
    assert status == 0 and said.count("\n") == 1 and "first start" in said
    assert cert(capsys, *state) == cert(capsys, "make", *state) == cert(capsys, "check", *state) == (0, "")
    files = files_in(tmp_path)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    for name in ("box.example", "10.1.2.3"):
        shake_hands(serving(files), name, files.authority)


def test_renewed_when_due(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_ours(tmp_path, leaf_made=days_ago(LEAF_DAYS - 20))
    state = ("--state-dir", str(tmp_path))
    assert cert(capsys, "check", *state) == (1, "due: a new certificate: the old one expires\n")
    status, said = cert(capsys, *state)
    assert status == 0 and "the CA stays" in said
    assert cert(capsys, "check", *state) == (0, "")


def test_show_and_fingerprint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ("--state-dir", str(tmp_path))
    assert cert(capsys, "show", *state)[0] == cert(capsys, "fingerprint", *state)[0] == 1
    put_ours(tmp_path)
    files = files_in(tmp_path)
    seen = fingerprint(loaded(files.authority))
    assert cert(capsys, "fingerprint", *state) == (0, seen + "\n")
    status, said = cert(capsys, "show", *state)
    assert status == 0
    for word in ("box.example", "127.0.0.1", "10.0.0.0/8", seen, fingerprint(loaded(files.certificate))):
        assert word in said
    assert f"{loaded(files.certificate).not_valid_after_utc:%Y-%m-%d}" in said


def test_settings_are_the_servers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WLK_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("WLK_TLS_NAMES", "hall.example")
    assert cert(capsys)[0] == 0
    shake_hands(serving(files_in(tmp_path)), "hall.example", files_in(tmp_path).authority)


def test_a_sites_own_certificate_takes_precedence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = put_foreign(tmp_path / "site")
    monkeypatch.setenv("WLK_TLS_CERT", str(own.certificate))
    monkeypatch.setenv("WLK_TLS_KEY", str(own.key))
    state = ("--state-dir", str(tmp_path / "state"))
    assert cert(capsys, *state) == cert(capsys, "check", *state) == (0, "")
    assert not (tmp_path / "state").exists()
    status, said = cert(capsys, "show", *state)
    assert status == 0 and "the site's own" in said and fingerprint(loaded(own.certificate)) in said
    assert cert(capsys, "fingerprint", *state)[0] == 1
    own.key.unlink()
    status, said = cert(capsys, *state)
    assert status == 1 and str(own.key) in said


def test_root_does_not_write_in_anothers_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() != 0:
        missing("root, who may write for another user")
    os.chown(tmp_path, 10001, 10001)
    status, said = cert(capsys, "--state-dir", str(tmp_path))
    assert status == 1 and "belongs to user 10001" in said and "sudo -u '#10001'" in said
    assert list(tmp_path.iterdir()) == []


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = cert(capsys, "--state-dir", str(tmp_path), "--names", "no name")
    assert status == 1 and "not a host name: 'no name'" in said and "hint:" in said
    (tmp_path / "file").write_text("")
    status, said = cert(capsys, "--state-dir", str(tmp_path / "file"))
    assert status == 1 and "can't keep a certificate" in said
    with pytest.raises(SystemExit) as left:
        main(["cert", "shwo"])
    assert left.value.code == 2
