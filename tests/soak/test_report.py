import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.bench.figures import Latency
from appliance.bench.machine import Circumstances, Machine
from appliance.bench.processes import Memory, Sample
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
        with tally.present(ACT):
            pass
        tally.add("en", ACT, float(at_s), Performed(committed=(Latency(0.5, late),)), Judged(3, 0, 0))
    samples = []
    for at_s in range(0, int(seconds), 30):
        lasting = round(5e8 + growth_mb_per_h * 1e6 * at_s / HOUR_S)
        samples.append(Sample(float(at_s), lasting + 1_000_000 * (at_s // 60), lasting))
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


def test_a_bump_is_no_flat_line() -> None:
    tally, memory = soaked(2 * HOUR_S)
    for at_s in range(3600, 4200, 10):
        tally.add("en", ACT, at_s + 1.0, Performed(committed=(Latency(0.5, 2.0),)), Judged(3, 0, 0))
    report = reported(tally, memory)
    assert missed(report) == ["latency p90 flat"]
    assert "| latency p90 flat | **no** | p90 1.00 s to 1.00 s, 2.00 s at most |" in markdown(report)


def test_slow_recordings_are_no_slow_server() -> None:
    """A window in which more is said of what is always committed late, beside one in which all is later than usual."""
    tally, memory = soaked(2 * HOUR_S)
    for at_s in range(0, 7200, 200):
        tally.add("zh", ACT, at_s + 1.0, Performed(committed=(Latency(0.5, 3.0),)), Judged(3, 0, 0))
    for at_s in range(3600, 4200, 10):
        tally.add("zh", ACT, at_s + 1.0, Performed(committed=(Latency(0.5, 3.0),)), Judged(3, 0, 0))
    for at_s in range(4800, 5400, 10):
        tally.add("en", ACT, at_s + 1.0, Performed(committed=(Latency(0.5, 2.0),)), Judged(3, 0, 0))
    report = reported(tally, memory)
    assert [one.late_p90_s for one in report.windows] == pytest.approx([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    assert [one.p90_s for one in report.windows][6] == 3.0
    assert [(one.name, one.words, one.p50_s) for one in report.plays] == [("en", 780, 1.0), ("zh", 96, 3.0)]
    assert "| zh | 96 | 3.00 s | 3.00 s |" in markdown(report)


def test_a_last_window_of_a_moment_is_none() -> None:
    tally, memory = soaked(2 * HOUR_S)
    tally.started_s -= 40
    tally.add("en", ACT, 2 * HOUR_S + 10, Performed(committed=(Latency(0.5, 9.0),)), Judged(3, 0, 0))
    report = reported(tally, memory)
    assert len(report.windows) == 13 and report.windows[-1].p90_s == 9.0 and report.held


def test_a_short_soak_says_nothing_about_slopes() -> None:
    report = reported(*soaked(180, growth_mb_per_h=500, last_delay_s=9.0), minutes=3)
    assert report.held and [goal.held for goal in report.goals][-2:] == [None, None]
    assert len(report.windows) == 10 and "too short to say" in markdown(report)


def test_what_is_lost_wrong_or_broken_is_seen() -> None:
    tally, memory = soaked(180)
    tally.add("fr", ACT, 1.0, Performed(text="bon"), Judged(9, 4, 4))
    tally.add("fr", ACT, 1.0, Performed(text="oui oui oui oui"), Judged(2, 0, 2, 2))
    tally.add("fr", ACT, 1.0, Performed(end="error", code="internal", why="it broke"), None)
    tally.add("fr", ACT, 1.0, Performed(wrong=["a line ends before it begins"]), None)
    tally.add("fr", ACT, 1.0, Performed(connections=2), None)
    report = reported(tally, memory, 3)
    missing = ["no word lost", "no word said twice", "nothing said otherwise or out of order", "no errors"]
    assert missed(report) == missing and report.wrong == 2 and report.resumed == 0
    assert "- fr, s16le, none, told: 2 words said twice, heard: 'oui oui oui oui'" in markdown(report)
    assert "- fr, s16le, none, told: 2 connections, and nothing had cut the first" in markdown(report)
    assert "- fr, s16le, none, told: 4 words lost of 9, heard: 'bon'" in markdown(report)
    assert "- fr, s16le, none, told: internal: it broke" in markdown(report)


def test_who_comes_back_in_vain_is_seen() -> None:
    tally, memory = soaked(180)
    drop, leave = (Act(0, "s16le", False, "diff", trouble, 0.5, 1.0) for trouble in ("drop", "leave"))
    tally.add("en", drop, 1.0, Performed(connections=2), Judged(3, 0, 0))
    tally.add("en", leave, 1.0, Performed(end="cut"), Judged(2, 0, 0))
    assert missed(reported(tally, memory, 3)) == []
    tally.add("en", drop, 1.0, Performed(end="cut", code="unknown_session", why="too late"), Judged(2, 0, 0))
    report = reported(tally, memory, 3)
    assert missed(report) == ["who comes back in time goes on"]
    assert "| who comes back in time goes on | **no** | 1 of 2 |" in markdown(report)
    assert "- en, s16le, drop, told: not resumed: unknown_session: too late" in markdown(report)


def test_refusals() -> None:
    full, memory = Tally(1), Memory([Sample(0.0, 1, 1)])
    with full.present(ACT):
        full.add("en", ACT, 0.0, Performed(end="refused", code="over_capacity", retry_after_s=7), None)
    assert missed(reported(full, memory)) == []
    early = Tally(2)
    with early.present(ACT):
        early.add("en", ACT, 0.0, Performed(end="refused", code="over_capacity"), None)
    report = reported(early, memory)
    assert (report.refused_early, report.refused_without_time) == (1, 1)
    assert set(missed(report)) >= {"refusals over capacity only", "all refused are told when to come back"}


def test_a_client_that_left_without_a_word_may_hold_its_place() -> None:
    tally = Tally(2)
    for act in (replace(ACT, trouble="leave"), ACT):
        with tally.present(act):
            pass
    assert tally.busy == 2
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
