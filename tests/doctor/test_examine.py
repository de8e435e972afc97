from pathlib import Path

import pytest

from appliance.doctor.examine import examine
from appliance.doctor.finding import worst
from appliance.errors import ApplianceError
from appliance.server.flags import load_settings


def test_all_is_looked_at_even_where_there_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_MODLE", "base")
    found = examine(load_settings(["--state-dir", str(tmp_path), "--port", "0"]))
    by_check = {finding.check: finding for finding in found}
    assert {"settings", "pair", "device", "state", "certificate", "port", "disk", "clock", "memory"} <= set(by_check)
    assert by_check["settings"].severity == "warning" and "did you mean WLK_MODEL" in by_check["settings"].seen
    assert by_check["pair"].severity == "error"
    monkeypatch.delenv("WLK_MODLE")
    assert examine(load_settings(["--port", "0"]))[0].severity == "ok"


def test_settings_that_can_not_be_used() -> None:
    found = examine(ApplianceError("WLK_PORT is 'x'", "a number"))
    assert worst(found) == "error" and found[0].check == "settings"
    assert {"clock", "memory"} <= {finding.check for finding in found}
