import subprocess
from pathlib import Path

import pytest

from appliance.container.commit import EARLIEST_S, EPOCH_VARIABLE, Commit, given_epoch, source_commit
from appliance.errors import UsageError


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *settings, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_commit_and_changes_since(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "one", "--date", "2020-01-01T00:00:00Z")
    name, time_s = git(tmp_path, "log", "-1", "--format=%H %ct").split()
    assert source_commit(tmp_path) == Commit(name, int(time_s))
    (tmp_path / "other").write_text("not tracked", encoding="utf-8")
    assert source_commit(tmp_path).name == name
    (tmp_path / "file").write_text("two", encoding="utf-8")
    assert source_commit(tmp_path).name == f"{name}-changed"


def test_outside_a_repository_it_is_unknown(tmp_path: Path) -> None:
    assert source_commit(tmp_path) == Commit("unknown", EARLIEST_S)


@pytest.mark.parametrize(("given", "expected"), [(None, None), ("", None), ("0", 0), ("1700000000", 1_700_000_000)])
def test_the_epoch_that_is_given(monkeypatch: pytest.MonkeyPatch, given: str | None, expected: int | None) -> None:
    monkeypatch.delenv(EPOCH_VARIABLE, raising=False)
    if given is not None:
        monkeypatch.setenv(EPOCH_VARIABLE, given)
    assert given_epoch() == expected


@pytest.mark.parametrize("given", ["yesterday", "-5", "1.5"])
def test_an_epoch_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(EPOCH_VARIABLE, given)
    with pytest.raises(UsageError, match=f"{EPOCH_VARIABLE}={given}"):
        given_epoch()
