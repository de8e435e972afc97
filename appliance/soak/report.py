"""The figures of a soak, judged by its goals: JSON for everything, Markdown for a document."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from appliance.bench.figures import percentile
from appliance.bench.machine import Circumstances
from appliance.bench.processes import Memory
from appliance.soak.tally import Refusal, Tally

MOST_SLOPE_MB_PER_H = 5.0
LEAST_S_FOR_SLOPE = 3600.0
"""In less time what is allocated once, and late, looks like a slope."""
WARM_PART = 0.1
"""Of the time, at its beginning: memory is still taken then by what is used for the first time."""
LEAST_S_FOR_FLAT = 1200.0
MOST_RISE = 1.25
"""Of the p90 of the last window over that of the first, with `RISE_S` beside it: what few words make is no rise."""
RISE_S = 0.3
LONG_WINDOW_S = 600.0


@dataclass(frozen=True, slots=True)
class Window:
    """The words that were spoken in it, how long they took to be committed, and the mean of the memory."""

    start_s: float
    end_s: float
    words: int
    p50_s: float | None
    p90_s: float | None
    memory_mb: float | None
    refused: int


@dataclass(frozen=True, slots=True)
class Goal:
    """``held``: None where it was too short to judge."""

    name: str
    held: bool | None
    figure: str


@dataclass(frozen=True, slots=True)
class Report:
    """``minutes``: of which ``seconds`` have passed. Memory in MB of 10**6 bytes, resident, of the process tree."""

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
    words: int
    lost: int
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
    delays = [delay for _, delay in tally.delays]
    windows = tuple(_windows(tally, samples, minutes, seconds))
    slope = slope_mb_per_h([one for one in samples if one[0] >= WARM_PART * seconds])
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
        words=tally.words,
        lost=tally.lost,
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


def _windows(tally: Tally, samples: Sequence[tuple[float, int]], minutes: float, seconds: float) -> Iterator[Window]:
    """Of ten minutes, in a soak of less than an hour and a half of a tenth of it."""
    length_s = LONG_WINDOW_S if minutes >= 90 else 6 * minutes
    start_s = 0.0
    while start_s < seconds:
        end_s = start_s + length_s
        delays = [delay for at_s, delay in tally.delays if start_s <= at_s < end_s]
        sizes = [size for at_s, size in samples if start_s <= at_s < end_s]
        refused = sum(start_s <= one.at_s < end_s for one in tally.refusals)
        if delays or sizes:
            yield Window(
                start_s,
                min(end_s, seconds),
                len(delays),
                percentile(delays, 50),
                percentile(delays, 90),
                sum(sizes) / len(sizes) / 1e6 if sizes else None,
                refused,
            )
        start_s = end_s


def _goals(tally: Tally, windows: Sequence[Window], seconds: float, slope: float | None) -> Iterator[Goal]:
    yield Goal("no word lost", tally.lost == 0, f"{tally.lost} of {tally.words}")
    yield Goal("nothing said otherwise or out of order", tally.wrong == 0, f"{tally.wrong} answers")
    yield Goal("no errors", not tally.errors, _counted(tally.errors))
    early = sum(map(_early, tally.refusals))
    timeless = sum(one.retry_after_s is None for one in tally.refusals)
    yield Goal("refusals over capacity only", early == 0, f"{early} of {len(tally.refusals)} early")
    yield Goal("all refused are told when to come back", timeless == 0, f"{timeless} of {len(tally.refusals)} not told")
    spoken = [one.p90_s for one in windows if one.p90_s is not None]
    rise = f"p90 {spoken[0]:.2f} s to {spoken[-1]:.2f} s" if spoken else "no words"
    flat = spoken[-1] <= MOST_RISE * spoken[0] + RISE_S if spoken else False
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
        "| minutes | words measured | committed after, p50 | p90 | memory | refused |",
        "| --- | --- | --- | --- | --- | --- |",
        *map(_window_row, report.windows),
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
    yield "words spoken, lost", f"{report.words}, {report.lost}"
    yield "word errors beyond the undisturbed streams'", f"{report.more_errors:+d}"
    yield "committed after, p50, p90", f"{_seconds(report.p50_s)}, {_seconds(report.p90_s)}"
    yield "latest frame", _seconds(report.latest_send_s)
    yield "resident memory at most", f"{report.peak_memory_mb:.0f} MB"
    yield "memory slope", "-" if report.slope_mb_per_h is None else f"{report.slope_mb_per_h:+.1f} MB an hour"


def _window_row(window: Window) -> str:
    minutes = f"{window.start_s / 60:g} to {window.end_s / 60:.3g}"
    memory = "-" if window.memory_mb is None else f"{window.memory_mb:.0f} MB"
    delays = f"{_seconds(window.p50_s)} | {_seconds(window.p90_s)}"
    return f"| {minutes} | {window.words} | {delays} | {memory} | {window.refused} |"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(counts).most_common()) or "none"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
