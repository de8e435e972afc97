"""``--offline`` never opens a socket: watched by an audit hook, and once more where there is no network at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.fetch.items import item, manifest_of, part, pinned

STORED = b"stored already"

WATCHED = """
import sys

def watch(event, arguments):
    if event.startswith("socket.") or event == "http.client.connect":
        sys.stderr.write(f"AUDIT {event}\\n")
        sys.stderr.flush()

sys.addaudithook(watch)
from appliance.cli import main

status = main(sys.argv[1:])
for name in ("requests", "urllib3", "huggingface_hub", "pypi_simple"):
    if name in sys.modules:
        sys.stderr.write(f"IMPORTED {name}\\n")
sys.exit(status)
"""


def watched(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WATCHED, "fetch", *words], capture_output=True, text=True, check=False)


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A manifest with a stored thing, and one missing thing with a source of every network kind."""
    (tmp_path / "stored").write_bytes(STORED)
    missing = b"missing"
    sources = [
        pinned("openai", missing, url="http://127.0.0.1:9/x"),
        pinned("huggingface", missing, repo="a/b", revision="0" * 40, file="x"),
        pinned("index", missing, parts=[part("a", "1", "wheel", "x", missing)]),
    ]
    manifest, _ = manifest_of(
        tmp_path,
        item(pinned("local", STORED, path=str(tmp_path / "stored")), name="stored"),
        item(*sources, name="missing"),
    )
    return ["--manifest", str(manifest), "--store", str(tmp_path / "store")]


def test_offline_opens_no_socket_and_imports_no_client(options: list[str]) -> None:
    for name, status in (("stored", 0), ("missing", 1)):
        run = watched(*options, "--offline", name)
        assert run.returncode == status, run.stderr
        assert "AUDIT" not in run.stderr
        assert "IMPORTED" not in run.stderr
    assert "missing is not in the store" in run.stderr


def test_the_watch_does_see_a_socket(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    run = watched(*options, "missing")
    assert run.returncode == 1
    assert "AUDIT socket.connect" in run.stderr
    assert "missing can't be fetched: the last of 3 sources failed: index a 1: no wheel of a 1" in run.stderr


def test_offline_works_in_a_network_namespace_of_its_own(options: list[str]) -> None:
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        missing("needs root and unshare")
    words = [unshare, "-n", sys.executable, "-m", "appliance", "fetch", *options, "--offline", "stored"]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
