from pathlib import Path

import pytest
from cryptography import x509

from appliance.doctor.finding import Finding
from appliance.doctor.state import check_certificate, check_journal, check_state
from appliance.server.flags import load_settings
from appliance.server.renewal import subject_names
from appliance.server.tls import keep
from tests.server.certificates import days_ago, files_in, put_foreign, put_ours


def test_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    assert check_state(tmp_path).severity == "ok"
    assert check_state(tmp_path / "later").severity == "note"
    tmp_path.chmod(0o755)
    others = check_state(tmp_path)
    assert others.severity == "warning" and others.remedy == f"chmod 0700 {tmp_path}"
    (tmp_path / "file").touch()
    assert check_state(tmp_path / "file").severity == "error"
    assert check_state(tmp_path / "file/below").severity == "error"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert check_state(tmp_path).severity == "error"
    assert check_state(tmp_path / "later").severity == "error"


def test_the_journal(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    assert check_journal(None) == []
    assert [finding.severity for finding in check_journal(folder)] == ["note"] and not folder.exists()
    folder.mkdir(mode=0o700)
    (found,) = check_journal(folder)
    assert found.severity == "ok" and "0 streams, 0 MB" in found.seen
    folder.chmod(0o750)
    (found,) = check_journal(folder)
    assert found.severity == "error" and found.remedy.startswith("chmod 0700 ")


def checked(folder: Path, *flags: str) -> dict[str, Finding]:
    found = check_certificate(load_settings(["--state-dir", str(folder), *flags]))
    return {finding.check: finding for finding in found}


def severities(folder: Path, *flags: str) -> dict[str, str]:
    return {check: finding.severity for check, finding in checked(folder, *flags).items()}


def test_no_certificate_yet_and_a_new_one(tmp_path: Path) -> None:
    assert severities(tmp_path) == {"certificate": "note"}
    keep(tmp_path)
    assert severities(tmp_path) == {"certificate": "ok", "certificate names": "ok"}
    assert severities(tmp_path, "--tls-names", "new.example") == {"certificate": "ok", "certificate names": "warning"}
    assert "new.example" in checked(tmp_path, "--tls-names", "new.example")["certificate names"].seen
    assert severities(tmp_path, "--no-tls") == {"certificate": "note"}


@pytest.mark.parametrize(
    ("leaf_age_days", "severity", "seen"),
    [
        (-10, "error", "the clock is late"),
        (300, "ok", "valid until"),
        (380, "warning", "expires on"),
        (500, "error", "expired on"),
    ],
)
def test_dates(leaf_age_days: float, severity: str, seen: str, tmp_path: Path) -> None:
    put_ours(tmp_path, made=days_ago(600), leaf_made=days_ago(leaf_age_days))
    found = checked(tmp_path)["certificate"]
    assert found.severity == severity and seen in found.seen
    assert bool(found.remedy) == (severity != "ok")


def test_names_that_are_not_in_it(tmp_path: Path) -> None:
    put_ours(tmp_path, [x509.DNSName("other.example")])
    assert severities(tmp_path)["certificate names"] == "warning"
    put_ours(tmp_path / "all", subject_names())
    assert severities(tmp_path / "all")["certificate names"] == "ok"


@pytest.mark.parametrize("name", ["key.pem", "ca-key.pem"])
def test_a_key_that_others_may_read(name: str, tmp_path: Path) -> None:
    put_ours(tmp_path)
    key = (tmp_path / "tls" / name).resolve()
    key.chmod(0o640)
    found = checked(tmp_path)["certificate key"]
    assert found.severity == "error" and found.remedy == f"chmod 0600 {key}"


def test_what_is_no_certificate(tmp_path: Path) -> None:
    put_ours(tmp_path)
    files_in(tmp_path).certificate.write_text("none")
    assert severities(tmp_path) == {"certificate": "error"}


def test_a_certificate_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "tls/certificate.pem").mkdir(parents=True)
    assert severities(tmp_path) == {"certificate": "error"}


def test_one_of_the_site(tmp_path: Path) -> None:
    other = tmp_path / "other"
    for days, wanted in ((200, "ok"), (10, "warning"), (-1, "error")):
        files = put_foreign(tmp_path, days=days)
        files.key.chmod(0o600)
        names = {} if wanted == "error" else {"certificate names": "note"}
        assert severities(tmp_path) == {"certificate": wanted, **names}
        given = ("--tls-cert", str(files.certificate), "--tls-key", str(files.key))
        assert severities(other, *given) == {"certificate": wanted}
    put_foreign(tmp_path, days=200, other_key=True).key.chmod(0o600)
    assert severities(other, *given) == {"certificate": "error"}
    assert severities(tmp_path)["certificate"] == "error"
    assert severities(other, "--tls-cert", "/none", "--tls-key", "/none") == {"certificate": "error"}
