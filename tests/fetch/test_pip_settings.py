import sys
from pathlib import Path

import pytest
from pypi_simple import PYPI_SIMPLE_ENDPOINT

from appliance.fetch.pip_settings import PipSettings, parse_config_list, read_pip_settings


@pytest.fixture(autouse=True)
def only_our_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty pip configuration file in place of this machine's, and no PIP_ variables."""
    for key in ("INDEX_URL", "EXTRA_INDEX_URL", "NO_INDEX", "FIND_LINKS", "CERT", "CLIENT_CERT", "PROXY"):
        monkeypatch.delenv(f"PIP_{key}", raising=False)
    file = tmp_path / "pip.conf"
    file.write_text("")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return file


def test_sections_and_variables_in_pips_order() -> None:
    listed = (
        ":env:.cert='/env.pem'\n"
        "download.index-url='http://127.0.0.1/download'\n"
        "global.cert='/global.pem'\n"
        "global.index-url='http://127.0.0.1/global'\n"
        "global.timeout='10'\n"
        "install.index-url='http://127.0.0.1/install'\n"
        "wheel.index-url='http://127.0.0.1/wheel'\n"
    )
    assert parse_config_list(listed) == {"cert": "/env.pem", "index-url": "http://127.0.0.1/download"}


def test_reads_the_configuration_file(only_our_settings: Path) -> None:
    only_our_settings.write_text(
        "[global]\n"
        "extra-index-url =\n    file:///srv/simple\n    http://127.0.0.1:1/simple\n"
        "find-links = /srv/wheels\ncert = /ca.pem\nproxy = http://127.0.0.1:3128\n"
    )
    settings = read_pip_settings()
    assert settings.index_urls[0]  # what the machine's own files say, if it has any, else pip's default
    assert settings.index_urls[1:] == ("file:///srv/simple", "http://127.0.0.1:1/simple")
    assert settings.find_links == ("/srv/wheels",)
    assert (settings.cert, settings.proxy) == ("/ca.pem", "http://127.0.0.1:3128")


def test_a_variable_wins_over_the_file(only_our_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_our_settings.write_text("[global]\nindex-url = http://127.0.0.1:1/file\n")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/variable")
    assert read_pip_settings().index_urls[0] == "http://127.0.0.1:1/variable"


def test_no_index_leaves_only_the_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/srv/a /srv/b")
    settings = read_pip_settings()
    assert settings.index_urls == ()
    assert settings.find_links == ("/srv/a", "/srv/b")


def test_without_pip_the_variables_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///srv/simple")
    assert read_pip_settings() == PipSettings(index_urls=(PYPI_SIMPLE_ENDPOINT, "file:///srv/simple"))
