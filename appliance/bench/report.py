"""The table for people, and the JSON for everything else."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from appliance.bench.results import Accuracy, BenchResult, LongRun, Parallel, SubjectResult

Cell = Callable[[SubjectResult], str]
Row = tuple[str, Cell]

_NOTHING = "-"


def write_json(result: BenchResult, path: Path) -> None:
    """Everything, with each recording's text and each word's latency."""
    path.write_text(json.dumps(asdict(result), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def table(result: BenchResult) -> str:
    """Figures as rows, a column for each server or mode."""
    facts, subjects = result.circumstances, result.subjects
    machine = facts.machine
    head = [
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}",
        ", ".join(f"{name} {version}" for name, version in facts.versions.items()),
        f"{facts.date}, commit {facts.commit or _NOTHING}, model {result.settings['model']}",
        "",
    ]
    names = [f"{one.name} {one.version}" if _is_peer(one) else one.name for one in subjects]
    lines: list[tuple[str, list[str]]] = [("", names)]
    for title, rows in _sections(subjects):
        lines.append((title, [""] * len(subjects)))
        lines += [(f"  {label}", [cell(one) for one in subjects]) for label, cell in rows]
    wide = max(len(label) for label, _ in lines)
    widths = [max(len(cells[column]) for _, cells in lines) for column in range(len(subjects))]
    for label, cells in lines:
        shown = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        head.append(f"{label:<{wide}}{shown}".rstrip())
    head += [""] if (failures := _failures(subjects)) else []
    return "\n".join([*head, *failures])


def _sections(subjects: Sequence[SubjectResult]) -> list[tuple[str, list[Row]]]:
    first = subjects[0]
    sections = [(f"one client, {first.alone.recordings} recordings, {first.alone.audio_s:.0f} s", _alone_rows())]
    for number, part in enumerate(first.parallel):
        sections.append((f"{part.clients} clients at once", _parallel_rows(number)))
    if first.quiet:
        seconds = sum(one.audio_s for one in first.quiet)
        sections.append((f"words committed in {seconds:.0f} s without speech", _quiet_rows(first)))
    if first.long_run:
        sections.append((f"{first.long_run.minutes:.0f} minutes of speech", _long_rows()))
    return sections


def _alone_rows() -> list[Row]:
    return [
        *_accuracy_rows(lambda one: one.alone.accuracy),
        ("committed after, p50", lambda one: _seconds(one.alone.commit.p50_s)),
        ("committed after, p90", lambda one: _seconds(one.alone.commit.p90_s)),
        ("shown after, p50", lambda one: _seconds(one.alone.shown.p50_s)),
        ("shown after, p90", lambda one: _seconds(one.alone.shown.p90_s)),
        ("first word shown after", lambda one: _seconds(one.alone.first_shown_s)),
        ("drain, median", lambda one: _seconds(one.alone.drain_s)),
        ("drain, longest", lambda one: _seconds(one.alone.longest_drain_s)),
        ("committed words taken back", lambda one: str(one.alone.taken_back)),
        ("CPU seconds per second", lambda one: f"{one.alone.cpu_s_per_audio_s:.2f}"),
        ("resident memory", lambda one: _mib(one.alone.peak_memory_mib)),
    ]


def _parallel_rows(number: int) -> list[Row]:
    def of(cell: Callable[[Parallel], str]) -> Cell:
        return lambda one: cell(one.parallel[number])

    return [
        ("served, refused, failed", of(lambda part: f"{part.served}, {part.refused}, {len(part.failures)}")),
        ("word error rate", of(lambda part: _percent(part.accuracy.stream))),
        ("shown after, p90", of(lambda part: _seconds(part.shown.p90_s))),
        ("committed after, p90", of(lambda part: _seconds(part.commit.p90_s))),
        ("CPU seconds per second", of(lambda part: _number(part.cpu_s_per_audio_s))),
        ("resident memory", of(lambda part: _mib(part.peak_memory_mib))),
    ]


def _quiet_rows(first: SubjectResult) -> list[Row]:
    def row(number: int) -> Row:
        return (
            f"{first.quiet[number].name}, {first.quiet[number].audio_s:.0f} s",
            lambda one: str(one.quiet[number].words) if not one.quiet[number].failure else "failed",
        )

    return [row(number) for number in range(len(first.quiet))]


def _long_rows() -> list[Row]:
    def of(cell: Callable[[LongRun], str]) -> Cell:
        return lambda one: cell(one.long_run) if one.long_run else _NOTHING

    return [
        *_accuracy_rows(lambda one: one.long_run.accuracy if one.long_run else Accuracy(0, None, None, None)),
        ("shown after, p90, first 10 min", of(lambda run: _seconds(run.shown_first.p90_s))),
        ("shown after, p90, last 10 min", of(lambda run: _seconds(run.shown_last.p90_s))),
        ("committed after, p90, first 10 min", of(lambda run: _seconds(run.commit_first.p90_s))),
        ("committed after, p90, last 10 min", of(lambda run: _seconds(run.commit_last.p90_s))),
        ("committed words taken back", of(lambda run: str(run.taken_back))),
        ("CPU seconds per second", of(lambda run: f"{run.cpu_s_per_audio_s:.2f}")),
        ("memory at minute 10", of(lambda run: _mib(run.memory_minute_10_mib))),
        ("growth from there to the end", of(lambda run: f"{run.growth_mib:+.1f} MiB")),
    ]


def _accuracy_rows(which: Callable[[SubjectResult], Accuracy]) -> list[Row]:
    return [
        ("word error rate, stream", lambda one: _percent(which(one).stream)),
        ("word error rate, batch", lambda one: _percent(which(one).batch)),
        ("difference", lambda one: _points(which(one).difference_points)),
    ]


def _failures(subjects: Sequence[SubjectResult]) -> list[str]:
    """A line for each stream that broke; figures count only what came until then, so they must be seen."""
    found = []
    for one in subjects:
        broken = [*one.alone.failures, *(line for part in one.parallel for line in part.failures)]
        broken += [f"{sound.name}: {sound.failure}" for sound in one.quiet if sound.failure]
        broken += [f"long run: {one.long_run.failure}"] if one.long_run and one.long_run.failure else []
        found += [f"FAILED {one.name}: {line}" for line in broken]
    return found


def _is_peer(one: SubjectResult) -> bool:
    return "commit" not in one.settings


def _seconds(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f} s"


def _percent(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.1f} %"


def _points(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:+.1f} points"


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}"


def _mib(value: float) -> str:
    return f"{value:.0f} MiB"
