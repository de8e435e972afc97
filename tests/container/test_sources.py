"""Source code by commit, from real repositories made here."""

import subprocess
import tarfile
from pathlib import Path

import pytest

from appliance.container.sources import Source, fetch_source, read_sources
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from tests.conftest import ROOT


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", "-C", folder, *author, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    git(folder, "init", "--quiet")
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / next(iter(files))).chmod(0o755)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=one")
    return folder


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A repository with another one as its submodule, and a later commit that nobody asked for."""
    for key, value in {"COUNT": "1", "KEY_0": "protocol.file.allow", "VALUE_0": "always"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{key}", value)
    inner = repository(tmp_path / "inner", {"inner.h": "inner"})
    outer = repository(tmp_path / "outer", {"build.sh": "make", "a.c": "one"})
    git(outer, "submodule", "--quiet", "add", inner.as_uri(), "third_party/inner")
    git(outer, "commit", "--quiet", "--message=two")
    commit = git(outer, "rev-parse", "HEAD")
    (outer / "a.c").write_text("two", encoding="utf-8")
    git(outer, "commit", "--quiet", "--all", "--message=three")
    return Source("outer", "1.0", commit, outer.as_uri())


def test_the_commit_with_its_submodules_always_the_same_bytes(source: Source, tmp_path: Path) -> None:
    archive = fetch_source(source, tmp_path / "one").path
    with tarfile.open(archive) as made:
        modes = {entry.name: entry.mode for entry in made.getmembers() if entry.isfile()}
        assert made.extractfile("./a.c").read() == b"one"  # type: ignore[union-attr]
    assert modes == {"./.gitmodules": 0o644, "./a.c": 0o644, "./build.sh": 0o755, "./third_party/inner/inner.h": 0o755}
    assert fetch_source(source, tmp_path / "two").path.read_bytes() == archive.read_bytes()


def test_what_is_there_is_kept_and_what_is_damaged_is_made_again(source: Source, tmp_path: Path) -> None:
    made = fetch_source(source, tmp_path / "sources")
    archive, digest = made.path, sha256_file(made.path)
    time_ns = archive.stat().st_mtime_ns
    assert made.sha256 == digest
    assert fetch_source(source, tmp_path / "sources") == made and archive.stat().st_mtime_ns == time_ns
    archive.write_bytes(archive.read_bytes()[:-1])
    assert sha256_file(fetch_source(source, tmp_path / "sources").path) == digest
    assert sorted(path.name for path in archive.parent.iterdir()) == [archive.name, archive.name + ".sha256"]


def test_a_commit_that_is_not_there_is_told(source: Source, tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="git") as raised:
        fetch_source(Source("outer", "1.0", "0" * 40, source.address), tmp_path / "sources")
    assert source.address in raised.value.hint
    assert list((tmp_path / "sources").iterdir()) == []


def test_sources_stand_in_one_file(tmp_path: Path) -> None:
    assert read_sources(tmp_path) == ()
    rows = ["A_SOURCE=https://host/a.git", "A_VERSION=1.0", "OTHER=2"]
    (tmp_path / "versions.env").write_text("\n".join([*rows, f"A_COMMIT={'b' * 40}"]), encoding="utf-8")
    assert read_sources(tmp_path) == (Source("a", "1.0", "b" * 40, "https://host/a.git"),)
    (tmp_path / "versions.env").write_text("\n".join([*rows, "A_COMMIT=main"]), encoding="utf-8")
    with pytest.raises(ApplianceError, match="does not pin A"):
        read_sources(tmp_path)


def test_jetson_compiles_torchaudio_and_ctranslate2() -> None:
    assert [one.name for one in read_sources(ROOT / "images/jetson-thor")] == ["ctranslate2", "torchaudio"]
