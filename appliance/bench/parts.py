"""The parts of a measurement: one client at a time, many at once, nothing said, an hour without a pause."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from appliance.bench.clips import Clip, join
from appliance.bench.figures import Heard, Latency, judge, percentile, spoken_within
from appliance.bench.processes import Memory, tree_usage, watching_memory
from appliance.bench.results import Alone, LongRun, Minute, Parallel, Quiet, Spread, accuracy_of, spread_of
from appliance.bench.servers import Server
from appliance.bench.stream import Streamed, stream

log = logging.getLogger(__name__)

CLIENT_S = 60.0
"""At least so long does each of many clients stream."""

WINDOW_S = 600.0
"""The first and the last ten minutes of the long run are compared."""

_STAGGER_S = 0.7
_MIB = 2**20


def alone(server: Server, clips: Sequence[Clip]) -> Alone:
    """Each clip once, one after the other."""
    runs: list[Streamed] = []
    with _costs(server) as (cpu_s, memory):
        for clip in clips:
            runs.append(asyncio.run(stream(server.url(clip.language), clip)))
            _tell(server, clip, runs[-1])
        used_s = cpu_s()
    heard = _heard(clips, runs)
    audio_s = sum(clip.length_s for clip in clips)
    drains = [run.drain_s for run in runs if run.drain_s is not None]
    return Alone(
        recordings=len(clips),
        audio_s=audio_s,
        accuracy=accuracy_of(heard),
        commit=_spread(heard, lambda one: one.committed),
        shown=_spread(heard, lambda one: one.shown),
        first_shown_s=percentile([one.first_shown_s for one in heard if one.first_shown_s is not None], 50),
        drain_s=percentile(drains, 50),
        longest_drain_s=max(drains, default=None),
        taken_back=sum(one.taken_back for one in heard),
        cpu_s_per_audio_s=used_s / audio_s,
        peak_memory_mib=memory.peak_bytes / _MIB,
        failures=_failures(clips, runs),
        heard=heard,
    )


def parallel(server: Server, clips: Sequence[Clip], clients: int) -> Parallel:
    """Clients that begin shortly after each other, each with another recording, and stream a minute or more."""
    joined = [join(clips, CLIENT_S, first=client, name=f"client {client + 1}") for client in range(clients)]

    async def all_of_them() -> list[Streamed]:
        streams = [
            stream(server.url(clip.language), clip, delay_s=number * _STAGGER_S) for number, clip in enumerate(joined)
        ]
        return list(await asyncio.gather(*streams))

    with _costs(server) as (cpu_s, memory):
        runs = asyncio.run(all_of_them())
        used_s = cpu_s()
    for clip, run in zip(joined, runs, strict=True):
        _tell(server, clip, run)
    heard = _heard(joined, runs)
    audio_s = sum(one.audio_s for one in heard)
    return Parallel(
        clients=clients,
        served=sum(run.outcome == "done" for run in runs),
        refused=sum(run.outcome == "refused" for run in runs),
        audio_s=audio_s,
        accuracy=accuracy_of(heard),
        commit=_spread(heard, lambda one: one.committed),
        shown=_spread(heard, lambda one: one.shown),
        taken_back=sum(one.taken_back for one in heard),
        latest_send_s=max(run.late_s for run in runs),
        cpu_s_per_audio_s=used_s / audio_s if audio_s else None,
        peak_memory_mib=memory.peak_bytes / _MIB,
        failures=_failures(joined, runs),
    )


def quiet(server: Server, clips: Sequence[Clip]) -> tuple[Quiet, ...]:
    """Each sound once; nothing is said in any."""
    found = []
    for clip in clips:
        run = asyncio.run(stream(server.url(clip.language), clip))
        _tell(server, clip, run)
        heard = judge(clip, run.log)
        found.append(Quiet(clip.name, clip.length_s, heard.committed_words, run.log.committed, run.why))
    return tuple(found)


def long_run(server: Server, clips: Sequence[Clip], minutes: float) -> LongRun:
    """The clips over and over, without a break."""
    clip = join(clips, 60 * minutes, name=f"{minutes:g} minutes")
    with _costs(server) as (cpu_s, memory):
        run = asyncio.run(stream(server.url(clip.language), clip))
        used_s = cpu_s()
        end_mib = tree_usage(server.pid).memory_bytes / _MIB
    _tell(server, clip, run)
    heard = judge(clip, run.log)
    end_s = clip.length_s
    return LongRun(
        minutes=end_s / 60,
        accuracy=accuracy_of([heard]),
        commit_first=spread_of(spoken_within(heard.committed, 0, WINDOW_S)),
        commit_last=spread_of(spoken_within(heard.committed, end_s - WINDOW_S, end_s)),
        shown_first=spread_of(spoken_within(heard.shown, 0, WINDOW_S)),
        shown_last=spread_of(spoken_within(heard.shown, end_s - WINDOW_S, end_s)),
        taken_back=heard.taken_back,
        drain_s=run.drain_s,
        cpu_s_per_audio_s=used_s / end_s,
        memory_minute_10_mib=memory.at(WINDOW_S) / _MIB,
        memory_end_mib=end_mib,
        by_minute=tuple(_by_minute(heard, memory)),
        failure=run.why,
    )


def _by_minute(heard: Heard, memory: Memory) -> Iterator[Minute]:
    for minute in range(int(heard.audio_s // 60)):
        window = 60.0 * minute, 60.0 * (minute + 1)
        yield Minute(
            minute=minute + 1,
            commit_p90_s=percentile(spoken_within(heard.committed, *window), 90),
            shown_p90_s=percentile(spoken_within(heard.shown, *window), 90),
            memory_mib=memory.at(window[1]) / _MIB,
        )


@contextmanager
def _costs(server: Server) -> Iterator[tuple[Callable[[], float], Memory]]:
    """(CPU seconds since here, memory while in here) of the server's process tree."""
    before_s = tree_usage(server.pid).cpu_s
    with watching_memory(server.pid) as memory:
        yield lambda: tree_usage(server.pid).cpu_s - before_s, memory


def _heard(clips: Sequence[Clip], runs: Sequence[Streamed]) -> tuple[Heard, ...]:
    pairs = zip(clips, runs, strict=True)
    return tuple(judge(clip, run.log) for clip, run in pairs if run.began and run.outcome != "refused")


def _failures(clips: Sequence[Clip], runs: Sequence[Streamed]) -> tuple[str, ...]:
    pairs = zip(clips, runs, strict=True)
    return tuple(f"{clip.name}: {run.why}" for clip, run in pairs if run.outcome == "failed")


def _spread(heard: Sequence[Heard], which: Callable[[Heard], tuple[Latency, ...]]) -> Spread:
    return spread_of([latency.latency_s for one in heard for latency in which(one)])


def _tell(server: Server, clip: Clip, run: Streamed) -> None:
    said = run.log.shown[-80:] if run.outcome == "done" else run.why
    log.info("%s: %s, %.1f s, %s: %s", server.subject.name, clip.name, clip.length_s, run.outcome, said)
