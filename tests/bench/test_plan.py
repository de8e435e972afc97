import sys
from pathlib import Path

import pytest

from appliance.bench import plan as module
from appliance.bench.clips import Clip
from appliance.bench.plan import Plan, languages_of, measure
from appliance.bench.recordings import Recording
from appliance.bench.servers import Subject
from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from tests.bench.test_parts import CLIP, STAND_IN
from tests.pair.models import HEADS, SMALL

RECORDING = Recording("half", Path("half.wav"), "en", "one two")
PAIR = Pair("mini", Path("encoder"), Path("decoder.pt"), SMALL, HEADS)


def test_each_subject_is_measured_by_itself_and_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def batch(recordings: list[Recording], encoder_dir: Path) -> list[Clip]:
        given.extend(recording.id for recording in recordings)
        return [CLIP]

    monkeypatch.setattr(module, "batch_clips", batch)
    (tmp_path / "server.py").write_text(STAND_IN)
    works = Subject("works", "1", (sys.executable, str(tmp_path / "server.py")))
    fails = Subject("fails", "1", (sys.executable, "-c", "raise SystemExit(3)"))
    silent = Recording("silence", Path("none.wav"), "auto", "")
    results = measure(Plan((RECORDING, silent)), PAIR, [lambda clips: works, lambda clips: fails], tmp_path)
    first = next(results)
    assert [one.name for one in first.subjects] == ["works"]
    assert first.subjects[0].alone.recordings == 1 and first.subjects[0].long_run is None
    assert first.settings["recordings"] == ["half"] and given == ["half"]
    with pytest.raises(ApplianceError, match="fails ended with status 3"):
        next(results)


def test_the_language_of_all() -> None:
    german = Recording("2", Path("b"), "de", None)
    silent = Recording("3", Path("c"), "auto", "")
    assert languages_of([RECORDING, silent]) == "en"
    assert languages_of([RECORDING, german]) == "auto"
