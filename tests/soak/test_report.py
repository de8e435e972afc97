import json
from pathlib import Path

import pytest

from appliance.bench.figures import Latency
from appliance.bench.machine import Circumstances, Machine
from appliance.bench.processes import Memory
from appliance.soak.acts import Act
from appliance.soak.judging import Judged
from appliance.soak.report import Report, markdown, report_of, slope_mb_per_h, write
from appliance.soak.session import Performed
from appliance.soak.tally import Tally

FACTS = Circumstances("2026-11-01", "abc", Machine("a CPU", 2, 8.0, "Linux"), {})
SETTINGS: dict[str, object] = {"model": "base", "clients": 4, "seed": 1}
ACT = Act(0, "s16le", False, "diff", "none", 0.5, 1.0)
HOUR_S = 3600.0


def soaked(seconds: float, *, growth_mb_per_h: float = 1.0, last_delay_s: float = 1.0) -> tuple[Tally, Memory]:
    """A soak that has gone on for so long, with a word every ten seconds."""
    tally = Tally(4)
    tally.started_s -= seconds
    for at_s in range(0, int(seconds), 10):
        late = last_delay_s if at_s > 0.9 * seconds else 1.0
        with tally.present():
            pass
        tally.add("en", ACT, float(at_s), Performed(committed=(Latency(0.5, late),)), Judged(3, 0, 0))
    samples = [(float(at), round(5e8 + growth_mb_per_h * 1e6 * at / HOUR_S)) for at in range(0, int(seconds), 30)]
    return tally, Memory(samples)


def reported(tally: Tally, memory: Memory, minutes: float = 120) -> Report:
    return report_of(tally, memory, minutes, FACTS, SETTINGS)


def missed(report: Report) -> list[str]:
    return [goal.name for goal in report.goals if goal.held is False]


def test_two_good_hours() -> None:
    report = reported(*soaked(2 * HOUR_S))
    assert report.held and all(goal.held for goal in report.goals)
    assert report.words == 3 * 720 and report.delay_words == 720 and report.p90_s == 1.0
    assert report.slope_mb_per_h == pytest.approx(1.0, rel=0.05)
    assert len(report.windows) == 12 and report.windows[3].start_s == 1800 and report.windows[3].words == 60


def test_what_grows_is_seen() -> None:
    assert missed(reported(*soaked(2 * HOUR_S, growth_mb_per_h=6.0))) == ["memory slope under 5 MB an hour"]
    assert missed(reported(*soaked(2 * HOUR_S, last_delay_s=2.0))) == ["latency p90 flat"]


def test_a_short_soak_says_nothing_about_slopes() -> None:
    report = reported(*soaked(180, growth_mb_per_h=500, last_delay_s=9.0), minutes=3)
    assert report.held and [goal.held for goal in report.goals][-2:] == [None, None]
    assert len(report.windows) == 10 and "too short to say" in markdown(report)


def test_what_is_lost_wrong_or_broken_is_seen() -> None:
    tally, memory = soaked(180)
    with tally.present():
        pass
    tally.add("fr", ACT, 1.0, Performed(text="bon"), Judged(9, 4, 4))
    tally.add("fr", ACT, 1.0, Performed(end="error", code="internal", why="it broke"), None)
    tally.add("fr", ACT, 1.0, Performed(wrong=["a line ends before it begins"]), None)
    report = reported(tally, memory, 3)
    assert missed(report) == ["no word lost", "nothing said otherwise or out of order", "no errors"]
    assert "- fr: 4 words lost of 9, heard: 'bon'" in markdown(report)
    assert "- fr: internal: it broke" in markdown(report)


def test_refusals() -> None:
    full, memory = Tally(1), Memory([(0.0, 1)])
    with full.present():
        full.add("en", ACT, 0.0, Performed(end="refused", code="over_capacity", retry_after_s=7), None)
    assert missed(reported(full, memory)) == []
    early = Tally(2)
    with early.present():
        early.add("en", ACT, 0.0, Performed(end="refused", code="over_capacity"), None)
    report = reported(early, memory)
    assert (report.refused_early, report.refused_without_time) == (1, 1)
    assert set(missed(report)) >= {"refusals over capacity only", "all refused are told when to come back"}


def test_a_client_that_was_cut_may_hold_its_place() -> None:
    tally = Tally(2)
    with tally.present():
        pass
    tally.add("en", ACT, 0.0, Performed(end="cut"), None)
    tally.started_s -= 30
    assert tally.busy == 1
    tally.started_s -= 60
    assert tally.busy == 0


def test_a_slope_is_that_of_a_line() -> None:
    assert slope_mb_per_h([(0, 0), (1800, 1_000_000), (3600, 2_000_000)]) == pytest.approx(2.0)
    assert slope_mb_per_h([(1.0, 5)]) is None and slope_mb_per_h([]) is None


def test_both_files_are_written(tmp_path: Path) -> None:
    report = reported(*soaked(300))
    write(report, tmp_path / "soak")
    write(report, tmp_path / "soak")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["soak.json", "soak.md"]
    kept = json.loads((tmp_path / "soak.json").read_text())
    assert kept["places"] == 4 and kept["ended"] == {"done": 30} and kept["windows"]
    assert (tmp_path / "soak.md").read_text() == markdown(report)
    assert "| no word lost | yes | 0 of 90 |" in markdown(report)
