"""Rules over all files of the repository."""

import configparser
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROOT, missing

ANY_HOST = re.compile(r"https?://[^\s'\"]+")


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing("a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def configured_hosts() -> set[str]:
    """Hosts of the package registries that this machine's pip and apt are set to use."""
    texts = [value for name, value in os.environ.items() if name.startswith("PIP_")]
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(["/etc/pip.conf", Path("~/.config/pip/pip.conf").expanduser(), Path("~/.pip/pip.conf").expanduser()])
    texts += [value for section in parser.values() for value in section.values()]
    for folder in (Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")):
        if folder.is_file():
            text = folder.read_text(encoding="utf-8", errors="replace")
            texts += [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    hosts = {urlsplit(address).hostname or "" for text in texts for address in ANY_HOST.findall(text)}
    return (hosts | {"pypi." + "org", "files.python" + "hosted.org"}) - {""}


def test_no_file_names_a_package_registry() -> None:
    hosts = configured_hosts()
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in tracked()
        for host in hosts
        if host.encode() in path.read_bytes()
    ]
    assert not found


@pytest.mark.parametrize("pattern", [r"\.partial$", r"\.whl$", r"\.safetensors$", r"\.onnx$", r"\.tar(\.gz)?$"])
def test_nothing_built_is_tracked(pattern: str) -> None:
    assert not [path for path in tracked() if re.search(pattern, path.name)]


def test_every_script_can_be_run() -> None:
    for path in tracked():
        if path.parent == ROOT / "scripts" or path == ROOT / ".ci/run":
            assert path.read_text(encoding="utf-8").startswith("#!"), path
            assert os.access(path, os.X_OK), path
