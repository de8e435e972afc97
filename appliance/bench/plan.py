"""One run: the batch reference first, then each server by itself, all parts that were asked for."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.bench.clips import Clip
from appliance.bench.machine import circumstances
from appliance.bench.noise import quiet_clips
from appliance.bench.parts import alone, long_run, parallel, quiet
from appliance.bench.recordings import AUTO, Recording, samples_of
from appliance.bench.reference import BEAM, COMPUTE_TYPE, batch_clips
from appliance.bench.results import BenchResult, SubjectResult
from appliance.bench.servers import Subject, running
from appliance.pair.locate import Pair
from appliance.speech.audio.pcm import s16le

log = logging.getLogger(__name__)

SubjectMaker = Callable[[Sequence[Clip]], Subject]
"""Makes a subject when the clips are there (a peer is warmed up with one)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``clients``: how many at once, each a part of its own; ``minutes``: of the long run, 0 for none."""

    recordings: tuple[Recording, ...]
    clients: tuple[int, ...] = ()
    noise: bool = False
    minutes: float = 0.0


def measure(plan: Plan, pair: Pair, subjects: Sequence[SubjectMaker], folder: Path) -> Iterator[BenchResult]:
    """Run the plan; the servers' logs go to ``folder``. After each subject, the result of all so far.

    Raises:
        ApplianceError: a recording can't be read, or a server can't be started.
    """
    facts = circumstances()
    clips = list(batch_clips([one for one in plan.recordings if one.transcript != ""], pair.encoder_dir))
    silent = _quiet_clips(plan, clips) if plan.noise else []
    settings: dict[str, object] = {
        "model": pair.name,
        "recordings": [clip.name for clip in clips],
        "batch": f"faster-whisper, beam {BEAM}, VAD filter, {COMPUTE_TYPE}, cpu",
        "clients": list(plan.clients),
        "noise": plan.noise,
        "minutes": plan.minutes,
    }
    results: list[SubjectResult] = []
    for make in subjects:
        results.append(_measured(plan, make(clips), clips, silent, folder))
        yield BenchResult(facts, settings, tuple(results))


def languages_of(recordings: Sequence[Recording]) -> str:
    """The one language of all recordings in which something is said, else ``auto``."""
    named = {one.language for one in recordings if one.transcript != ""}
    return named.pop() if len(named) == 1 else AUTO


def _measured(
    plan: Plan, subject: Subject, clips: Sequence[Clip], silent: Sequence[Clip], folder: Path
) -> SubjectResult:
    with running(subject, folder / f"{subject.name}.log") as server:
        log.info("%s %s: ready after %.1f s", subject.name, subject.version, server.ready_s)
        return SubjectResult(
            name=subject.name,
            version=subject.version,
            settings=subject.settings,
            ready_s=server.ready_s,
            alone=alone(server, clips),
            parallel=tuple(parallel(server, clips, clients) for clients in plan.clients),
            quiet=quiet(server, silent),
            long_run=long_run(server, clips, plan.minutes) if plan.minutes else None,
        )


def _quiet_clips(plan: Plan, clips: Sequence[Clip]) -> list[Clip]:
    """The sounds made here, and the recordings in which nothing is said."""
    language = clips[0].language
    recorded = [Clip(one.id, language, s16le(samples_of(one)), "") for one in plan.recordings if one.transcript == ""]
    return [*quiet_clips(language), *recorded]
