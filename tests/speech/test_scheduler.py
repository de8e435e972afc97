"""Whose turn it is: many streams on a few threads, with doubles for the models."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.errors import ApplianceError
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.scheduler import Scheduler, Stream, Turn
from appliance.speech.session import Session, StreamOptions
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot
from tests.speech.doubles import (
    GAP_S,
    UNIT,
    WORD_S,
    Codec,
    Recognizer,
    Vad,
    options,
    said,
    session,
    silence,
    speech,
)

PROMPT_BASE = 100_000
"""Streams are told apart in requests by their prompt: one word, this and their number."""

Opens = Callable[..., Stream]


class Gated(Recognizer):
    """Waits for the gate at each turn; fails passes that hold a word of ``poison``."""

    def __init__(self, pass_s: float = 0.0, poison: int | None = None) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.at_the_gate = threading.Semaphore(0)
        self._pass_s = pass_s
        self._poison = poison

    def recognize(self, requests: Sequence[Request]) -> list[Hypothesis]:
        self.at_the_gate.release()
        assert self.gate.wait(30)
        time.sleep(self._pass_s)
        if self._poison and any((request.window == np.float32(self._poison * UNIT)).any() for request in requests):
            raise RuntimeError("bad pass")
        return super().recognize(requests)

    @property
    def served(self) -> list[int]:
        return [request.context[0] - PROMPT_BASE for request in self.requests]


def nothing(snapshot: Snapshot) -> None: ...


@pytest.fixture
def scheduled() -> Iterator[Callable[..., Opens]]:
    """Schedulers, closed at the end; each gives what opens numbered streams."""
    made: list[Scheduler] = []
    gates: list[threading.Event] = []

    def make(recognizer: Gated, workers: int = 1, batch: int = 4) -> Opens:
        scheduler = Scheduler(recognizer, workers=workers, batch=batch)
        made.append(scheduler)
        gates.append(recognizer.gate)

        def opens(number: int = 0, on_snapshot: Callable[[Snapshot], None] = nothing) -> Stream:
            options = StreamOptions(language="en", prompt=str(PROMPT_BASE + number))
            return Stream(session(options), scheduler, on_snapshot)

        return opens

    yield make
    for gate in gates:
        gate.set()
    for scheduler in made:
        scheduler.close()


def held(recognizer: Gated, opens: Opens) -> Stream:
    """A stream whose pass stands at the closed gate, so that others have to wait."""
    recognizer.gate.clear()
    first = opens(99)
    first.feed(speech(1, 4))
    assert recognizer.at_the_gate.acquire(timeout=10)
    return first


def test_a_stream_to_its_end(scheduled: Callable[..., Opens]) -> None:
    snapshots: list[Snapshot] = []
    one = scheduled(Gated())(0, snapshots.append)
    for part in np.array_split(np.concatenate([speech(1, 20), silence(1.0), speech(21, 3)]), 50):
        one.feed(part)
    one.finish()
    last = one.wait(60)
    assert said(last) == list(range(1, 24))
    assert snapshots[-1] is last and last.lag_s == 0.0 and one.backlog_s == 0.0


def test_nobody_is_served_twice_before_everybody_was_once(scheduled: Callable[..., Opens]) -> None:
    recognizer = Gated()
    opens = scheduled(recognizer, batch=1)
    first = held(recognizer, opens)
    streams = [opens(number) for number in range(8)]
    for stream in [*streams, first]:
        stream.feed(np.concatenate([speech(1, 60), silence(1.0), speech(61, 60), silence(1.0)]))
        stream.finish()
    recognizer.gate.set()
    for stream in [*streams, first]:
        assert said(stream.wait(60)) == ([*range(1, 5)] if stream is first else []) + [*range(1, 121)]
    turns = [number for number in recognizer.served if number != 99]
    assert turns[:8] == list(range(8))
    for start in range(len(turns) - 8):
        counts = [turns[start : start + 8].count(number) for number in range(8)]
        assert max(counts) == 1 or start + 8 > len(turns) - 8, (
            "while all have something to hear, each gets one in eight"
        )


def test_a_batch_is_filled_and_never_larger_than_the_limit(scheduled: Callable[..., Opens]) -> None:
    recognizer = Gated()
    opens = scheduled(recognizer, batch=3)
    held(recognizer, opens)
    streams = [opens(number) for number in range(7)]
    for stream in streams:
        stream.feed(speech(1, 4))
        stream.finish()
    recognizer.gate.set()
    for stream in streams:
        assert said(stream.wait(60)) == [1, 2, 3, 4]
    assert recognizer.batches[:4] == [1, 3, 3, 1]
    assert max(recognizer.batches) == 3


def test_a_batch_of_long_windows_has_fewer_of_them(scheduled: Callable[..., Opens]) -> None:
    """What a turn holds in memory is bounded."""
    recognizer = Gated()
    opens = scheduled(recognizer, batch=3)
    held(recognizer, opens)
    streams = [opens(number) for number in range(3)]
    for stream in streams:
        stream.feed(speech(1, round(20 / (WORD_S + GAP_S))))
    recognizer.gate.set()
    for stream in streams:
        stream.finish()
        stream.wait(60)
    assert recognizer.batches[:3] == [1, 2, 1]


def test_workers_serve_at_the_same_time(scheduled: Callable[..., Opens]) -> None:
    recognizer = Gated()
    opens = scheduled(recognizer, workers=2, batch=1)
    held(recognizer, opens)
    two = opens(1)
    two.feed(speech(1, 4))
    assert recognizer.at_the_gate.acquire(timeout=10), "the second waits for no gate of the first"


def test_under_load_steps_grow_and_no_queue_does(scheduled: Callable[..., Opens]) -> None:
    """Audio comes six times as fast as single passes for each step of 0.6 s could be made."""
    recognizer = Gated(pass_s=0.05)
    opens = scheduled(recognizer, batch=1)
    streams = [opens(number) for number in range(4)]
    audio = speech(1, 100)
    backlog_s = 0.0
    for part in np.array_split(audio, len(audio) // 1600):
        for stream in streams:
            stream.feed(part)
        time.sleep(0.005)
        backlog_s = max(backlog_s, *(stream.backlog_s for stream in streams))
    for stream in streams:
        stream.finish()
    for stream in streams:
        assert said(stream.wait(60)) == list(range(1, 101))
    seconds = len(audio) / SAMPLE_RATE_HZ
    steps = len(recognizer.requests) / len(streams)
    assert steps < seconds / 0.6 / 2, "fewer passes than there were steps of the profile"
    assert backlog_s < seconds / 3


def test_a_failing_pass_ends_its_streams_and_the_others_go_on(scheduled: Callable[..., Opens]) -> None:
    recognizer = Gated(poison=7)
    opens = scheduled(recognizer, batch=1)
    good, bad = opens(0), opens(1)
    bad.feed(speech(7, 4))
    with pytest.raises(ApplianceError, match="the stream failed: RuntimeError: bad pass") as failed:
        bad.wait(60)
    assert failed.value.hint and failed.value.code == "internal"
    assert isinstance(bad.finished.exception(), RuntimeError), "who logs it gets the error itself"
    good.feed(speech(10, 4))
    good.finish()
    assert said(good.wait(60)) == [10, 11, 12, 13]
    bad.feed(speech(1, 4))
    bad.finish()
    with pytest.raises(ApplianceError, match="bad pass"):
        bad.wait(60)


class Telling(Gated):
    """Gives an error in the place of a hypothesis to a pass that holds the word 7, as the keeper does."""

    def recognize(self, requests: Sequence[Request]) -> list[Any]:
        bad = [bool((request.window == np.float32(7 * UNIT)).any()) for request in requests]
        error = ApplianceError("failed twice", "connect again", code="inference_failed")
        return [error if is_bad else one for one, is_bad in zip(super().recognize(requests), bad, strict=True)]


def test_an_error_of_one_pass_ends_its_stream_alone(scheduled: Callable[..., Opens]) -> None:
    recognizer = Telling()
    turns: list[Turn] = []
    opens = scheduled(recognizer)
    first = held(recognizer, opens)
    first._scheduler.on_turn = turns.append
    good, bad, other = (opens(number) for number in range(3))
    for stream, word in ((good, 20), (bad, 7), (other, 30)):
        stream.feed(speech(word, 4))
    recognizer.gate.set()
    with pytest.raises(ApplianceError, match="failed twice") as failed:
        bad.wait(60)
    assert failed.value.code == "inference_failed"
    for stream, word in ((good, 20), (other, 30)):
        stream.finish()
        assert said(stream.wait(60)) == [*range(word, word + 4)]
    assert recognizer.batches[1] == 3, "they were made together"
    first.finish()
    first.wait(60)
    first._scheduler.close()
    assert sum(turn.failed for turn in turns) == 1


class Breaking(Vad):
    """Fails where the word 7 is."""

    def probability(self, window: Samples, state: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        if window[-1] == np.float32(7 * UNIT):
            raise RuntimeError("no voice activity")
        return super().probability(window, state)


def test_an_error_in_what_is_done_for_one_stream_ends_it_alone(scheduled: Callable[..., Opens]) -> None:
    """Before its pass, and after it; in the same turns."""

    def broken(snapshot: Snapshot) -> None:
        raise KeyError("watcher")

    recognizer = Gated()
    opens = scheduled(recognizer)
    first = held(recognizer, opens)
    good, watched, other = opens(0), opens(1, broken), opens(2)
    deaf = Stream(Session(Codec(), Breaking(), options()), first._scheduler, nothing)  # type: ignore[arg-type]
    for stream, word in ((good, 20), (deaf, 7), (watched, 40), (other, 30)):
        stream.feed(speech(word, 4))
        stream.finish()
    recognizer.gate.set()
    with pytest.raises(ApplianceError, match="no voice activity"):
        deaf.wait(60)
    with pytest.raises(ApplianceError, match="watcher"):
        watched.wait(60)
    for stream, word in ((good, 20), (other, 30)):
        assert said(stream.wait(60)) == [*range(word, word + 4)]
    first.finish()
    assert said(first.wait(60)) == [1, 2, 3, 4]


def test_what_a_watcher_meets_when_it_writes_is_raised_as_it_is(scheduled: Callable[..., Opens]) -> None:
    def broken(snapshot: Snapshot) -> None:
        raise BrokenPipeError

    one = scheduled(Gated())(0, broken)
    one.feed(speech(1, 4))
    with pytest.raises(BrokenPipeError):
        one.wait(60)


def test_a_stream_that_ended_in_a_failing_turn_keeps_its_text_and_the_others_are_told(
    scheduled: Callable[..., Opens],
) -> None:
    """One turn: a stream that has nothing left to hear, one that was closed, and two whose passes fail."""
    recognizer = Gated(poison=7)
    opens = scheduled(recognizer, batch=4)
    first = held(recognizer, opens)
    done, closed, bad, other = (opens(number) for number in range(4))
    done.finish()
    closed.feed(speech(7, 4))
    bad.feed(speech(7, 4))
    other.feed(speech(20, 4))
    closed.close()
    recognizer.gate.set()
    assert said(done.wait(60)) == []
    for stream in (bad, other):
        with pytest.raises(ApplianceError, match="bad pass"):
            stream.wait(60)
    first.finish()
    assert said(first.wait(60)) == [1, 2, 3, 4]


def test_a_closed_stream_is_served_no_more_and_says_so(scheduled: Callable[..., Opens]) -> None:
    recognizer = Gated()
    snapshots: list[Snapshot] = []
    opens = scheduled(recognizer)
    held(recognizer, opens)
    waiting = opens(1, snapshots.append)
    waiting.feed(speech(1, 4))
    waiting.close()
    recognizer.gate.set()
    after = opens(2)
    after.feed(speech(1, 4))
    after.finish()
    after.wait(60)
    assert 1 not in recognizer.served and snapshots == []
    with pytest.raises(ApplianceError, match="closed before its end") as ended:
        waiting.wait(60)
    assert ended.value.code == "closed"


def test_waiting_for_a_stream_that_goes_on_times_out(scheduled: Callable[..., Opens]) -> None:
    one = scheduled(Gated())()
    one.feed(speech(1, 4))
    with pytest.raises(TimeoutError):
        one.wait(0.05)


def test_who_watches_is_told_what_turns_took_and_gave() -> None:
    turns: list[Turn] = []
    recognizer = Gated(pass_s=0.01)
    scheduler = Scheduler(recognizer, workers=2, batch=2)
    scheduler.on_turn = turns.append
    audio = np.concatenate([speech(1, 20), silence(2.0)])
    streams = [Stream(session(), scheduler, nothing) for _ in range(3)]
    gone = Stream(session(), scheduler, nothing)
    for part in np.array_split(audio, 30):
        for stream in (*streams, gone):
            stream.feed(part)
    gone.close()
    for stream in streams:
        stream.finish()
    heard = [len(said(stream.wait(60))) for stream in streams]
    scheduler.close()
    assert heard == [20] * 3 and scheduler.waiting == 0
    assert sum(turn.words for turn in turns) == sum(one.session.committed for one in (*streams, gone)) >= 60
    heard_s = sum(one.session.heard_s for one in (*streams, gone))
    assert sum(turn.heard_s for turn in turns) == pytest.approx(heard_s) and heard_s >= 3 * len(audio) / SAMPLE_RATE_HZ
    assert sum(turn.passes for turn in turns) == len(recognizer.requests)
    assert max(turn.passes for turn in turns) <= 2 and all(turn.seconds > 0.01 for turn in turns if turn.passes)


def test_streams_that_wait_are_counted(scheduled: Callable[..., Opens]) -> None:
    recognizer = Gated()
    opens = scheduled(recognizer, batch=1)
    first = held(recognizer, opens)
    scheduler = first._scheduler
    assert scheduler.waiting == 0
    for number in range(3):
        opens(number).feed(speech(1, 4))
    assert scheduler.waiting == 3
    recognizer.gate.set()


def test_how_long_a_turn_takes_is_seen_while_it_does() -> None:
    recognizer = Gated()
    scheduler = Scheduler(recognizer, workers=1, batch=4)
    assert scheduler.turn_s == 0
    held(recognizer, lambda number: Stream(session(StreamOptions(language="en", prompt="1")), scheduler, nothing))
    time.sleep(0.05)
    assert 0.05 <= scheduler.turn_s < 60
    recognizer.gate.set()
    scheduler.close()
    assert scheduler.turn_s == 0


def test_close_leaves_no_thread_and_wakes_nobody() -> None:
    before = set(threading.enumerate())
    recognizer = Gated()
    scheduler = Scheduler(recognizer, workers=3, batch=2)
    streams = [Stream(session(), scheduler, nothing) for _ in range(6)]
    for stream in streams:
        stream.feed(speech(1, 30))
    scheduler.close()
    assert set(threading.enumerate()) <= before
    passes = len(recognizer.requests)
    for stream in streams:
        stream.feed(speech(31, 30))
        stream.finish()
    assert len(recognizer.requests) == passes
    assert set(threading.enumerate()) <= before


def test_nothing_is_lost_however_feeding_and_turns_race(scheduled: Callable[..., Opens]) -> None:
    """Sixteen clients that feed in pieces of any size, with pauses of any length, to three threads."""
    recognizer = Gated(pass_s=0.0005)
    opens = scheduled(recognizer, workers=3, batch=4)
    audio = np.concatenate([speech(1, 40), silence(1.0), speech(41, 10), silence(0.4), speech(51, 10)])
    streams = [opens(number) for number in range(16)]

    def feed(number: int) -> None:
        dice = random.Random(number)
        cuts = sorted(dice.randrange(len(audio)) for _ in range(300))
        for part in np.split(audio, cuts):
            streams[number].feed(part)
            if dice.random() < 0.2:
                time.sleep(dice.random() * 0.004)
        streams[number].finish()

    threads = [threading.Thread(target=feed, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for stream in streams:
        last = stream.wait(60)
        assert said(last) == list(range(1, 61))
        assert last.tentative == "" and last.lag_s == 0.0


def test_states_of_a_stream_come_one_at_a_time_and_in_order(scheduled: Callable[..., Opens]) -> None:
    opens = scheduled(Gated(), workers=3, batch=1)
    seen: list[int] = []
    inside = threading.Lock()

    def watch(snapshot: Snapshot) -> None:
        assert inside.acquire(blocking=False)
        time.sleep(0.001)
        seen.append(len(said(snapshot)))
        inside.release()

    one = opens(0, watch)
    for part in np.array_split(speech(1, 60), 400):
        one.feed(part)
    one.finish()
    one.wait(60)
    assert seen == sorted(seen) and seen[-1] == 60
