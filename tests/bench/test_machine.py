import subprocess
from pathlib import Path

from appliance import __version__
from appliance.bench.machine import circumstances, commit_of


def test_what_was_measured_on_what() -> None:
    found = circumstances()
    assert found.machine.cpu and found.machine.cores >= 1 and found.machine.memory_gib > 0.1
    assert found.versions["wlk-appliance"] == __version__
    assert found.versions["torch"].startswith("2.")
    assert found.date.endswith("+00:00")


def test_the_commit_of_a_folder(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    (tmp_path / "code").write_text("1")
    for words in (["init", "--quiet"], ["add", "code"], ["commit", "--quiet", "--no-gpg-sign", "-m", "first"]):
        subprocess.run([*git, *words], check=True, timeout=20)
    commit = commit_of(tmp_path)
    assert commit is not None and len(commit) == 40
    (tmp_path / "code").write_text("2")
    assert commit_of(tmp_path) == f"{commit}+changes"
