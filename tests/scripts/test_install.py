"""Parts of the installer that need no box; tests/boot has the whole."""

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = """
set -euo pipefail
private=$(mktemp -d)
. scripts/install/output.sh
main() {
    outlive_terminal
    echo one
    until [ -e "$1/gone" ]; do sleep 0.05; done
    for word in a lot of lines; do echo "$word"; bash -c 'echo from a child; echo and a remark >&2'; done
    echo "$private" >"$1/done"
}
main "$1"
"""


def wait_for(path: Path) -> str:
    give_up = time.monotonic() + 20
    while not path.exists() or not path.read_text():
        assert time.monotonic() < give_up, f"no {path.name}"
        time.sleep(0.05)
    return path.read_text().strip()


@pytest.mark.parametrize("terminal", [True, False])
def test_it_goes_on_when_nobody_is_there_to_see_it(tmp_path: Path, terminal: bool) -> None:
    """As when a connection breaks in the middle of a switch."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    words = ["setsid", *(["--ctty"] if terminal else []), "bash", "-c", PROGRAM, "install", tmp_path]
    stdin = writer if terminal else subprocess.DEVNULL
    with subprocess.Popen(words, cwd=ROOT, stdin=stdin, stdout=writer, stderr=writer) as installing:
        os.close(writer)
        assert os.read(reader, 100).strip() == b"one"
        os.close(reader)
        (tmp_path / "gone").touch()
        private = wait_for(tmp_path / "done")
    assert installing.returncode == 0 and not Path(private).exists()


def test_all_that_it_prints_is_seen_before_its_end() -> None:
    program = ". scripts/install/output.sh; outlive_terminal; for n in {1..200}; do echo $n; done; echo oh >&2; exit 3"
    for _ in range(5):
        done = subprocess.run(["bash", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (3, "oh\n")
        assert done.stdout.split() == [str(number) for number in range(1, 201)]


def test_what_a_quadlet_file_can_not_hand_in_is_told(tmp_path: Path) -> None:
    program = """
. scripts/errors.sh
fact() { echo small base; }
bundle=none CONFIG="$1/config" QUADLETS="$1/quadlets" PREFIX=/opt/wlk
version="$2" engine=podman
podman() { echo "podman version $version"; }
. scripts/install/host.sh
check_quadlet
printf '%s\n' "${problems[@]}"
"""
    (tmp_path / "config").mkdir()
    drop_in = tmp_path / "quadlets" / "wlk.container.d"
    drop_in.mkdir(parents=True)

    def told(version: str = "5.4.2") -> str:
        words = ["bash", "-euo", "pipefail", "-c", program, "check", str(tmp_path), version]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert told() == ""
    settings = tmp_path / "config" / "wlk.env"
    settings.write_text("WLK_MODEL=\n", encoding="utf-8")
    assert "WLK_MODEL is empty" in told() and "write WLK_MODEL=small" in told()
    settings.write_text("WLK_MODEL=small\n", encoding="utf-8")
    (tmp_path / "config" / "tokens").touch()
    assert "everybody could connect" in told()
    (drop_in / "tokens.conf").write_text("[Container]\n#Environment=WLK_TOKEN_FILE=/var/lib/wlk/tokens\n")
    assert "everybody could connect" in told()
    (drop_in / "tokens.conf").write_text("[Container]\nEnvironment=WLK_TOKEN_FILE=/var/lib/wlk/tokens\n")
    assert told() == "" and "everybody could connect" in told("4.9.5"), "which reads no drop-ins"
    settings.write_text("WLK_MODEL=small\nWLK_TOKEN=\n", encoding="utf-8")
    assert "everybody could connect" in told("4.9.5")
    settings.write_text("WLK_MODEL=small\nWLK_TOKEN=secret\n", encoding="utf-8")
    assert told("4.9.5") == "", "what settings say is handed in"
