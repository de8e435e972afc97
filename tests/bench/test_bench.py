"""The whole benchmark on one short recording: that it works, and that its figures are no nonsense."""

import json
from pathlib import Path

import pytest

from appliance.commands.bench import main
from appliance.pair.locate import Pair
from appliance.store import Store
from tests.conftest import ROOT, Spoken

WORST_RATE = 0.3
WORST_CPU_RATIO = 5.0
"""Far above what was measured: this asks whether it works, not how fast the machine is just now."""


@pytest.mark.model
def test_one_short_recording(
    base_pair: Pair,
    vad_file: Path,
    librivox: tuple[Spoken, ...],
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["--only", librivox[1].name, "--out", str(tmp_path), "--offline", "--store", str(store.root)]
    argv += ["--models-dir", str(base_pair.encoder_dir.parent.parent), "--manifest", str(ROOT / "models/manifest.yaml")]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert (tmp_path / "bench.txt").read_text().strip() in shown
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")

    (subject,) = json.loads((tmp_path / "bench.json").read_text())["subjects"]
    alone = subject["alone"]
    assert alone["failures"] == [] and alone["recordings"] == 1
    assert alone["accuracy"]["words"] == 8
    assert alone["accuracy"]["stream"] <= WORST_RATE and alone["accuracy"]["batch"] <= WORST_RATE
    assert 0 < alone["cpu_s_per_audio_s"] < WORST_CPU_RATIO
    assert alone["commit"]["words"] >= 6 and alone["taken_back"] == 0
