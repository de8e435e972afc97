"""Ctrl-C in the middle of a download, and what a full disk does: with the real program in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.fetch.items import item, manifest_of, pinned, sha256
from tests.fetch.web_server import WebServer


def command(manifest: Path, store: Path, *words: str) -> list[str]:
    program = [sys.executable, "-m", "appliance", "fetch", "--manifest", str(manifest), "--store", str(store)]
    return [*program, *words]


def wait_for(path: Path, least_bytes: int) -> None:
    deadline_s = time.monotonic() + 20
    while not path.exists() or path.stat().st_size < least_bytes:
        assert time.monotonic() < deadline_s, f"{path} never reached {least_bytes} bytes"
        time.sleep(0.01)


def test_ctrl_c_leaves_nothing_that_counts_as_whole_and_the_next_run_goes_on(
    site: WebServer, tmp_path: Path, content: bytes
) -> None:
    url = site.serve("/x", content, bytes_per_second=1_000_000)
    manifest, _ = manifest_of(tmp_path, item(pinned("openai", content, url=url)))
    store = tmp_path / "store"
    partial = store / "partial" / f"{sha256(content)}.partial"
    with subprocess.Popen(
        command(manifest, store, "thing"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as run:
        wait_for(partial, 300_000)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=20)
    assert run.returncode == 130
    assert err.decode().strip() == "interrupted"
    assert out == b""
    assert not (store / "blobs").exists()
    kept = partial.stat().st_size
    assert 0 < kept < len(content)

    site.files["/x"].bytes_per_second = 0
    site.requests.clear()
    again = subprocess.run(command(manifest, store, "thing"), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith(f"thing  3000000 bytes  sha256:{sha256(content)}")
    assert (store / "blobs" / sha256(content)).read_bytes() == content
    (request,) = site.asked("/x")
    assert request.headers["range"] == f"bytes={kept}-"
    assert list((store / "partial").iterdir()) == []


def test_two_runs_at_once_download_once(site: WebServer, tmp_path: Path, content: bytes) -> None:
    url = site.serve("/x", content, bytes_per_second=4_000_000)
    manifest, _ = manifest_of(tmp_path, item(pinned("openai", content, url=url)))
    store = tmp_path / "store"
    words = command(manifest, store, "thing")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first:
        wait_for(store / "partial" / f"{sha256(content)}.partial", 8192)
        second = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
        assert first.wait(timeout=30) == 0
        first.communicate()
    assert second.returncode == 0
    assert f"waiting for another run (process {first.pid})" in second.stderr
    assert "already in the store" in second.stdout
    assert len(site.asked("/x")) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(options, capture_output=True, check=False).returncode == 0
    if not mounted:
        missing("a small disk needs root and the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_during_the_download(site: WebServer, tmp_path: Path, small_disk: Path) -> None:
    whole = bytes(1_500_000)
    url = site.serve("/x", whole, bytes_per_second=1_000_000)
    manifest, _ = manifest_of(tmp_path, item(pinned("openai", whole, url=url)))
    store = small_disk / "store"
    blobs = store / "blobs"
    blobs.mkdir(parents=True)
    good = blobs / sha256(b"good")
    good.write_bytes(b"good")
    with subprocess.Popen(command(manifest, store, "thing"), stderr=subprocess.PIPE, text=True) as run:
        wait_for(store / "partial" / f"{sha256(whole)}.partial", 100_000)
        (small_disk / "another").write_bytes(bytes(1_000_000))  # someone else takes what was free before
        _, err = run.communicate(timeout=30)
    assert run.returncode == 1
    assert err.startswith(f"error: no space left on the disk of the store {store}\n  hint: free some space")
    assert len(err.splitlines()) == 2
    assert good.read_bytes() == b"good"
    assert list(blobs.iterdir()) == [good]


def test_a_disk_without_write_access(site: WebServer, tmp_path: Path, small_disk: Path, content: bytes) -> None:
    manifest, _ = manifest_of(tmp_path, item(pinned("openai", content, url=site.serve("/x", content))))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    run = subprocess.run(command(manifest, small_disk, "thing"), capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: cannot write to the store {small_disk}: Read-only file system")
    assert site.requests == []
