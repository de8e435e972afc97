import json
from pathlib import Path

from appliance.accounts.components import Component, debian_packages, models, python_distributions
from tests.fetch.items import sha256

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u13
Description: GNU C Library: Shared libraries
 Contains the standard libraries.
 Version: not a field, for it is indented

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


def test_installed_debian_packages(tmp_path: Path) -> None:
    assert list(debian_packages(tmp_path)) == []
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS, encoding="utf-8")
    assert list(debian_packages(tmp_path)) == [Component("debian", "libc6", "2.36-9+deb12u13", architecture="amd64")]


def distribution(folder: Path, name: str, *rows: str) -> None:
    made = folder / f"{name}-1.0.dist-info"
    made.mkdir()
    text = "\n".join(("Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *rows, ""))
    (made / "METADATA").write_text(text, encoding="utf-8")


def test_python_distributions_and_their_licences(tmp_path: Path) -> None:
    distribution(tmp_path, "Some_Thing", "License-Expression: MIT OR Apache-2.0", "License: ignored")
    distribution(tmp_path, "told", "License: BSD")
    distribution(tmp_path, "long", f"License: {'word ' * 50}", "Classifier: License :: OSI Approved :: MIT License")
    distribution(tmp_path, "silent")
    assert python_distributions([tmp_path]) == [
        Component("python", "long", "1.0", "MIT License"),
        Component("python", "silent", "1.0"),
        Component("python", "some-thing", "1.0", "MIT OR Apache-2.0", has_spdx=True),
        Component("python", "told", "1.0", "BSD"),
    ]


def test_wheels_made_in_the_build_are_told_with_their_digests(tmp_path: Path) -> None:
    own, base, compiled = (tmp_path / name for name in ("own", "base", "compiled"))
    for folder in (own, base, compiled):
        folder.mkdir()
    distribution(own, "Made_Here")
    distribution(base, "Made_Here", "License: another, below")
    distribution(base, "torch")
    (compiled / "made_here-1.0-cp312-linux_aarch64.whl").write_bytes(b"wheel")
    assert python_distributions([own, base], compiled) == [
        Component("python", "made-here", "1.0", sha256=sha256(b"wheel"), source="compiled in the build"),
        Component("python", "torch", "1.0"),
    ]


def test_models_with_their_sources_and_hashes(tmp_path: Path) -> None:
    pair = {
        "name": "base",
        "licence": "MIT",
        "source": {"kind": "index", "describe": "some 1.0", "sha256": "a" * 64},
        "files": [{"path": "faster-whisper-base/model.bin", "sha256": "b" * 64}],
    }
    asset = {"kind": "recording", "name": "speech", "licence": "Public domain", "sha256": "c" * 64, "source": "s"}
    (tmp_path / "base").mkdir()
    (tmp_path / "base/pair.json").write_text(json.dumps(pair), encoding="utf-8")
    (tmp_path / "assets.json").write_text(json.dumps([{**asset, "file": "samples/speech.wav"}]), encoding="utf-8")
    model, recording = models(tmp_path)
    assert (model.name, model.licence, model.has_spdx, model.sha256) == ("whisper-base", "MIT", True, "a" * 64)
    assert model.files == ((f"{tmp_path}/base/faster-whisper-base/model.bin", "b" * 64),)
    assert model.source == "index: some 1.0"
    assert (recording.kind, recording.licence, recording.has_spdx) == ("recording", "Public domain", False)
