"""The real Hugging Face client against a hub on loopback, in a process of its own (it reads its settings on import)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fetch.items import item, manifest_of, pinned, sha256
from tests.fetch.web_server import WebServer

REVISION = "0123456789abcdef0123456789abcdef01234567"
PATH = f"/owner/model/resolve/{REVISION}/model.bin"


def fetch(folder: Path, content: bytes, endpoint: str) -> subprocess.CompletedProcess[str]:
    source = pinned("huggingface", content, repo="owner/model", revision=REVISION, file="model.bin")
    manifest, _ = manifest_of(folder, item(source))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HOME": str(folder)}
    words = [sys.executable, "-m", "appliance", "fetch", "--manifest", str(manifest), "--store", str(folder / "store")]
    return subprocess.run([*words, "thing"], capture_output=True, text=True, check=False, env=environment, timeout=60)


def offer(site: WebServer, content: bytes, **manner: object) -> None:
    headers = {"X-Repo-Commit": REVISION, "X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{sha256(content)}"'}
    site.serve(PATH, content, headers=headers, **manner)


def test_downloads_from_the_configured_endpoint_and_nothing_else(
    site: WebServer, tmp_path: Path, content: bytes
) -> None:
    offer(site, content)
    run = fetch(tmp_path, content, site.url)
    assert run.returncode == 0, run.stderr
    assert "huggingface owner/model@01234567" in run.stdout
    assert (tmp_path / "store" / "blobs" / sha256(content)).read_bytes() == content
    assert {request.path for request in site.requests} == {PATH}  # no telemetry, no look-ups
    assert list((tmp_path / "store" / "partial").iterdir()) == []


def test_another_file_is_refused(site: WebServer, tmp_path: Path, content: bytes) -> None:
    offer(site, content[::-1])
    run = fetch(tmp_path, content, site.url)
    assert run.returncode == 1
    assert f"got SHA-256 {sha256(content[::-1])}" in run.stderr
    assert not (tmp_path / "store" / "blobs").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("RepoNotFound", "no repository owner/model (or it is private)"),
        ("EntryNotFound", "owner/model has no file model.bin at 01234567"),
        ("RevisionNotFound", f"owner/model has no revision {REVISION}"),
        ("GatedRepo", "owner/model wants its terms accepted first; then set HF_TOKEN"),
    ],
)
def test_a_refusal_is_one_line(site: WebServer, tmp_path: Path, content: bytes, code: str, said: str) -> None:
    site.serve(PATH, b"", headers={"X-Error-Code": code}, answer=403 if code == "GatedRepo" else 404)
    run = fetch(tmp_path, content, site.url)
    assert run.returncode == 1
    error, hint = run.stderr.splitlines()
    assert error.endswith(f"huggingface owner/model@01234567: {said}")
    assert hint.startswith("  hint: ")


def test_a_hub_that_is_not_there_is_told_at_once(tmp_path: Path, content: bytes, unused_port: int) -> None:
    run = fetch(tmp_path, content, f"http://127.0.0.1:{unused_port}")
    assert run.returncode == 1
    error, _ = run.stderr.splitlines()
    assert error.endswith("127.0.0.1 can't be reached")
