"""The command line of the benchmark; what it measures is tested in tests/bench."""

import sys
from pathlib import Path

import pytest

from appliance.commands.bench import main
from appliance.errors import ApplianceError, UsageError
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--commit", "quick"], "--commit is 'quick'"),
        (["--commit", ","], "--commit names no mode"),
        (["--clients", "1,many"], "--clients is 'many'"),
        (["--clients", "0"], "--clients is '0'"),
        (["--clients", "1000"], "--clients is '1000'"),
        (["--hour", "5"], "--hour 5 is too short"),
    ],
)
def test_wrong_usage(argv: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        main(argv)
    assert caught.value.message.startswith(said) and caught.value.hint


def test_no_plot_without_matplotlib_is_told_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ApplianceError, match="needs the Python package matplotlib") as caught:
        main([])
    assert "--no-plot" in caught.value.hint


@pytest.mark.parametrize("text", ["", "1,2"])
def test_clients_that_are_right_go_on_to_the_manifest(text: str, tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no manifest at"):
        main(["--no-plot", "--clients", text, "--manifest", str(tmp_path / "none.yaml")])


def test_no_pair(tmp_path: Path) -> None:
    argv = ["--no-plot", "--manifest", str(ROOT / "models/manifest.yaml"), "--models-dir", str(tmp_path / "none")]
    with pytest.raises(ApplianceError, match="no such folder"):
        main(argv)
