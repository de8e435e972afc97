import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPTS = ("download_models.sh", "download_decoder_pt.sh")


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_and_wrong_use(name: str) -> None:
    script = str(ROOT / "scripts" / name)
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stdout.split()[0]) == (0, "usage:")
    assert subprocess.run([script], capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("download_models.sh", ["all"], "fetch --all"),
        ("download_models.sh", ["base", "--offline"], "fetch --with-assets base --offline"),
        ("download_decoder_pt.sh", ["medium"], "fetch --format pt medium"),
    ],
)
def test_calls_the_program(tmp_path: Path, name: str, words: list[str], expected: str) -> None:
    """In a copy of the scripts' surroundings, with a program that tells how it was called."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    program = tmp_path / ".venv" / "bin" / "wlk-appliance"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$*"\n')
    program.chmod(0o755)
    run = subprocess.run(["bash", str(tmp_path / "scripts" / name), *words], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == expected


@pytest.mark.parametrize("name", SCRIPTS)
def test_without_the_program_it_says_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    run = subprocess.run(
        ["/bin/bash", str(tmp_path / "scripts" / name), "base"],
        capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert run.returncode == 1
    assert "hint: run scripts/setup.sh" in run.stderr
