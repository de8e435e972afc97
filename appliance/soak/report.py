"""The figures of a soak, judged by its goals: JSON for everything, Markdown for a document."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from appliance.bench.figures import percentile
from appliance.bench.machine import Circumstances
from appliance.bench.processes import Memory, Sample
from appliance.soak.tally import Delay, Refusal, Tally

MOST_SLOPE_MB_PER_H = 5.0
LEAST_S_FOR_SLOPE = 3600.0
"""In less time what is allocated once, and late, looks like a slope."""
WARM_PART = 0.1
"""Of the time, at its beginning: memory is still taken then by what is used for the first time."""
LEAST_S_FOR_FLAT = 1200.0
MOST_RISE = 1.25
"""Of the p90 of any window over that of the first, with `RISE_S` beside it: what few words make is no rise."""
RISE_S = 0.3
LONG_WINDOW_S = 600.0


@dataclass(frozen=True, slots=True)
class Window:
    """The words that were spoken in it, how long they took to be committed, and means of the memory.

    ``late_p90_s``: of how much longer each took than the p50 of its own recording. What is played differs from window
    to window, and each recording has delays of its own.
    """

    start_s: float
    end_s: float
    words: int
    p50_s: float | None
    p90_s: float | None
    late_p90_s: float | None
    memory_mb: float | None
    lasting_mb: float | None
    refused: int

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Play:
    """How long the words of a recording took to be committed, over all windows."""

    name: str
    words: int
    p50_s: float
    p90_s: float


@dataclass(frozen=True, slots=True)
class Goal:
    """``held``: None where it was too short to judge."""

    name: str
    held: bool | None
    figure: str


@dataclass(frozen=True, slots=True)
class Report:
    """``minutes``: of which ``seconds`` have passed. Memory in MB of 10**6 bytes, resident, of the process tree.

    The slope is of what lasts: a process that decodes a stream's container is gone with it, and how many there are is
    the clients' business.
    """

    circumstances: Circumstances
    settings: dict[str, object]
    minutes: float
    seconds: float
    places: int
    ended: dict[str, int]
    troubles: dict[str, int]
    forms: dict[str, int]
    errors: dict[str, int]
    resumed: int
    unresumed: int
    words: int
    lost: int
    twice: int
    more_errors: int
    wrong: int
    refused: dict[str, int]
    refused_early: int
    refused_without_time: int
    retry_after_s: tuple[float, float] | None
    delay_words: int
    p50_s: float | None
    p90_s: float | None
    latest_send_s: float
    peak_memory_mb: float
    slope_mb_per_h: float | None
    windows: tuple[Window, ...]
    plays: tuple[Play, ...]
    goals: tuple[Goal, ...]
    remarks: tuple[str, ...]

    @property
    def held(self) -> bool:
        """Whether no goal that can be judged was missed."""
        return all(goal.held is not False for goal in self.goals)


def report_of(
    tally: Tally, memory: Memory, minutes: float, circumstances: Circumstances, settings: dict[str, object]
) -> Report:
    """What is known so far."""
    seconds = tally.now_s
    samples = list(memory.samples)
    delays = [one.delay_s for one in tally.delays]
    plays = tuple(_plays(tally.delays))
    windows = tuple(_windows(tally, samples, {one.name: one.p50_s for one in plays}, minutes, seconds))
    slope = slope_mb_per_h([(one.at_s, one.lasting_bytes) for one in samples if one.at_s >= WARM_PART * seconds])
    times = [one.retry_after_s for one in tally.refusals if one.retry_after_s is not None]
    return Report(
        circumstances=circumstances,
        settings=settings,
        minutes=minutes,
        seconds=seconds,
        places=tally.places,
        ended=dict(tally.ended),
        troubles=dict(tally.troubles),
        forms=dict(tally.forms),
        errors=dict(tally.errors),
        resumed=tally.resumed,
        unresumed=tally.unresumed,
        words=tally.words,
        lost=tally.lost,
        twice=tally.twice,
        more_errors=tally.more_errors,
        wrong=tally.wrong,
        refused=dict(Counter(one.code for one in tally.refusals)),
        refused_early=sum(map(_early, tally.refusals)),
        refused_without_time=len(tally.refusals) - len(times),
        retry_after_s=(min(times), max(times)) if times else None,
        delay_words=len(delays),
        p50_s=percentile(delays, 50),
        p90_s=percentile(delays, 90),
        latest_send_s=tally.latest_send_s,
        peak_memory_mb=memory.peak_bytes / 1e6,
        slope_mb_per_h=slope,
        windows=windows,
        plays=plays,
        goals=tuple(_goals(tally, windows, seconds, slope)),
        remarks=tuple(tally.remarks),
    )


def slope_mb_per_h(samples: Sequence[tuple[float, int]]) -> float | None:
    """Least squares through (seconds, bytes); None where there is no time between them."""
    if len(samples) < 2 or samples[-1][0] <= samples[0][0]:
        return None
    times, sizes = np.array(samples, dtype=np.float64).T
    return float(np.polyfit(times - times[0], sizes, 1)[0]) * 3600 / 1e6


def _early(refusal: Refusal) -> bool:
    """Whether there was a place, or the refusal has another reason than that there was none."""
    return refusal.code != "over_capacity" or refusal.busy < refusal.places


def _plays(delays: Sequence[Delay]) -> Iterator[Play]:
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for one in delays:
        by_name[one.play].append(one.delay_s)
    for name, taken in sorted(by_name.items()):
        middle_s, late_s = np.percentile(taken, (50, 90))
        yield Play(name, len(taken), float(middle_s), float(late_s))


def _windows(
    tally: Tally, samples: Sequence[Sample], usual_s: Mapping[str, float], minutes: float, seconds: float
) -> Iterator[Window]:
    """Of ten minutes, in a soak of less than an hour and a half of a tenth of it. ``usual_s``: a recording's p50."""
    length_s = LONG_WINDOW_S if minutes >= 90 else 6 * minutes
    start_s = 0.0
    while start_s < seconds:
        end_s = start_s + length_s
        spoken = [one for one in tally.delays if start_s <= one.at_s < end_s]
        delays = [one.delay_s for one in spoken]
        within = [one for one in samples if start_s <= one.at_s < end_s]
        refused = sum(start_s <= one.at_s < end_s for one in tally.refusals)
        if delays or within:
            yield Window(
                start_s,
                min(end_s, seconds),
                len(delays),
                percentile(delays, 50),
                percentile(delays, 90),
                percentile([one.delay_s - usual_s[one.play] for one in spoken], 90),
                _mean_mb([one.memory_bytes for one in within]),
                _mean_mb([one.lasting_bytes for one in within]),
                refused,
            )
        start_s = end_s


def _mean_mb(sizes: Sequence[int]) -> float | None:
    return sum(sizes) / len(sizes) / 1e6 if sizes else None


def _goals(tally: Tally, windows: Sequence[Window], seconds: float, slope: float | None) -> Iterator[Goal]:
    yield Goal("no word lost", tally.lost == 0, f"{tally.lost} of {tally.words}")
    yield Goal("no word said twice", tally.twice == 0, f"{tally.twice} of {tally.words}")
    yield Goal("nothing said otherwise or out of order", tally.wrong == 0, f"{tally.wrong} answers")
    back = tally.resumed + tally.unresumed
    yield Goal("who comes back in time goes on", tally.unresumed == 0, f"{tally.resumed} of {back}")
    yield Goal("no errors", not tally.errors, _counted(tally.errors))
    early = sum(map(_early, tally.refusals))
    timeless = sum(one.retry_after_s is None for one in tally.refusals)
    yield Goal("refusals over capacity only", early == 0, f"{early} of {len(tally.refusals)} early")
    yield Goal("all refused are told when to come back", timeless == 0, f"{timeless} of {len(tally.refusals)} not told")
    spoken = [one.p90_s for one in windows if one.p90_s is not None and 2 * one.length_s >= windows[0].length_s]
    rise = f"p90 {spoken[0]:.2f} s to {spoken[-1]:.2f} s, {max(spoken):.2f} s at most" if spoken else "no words"
    flat = max(spoken) <= MOST_RISE * spoken[0] + RISE_S if spoken else False
    yield Goal("latency p90 flat", flat if seconds >= LEAST_S_FOR_FLAT else None, rise)
    rises = f"{slope:+.1f} MB an hour" if slope is not None else "no samples"
    small = slope is not None and slope < MOST_SLOPE_MB_PER_H
    limit = f"memory slope under {MOST_SLOPE_MB_PER_H:g} MB an hour"
    yield Goal(limit, small if seconds >= LEAST_S_FOR_SLOPE else None, rises)


def write(report: Report, stem: Path) -> None:
    """``stem.json`` and ``stem.md``, each whole at any moment."""
    _replace(stem.with_name(stem.name + ".json"), json.dumps(asdict(report), ensure_ascii=False, indent=1) + "\n")
    _replace(stem.with_name(stem.name + ".md"), markdown(report))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def markdown(report: Report) -> str:
    """Tables for a document."""
    machine, facts = report.circumstances.machine, report.circumstances
    names = {True: "yes", False: "**no**", None: "too short to say"}
    lines = [
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}; {facts.date}, "
        f"commit {facts.commit or '-'}, model {report.settings['model']}, "
        f"{report.settings['clients']} clients, seed {report.settings['seed']}: "
        f"{report.seconds / 60:.1f} of {report.minutes:g} minutes.",
        "",
        "| goal | held | figure |",
        "| --- | --- | --- |",
        *(f"| {goal.name} | {names[goal.held]} | {goal.figure} |" for goal in report.goals),
        "",
        "| what | figure |",
        "| --- | --- |",
        *(f"| {name} | {figure} |" for name, figure in _rows(report)),
        "",
        "| minutes | words measured | committed after, p50 | p90 | beyond usual | memory | of it lasting | refused |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *map(_window_row, report.windows),
        "",
        "| recording | words measured | committed after, p50 | p90 |",
        "| --- | --- | --- | --- |",
        *(f"| {one.name} | {one.words} | {_seconds(one.p50_s)} | {_seconds(one.p90_s)} |" for one in report.plays),
        *(["", *(f"- {remark}" for remark in report.remarks)] if report.remarks else []),
    ]
    return "\n".join(lines) + "\n"


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    yield "places in the server", str(report.places)
    yield "streams by their end", _counted(report.ended)
    yield "what happened to them", _counted(report.troubles)
    yield "forms of audio", _counted(report.forms)
    yield "resumed after a cut", str(report.resumed)
    yield "refused", _counted(report.refused)
    if report.retry_after_s:
        yield "told to come back after", f"{report.retry_after_s[0]:g} to {report.retry_after_s[1]:g} s"
    yield "errors", _counted(report.errors)
    yield "words spoken, lost, said twice", f"{report.words}, {report.lost}, {report.twice}"
    yield "word errors beyond the undisturbed streams'", f"{report.more_errors:+d}"
    yield "committed after, p50, p90", f"{_seconds(report.p50_s)}, {_seconds(report.p90_s)}"
    yield "latest frame", _seconds(report.latest_send_s)
    yield "resident memory at most", f"{report.peak_memory_mb:.0f} MB"
    yield "memory slope", "-" if report.slope_mb_per_h is None else f"{report.slope_mb_per_h:+.1f} MB an hour"


def _window_row(window: Window) -> str:
    minutes = f"{window.start_s / 60:g} to {window.end_s / 60:.3g}"
    memory = " | ".join("-" if size is None else f"{size:.0f} MB" for size in (window.memory_mb, window.lasting_mb))
    delays = " | ".join(map(_seconds, (window.p50_s, window.p90_s, window.late_p90_s)))
    return f"| {minutes} | {window.words} | {delays} | {memory} | {window.refused} |"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(counts).most_common()) or "none"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
