"""A soak of a real server, as long as a test may be: nothing is lost, and only those without a place are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.commands.soak import main
from appliance.pair.locate import Pair
from appliance.store import Store
from tests.conftest import ROOT

pytestmark = pytest.mark.model

WORST_P90_S = 12.0
"""Far above what is measured on a quiet machine: this asks whether the admitted are served, not how fast."""
MOST_GROWTH_MB = 250
"""From the first window of three minutes to the last: everything is used for the first time in these."""


def soaked(folder: Path, pair: Pair, store: Store, *flags: str) -> tuple[int, dict[str, Any]]:
    argv = ["--report", str(folder / "soak"), "--offline", "--store", str(store.root), *flags]
    argv += ["--models-dir", str(pair.encoder_dir.parent.parent), "--manifest", str(ROOT / "models/manifest.yaml")]
    status = main(argv)
    return status, json.loads((folder / "soak.json").read_text())


def test_three_minutes_of_clients_that_come_and_go(
    base_pair: Pair, vad_file: Path, store: Store, tmp_path: Path
) -> None:
    flags = ["--clients", "4", "--minutes", "3", "--play-s", "8", "--only", "librivox-0890,fr-pangrama"]
    status, report = soaked(tmp_path, base_pair, store, *flags)
    told = (tmp_path / "soak.md").read_text()
    assert status == 0, told
    assert report["lost"] == 0 and report["wrong"] == 0 and report["errors"] == {}, told
    assert report["refused"].keys() <= {"over_capacity"} and report["refused_early"] == 0, told
    assert report["words"] > 50 and report["ended"]["done"] >= 10, told
    assert {"none", "drop"} <= report["troubles"].keys() and len(report["forms"]) >= 3, told
    memory = [window["memory_mb"] for window in report["windows"] if window["memory_mb"]]
    assert memory[-1] - memory[0] < MOST_GROWTH_MB, told


def test_fifty_clients_at_once(base_pair: Pair, vad_file: Path, store: Store, tmp_path: Path) -> None:
    """Those who have a place keep their latency; the others are told when to come back, and do."""
    flags = ["--clients", "50", "--minutes", "0.6", "--play-s", "5", "--only", "librivox-0890", "--forms", "s16le,wav"]
    status, report = soaked(tmp_path, base_pair, store, *flags, "--serve", "--max-sessions 3")
    told = (tmp_path / "soak.md").read_text()
    assert status == 0, told
    assert report["places"] == 3 and report["refused"]["over_capacity"] >= 47, told
    assert report["refused_early"] == 0 and report["refused_without_time"] == 0, told
    assert report["retry_after_s"][0] >= 1 and report["retry_after_s"][1] <= 10, told
    assert report["lost"] == 0 and report["errors"] == {} and report["words"] > 20, told
    assert report["p90_s"] is not None and report["p90_s"] < WORST_P90_S, told
