"""Known weaknesses of locked packages: records as OSV has them, and a stand-in for pip-audit, which needs a network."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import main
from appliance.container.advisories import known, locks, pins_of, read_database
from appliance.container.lock import Pin
from appliance.errors import ApplianceError
from tests.conftest import ROOT
from tests.programs import put

HASHES = frozenset({"0" * 64})


def record(name: str, package: str, *, ecosystem: str = "PyPI", **affected: Any) -> dict[str, Any]:
    return {"id": name, "affected": [{"package": {"ecosystem": ecosystem, "name": package}, **affected}]}


def ranged(*events: tuple[str, str], kind: str = "ECOSYSTEM") -> list[dict[str, Any]]:
    return [{"type": kind, "events": [{name: version} for name, version in events]}]


RECORDS = (
    record("A-1", "Some_Thing", ranges=ranged(("introduced", "0"), ("fixed", "1.10"))),
    record("A-2", "some-thing", versions=["1.9", "odd-version"]),
    record("A-3", "some.thing", ranges=ranged(("introduced", "1.2"), ("last_affected", "1.9"))),
    record("A-4", "some-thing", ranges=ranged(("introduced", "2"))),
    record("A-5", "some-thing", ranges=ranged(("introduced", "0"), kind="GIT")),
    record("A-6", "some-thing", ecosystem="npm", ranges=ranged(("introduced", "0"))),
    record("A-7", "some-thing", ranges=ranged(("introduced", "0"))) | {"withdrawn": "2026-01-01T00:00:00Z"},
    record("A-8", "some-thing", ranges=ranged(("introduced", "0"), ("fixed", "1.1"), ("introduced", "1.5"))),
    record("A-9", "another", ranges=ranged(("introduced", "0"))),
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "all.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for one in RECORDS:
            archive.writestr(f"{one['id']}.json", json.dumps(one))
    return file


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("1.9", ["A-1", "A-2", "A-3", "A-8"]),
        ("1.9+cpu", ["A-1", "A-2", "A-3", "A-8"]),
        ("1.9.post1", ["A-1", "A-8"]),
        ("1.2", ["A-1", "A-3"]),
        ("1.0", ["A-1", "A-8"]),
        ("1.10", ["A-8"]),
        ("2.1", ["A-4", "A-8"]),
    ],
)
def test_a_version_falls_under_what_was_said_of_it(version: str, names: list[str], database: Path) -> None:
    pins = [Pin("Some-thing", version, HASHES), Pin("sound", "1", HASHES)]
    found = list(known(pins, read_database(database, (pin.name for pin in pins))))
    assert [one.name for one in found] == names
    assert ("1.10",) in {one.fixed for one in found} or "A-1" not in names


def test_a_database_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    for content in (b"", b"no zip"):
        file.write_bytes(content)
        with pytest.raises(ApplianceError, match="no database of advisories"):
            read_database(file, ())
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("README", "nothing")
    with pytest.raises(ApplianceError, match="holds no advisory"):
        read_database(file, ())


def test_all_locks_are_looked_at() -> None:
    found = {str(file.relative_to(ROOT)) for file in locks(ROOT)}
    assert {str(file.relative_to(ROOT)) for file in ROOT.glob("*.lock")} <= found
    assert {str(file.relative_to(ROOT)) for file in ROOT.glob("images/**/*.lock")} <= found
    pins = pins_of(locks(ROOT))
    assert len(pins) > 100 and {"torch", "starlette", "pip", "ruff"} <= {pin.name for pin in pins}


# ---- the command


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one lock, and a PATH without pip-audit."""
    (tmp_path / "requirements-dev.lock").write_text(f"some-thing==1.10 --hash=sha256:{'0' * 64}\n")
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    return tmp_path


def test_what_was_saved_is_asked_first(project: Path, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(project / "bin", "pip-audit", "exit 9")
    assert main(["audit", "--database", str(database)]) == 1
    said = capsys.readouterr()
    assert said.out == "some-thing 1.10: A-8; without it: 1.1\n"
    assert "1 known weaknesses in 1 packages of 1 locks" in said.err
    (project / "build").mkdir()
    database.rename(project / "build/advisories.zip")
    (project / "requirements-dev.lock").write_text(f"sound==1 --hash=sha256:{'0' * 64}\n")
    assert main(["audit"]) == 0 and "0 known weaknesses" in capsys.readouterr().err


ANSWERS = (
    ('{"dependencies": [{"name": "some-thing", "version": "1.10", "vulns": []}], "fixes": []}', 0, "0 known"),
    ('{"dependencies": [{"name": "some-thing", "version": "1.10", "vulns": [{"id": "B-1"}]}]}', 1, "1 known"),
    ('{"dependencies": [{"name": "some-thing", "skip_reason": "not found"}]}', 3, "not audited: no advisory database"),
    ("", 3, "not audited: no advisory database answers"),
)


@pytest.mark.parametrize(("answer", "status", "said"), ANSWERS)
def test_pip_audit_is_asked_and_not_believed_where_nobody_told_it(
    answer: str, status: int, said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(project / "bin", "pip-audit", f"echo '{answer}'; echo some failure >&2; exit 1")
    assert main(["audit"]) == status
    assert said in capsys.readouterr().err


def test_nobody_to_ask(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 3
    assert "not audited: pip-audit is not installed" in capsys.readouterr().err
