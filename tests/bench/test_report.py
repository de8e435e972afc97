import json
from pathlib import Path

import pytest

from appliance.bench.clips import Clip, SpokenWord
from appliance.bench.figures import Heard, judge
from appliance.bench.machine import Circumstances, Machine
from appliance.bench.plot import write_plot
from appliance.bench.report import table, write_json
from appliance.bench.results import (
    Accuracy,
    Alone,
    BenchResult,
    LongRun,
    Minute,
    Parallel,
    Quiet,
    Spread,
    SubjectResult,
    accuracy_of,
    spread_of,
)
from tests.bench.test_events import logged

CLIP = Clip("one", "en", bytes(64_000), "he was ill", "he was", (SpokenWord("he", 0.5), SpokenWord("was", 1.0)))
HEARD = judge(CLIP, logged((1, "", "he"), (2, "he was", ""), (3, "he was well", "")))
NOTHING = Spread(0, None, None)


def alone(*failures: str) -> Alone:
    accuracy = accuracy_of([HEARD, HEARD])
    spread = spread_of([1.0, 2.0, 4.0])
    return Alone(2, 4.0, accuracy, spread, NOTHING, None, 0.5, 0.75, 3, 0.456, 812.4, failures, (HEARD, HEARD))


LONG = LongRun(
    minutes=60.0,
    accuracy=Accuracy(100, 0.1, 0.05, 5.0),
    commit_first=Spread(9, 1.0, 2.0),
    commit_last=Spread(9, 1.0, 2.5),
    shown_first=Spread(9, 0.5, 1.25),
    shown_last=Spread(9, 0.5, 1.5),
    taken_back=0,
    drain_s=1.0,
    cpu_s_per_audio_s=0.5,
    memory_minute_10_mib=900.0,
    memory_end_mib=912.5,
    by_minute=(Minute(1, 2.0, 1.0, 800.0), Minute(2, None, None, 800.0)),
)
FULL = Parallel(20, 8, 12, 480.0, Accuracy(80, 0.25, 0.2, 5.0), NOTHING, spread_of([3.0]), 0, 0.1, 1.5, 1000.0, ())
PEER = SubjectResult("WhisperLiveKit", "0.2.26", {"language": "en"}, 9.0, alone("one: it broke"), (FULL,), (), None)
OURS = SubjectResult(
    "balanced", "1.0", {"commit": "balanced"}, 3.0, alone(), (FULL,), (Quiet("silence", 60.0, 2, "Thank you."),), LONG
)
FACTS = Circumstances("2026-01-02T03:04:05+00:00", "abc", Machine("Some CPU", 2, 23.5, "Linux 6"), {"torch": "2.13"})


def result(*subjects: SubjectResult) -> BenchResult:
    return BenchResult(FACTS, {"model": "base"}, subjects)


def rows(shown: str) -> dict[str, list[str]]:
    """The table's first row of each label, split at double spaces."""
    found: dict[str, list[str]] = {}
    for line in shown.splitlines():
        label, *cells = [part.strip() for part in line.strip().split("  ") if part.strip()] or [""]
        found.setdefault(label, cells)
    return found


def test_the_table() -> None:
    shown = table(result(OURS))
    assert shown.splitlines()[:3] == [
        "Some CPU, 2 cores, 23.5 GiB, Linux 6",
        "torch 2.13",
        "2026-01-02T03:04:05+00:00, commit abc, model base",
    ]
    found = rows(shown)
    assert found["word error rate, stream"] == ["33.3 %"]
    assert found["word error rate, batch"] == ["33.3 %"]
    assert found["difference"] == ["+0.0 points"]
    assert found["committed after, p50"] == ["2.00 s"]
    assert found["committed after, p90"] == ["3.60 s"]
    assert found["shown after, p50"] == ["-"]
    assert found["drain, longest"] == ["0.75 s"]
    assert found["committed words taken back"] == ["3"]
    assert found["CPU seconds per second"] == ["0.46"]
    assert found["resident memory"] == ["812 MiB"]
    assert found["served, refused, failed"] == ["8, 12, 0"]
    assert found["silence, 60 s"] == ["2"]
    assert found["shown after, p90, last 10 min"] == ["1.50 s"]
    assert found["growth from there to the end"] == ["+12.5 MiB"]
    assert "FAILED" not in shown


def test_a_column_for_each_and_a_line_for_what_broke() -> None:
    ours = SubjectResult("fast", "1.0", {"commit": "fast"}, 3.0, alone(), (FULL,))
    shown = table(result(ours, PEER))
    assert rows(shown)["fast"] == ["WhisperLiveKit 0.2.26"]
    assert rows(shown)["drain, median"] == ["0.50 s", "0.50 s"]
    assert shown.endswith("\n\nFAILED WhisperLiveKit: one: it broke")


def test_the_json_holds_every_word(tmp_path: Path) -> None:
    write_json(result(OURS), tmp_path / "bench.json")
    read = json.loads((tmp_path / "bench.json").read_text())
    assert read["circumstances"]["machine"]["cores"] == 2
    (subject,) = read["subjects"]
    assert subject["alone"]["heard"][0]["text"] == "he was well"
    assert subject["alone"]["heard"][0]["committed"] == [
        {"spoken_s": 0.5, "latency_s": 1.5},
        {"spoken_s": 1.0, "latency_s": 1.0},
    ]
    assert subject["long_run"]["by_minute"][1] == {
        "minute": 2,
        "commit_p90_s": None,
        "shown_p90_s": None,
        "memory_mib": 800.0,
    }


@pytest.mark.parametrize("subjects", [(OURS, PEER), (PEER,)])
def test_the_plot_is_a_picture(tmp_path: Path, subjects: tuple[SubjectResult, ...]) -> None:
    write_plot(result(*subjects), tmp_path / "bench.png")
    content = (tmp_path / "bench.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 5000


def test_recordings_without_transcript_count_for_no_rate() -> None:
    unknown: Heard = judge(Clip("two", "en", b"", None, "x", ()), logged((1, "a b c", "")))
    assert accuracy_of([unknown]) == Accuracy(0, None, None, None)
    assert accuracy_of([HEARD, unknown]) == accuracy_of([HEARD])
