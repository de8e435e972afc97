import json
from pathlib import Path

import pytest

from appliance.cli import main
from tests.server.running import running


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("WLK_PORT", "0")


def test_an_error_is_status_2_in_each_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--models-dir", "/none"]) == 2
    assert "error    pair" in capsys.readouterr().out
    assert main(["doctor", "--models-dir", "/none", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["worst"] == "error"
    assert main(["doctor", "--models-dir", "/none", "--rows"]) == 2
    assert "error\tpair\t" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--jsn"], ["--json", "--rows"], ["--json=1"], ["--port"]])
def test_wrong_usage_is_told_apart(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words]) == 64
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and "hint:" in told.err


def test_a_wrong_setting_is_a_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WLK_PORT", "many")
    assert main(["doctor"]) == 2
    assert "--port (WLK_PORT) is 'many'" in capsys.readouterr().out


@pytest.mark.model
def test_a_running_server_with_real_models(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    with running(flags, state) as server:
        server.wait_for("ready: base")
        state.chmod(0o700)
        words = ["--host", "127.0.0.1", "--port", str(server.port), "--state-dir", str(state), *flags]
        status = main(["doctor", "--json", "--deep", *words])
    told = json.loads(capsys.readouterr().out)
    found = {row["check"]: row for row in told["findings"]}
    assert status == 0, told
    assert found["port"]["seen"].startswith("ready, model base")
    assert "SHA-256" in found["files"]["seen"]
