"""The command line of the soak; what it measures is tested in tests/soak."""

from pathlib import Path

import pytest

from appliance.commands.soak import main
from appliance.errors import ApplianceError, UsageError
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--clients", "0"], "--clients is 0"),
        (["--clients", "1000"], "--clients is 1000"),
        (["--minutes", "0"], "--minutes is 0"),
        (["--minutes", "99999"], "--minutes is 99999"),
        (["--skip", "-1"], "--skip is -1"),
        (["--play-s", "0"], "--play-s is 0"),
        (["--forms", "wav,tape"], "--forms is 'wav,tape'"),
    ],
)
def test_wrong_usage(argv: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        main(argv)
    assert caught.value.message.startswith(said) and caught.value.hint


def test_no_pair(tmp_path: Path) -> None:
    argv = ["--manifest", str(ROOT / "models/manifest.yaml"), "--models-dir", str(tmp_path / "none")]
    with pytest.raises(ApplianceError, match="no such folder"):
        main(argv)
