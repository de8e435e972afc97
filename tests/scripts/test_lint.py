"""Dockerfiles and shell scripts are test subjects too."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOOLS = Path(sys.executable).parent
DOCKERFILES = sorted(ROOT.glob("images/*/Dockerfile"))


def lint(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_shell_scripts_pass_shellcheck() -> None:
    scripts = [*sorted(ROOT.glob("scripts/**/*.sh")), *sorted(ROOT.glob("images/*/*.sh")), ROOT / ".ci/run"]
    assert lint(TOOLS / "shellcheck", "--external-sources", *scripts) == ""


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_dockerfile_passes_hadolint(file: Path) -> None:
    assert lint(TOOLS / "hadolint", file) == ""


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_dockerfile_builds_with_docker_20_10_and_no_network(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"^#\s*syntax=", text, re.MULTILINE)  # would pull an image
    assert "<<" not in text and "--network" not in re.sub("(?m)^#.*$", "", text)
    assert not re.search(r"apt-get|curl |wget ", text)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_dockerfile_ends_as_a_plain_user_with_labels_last(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    instructions = re.findall(r"^([A-Z]+) ", text, re.MULTILINE)
    assert instructions[-1] == "LABEL"
    assert {"HEALTHCHECK", "STOPSIGNAL", "VOLUME", "ENTRYPOINT"} <= set(instructions)


def test_an_unknown_target_is_refused_by_make() -> None:
    assert "unknown TARGET 'mars': one of cpu" in lint("make", "help", "TARGET=mars")


def test_make_help_lists_the_two_main_commands() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"^  make appliance +\S", done.stdout, re.MULTILINE)
    assert re.search(r"^  make test +\S", done.stdout, re.MULTILINE)
