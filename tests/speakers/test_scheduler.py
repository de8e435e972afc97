import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from appliance.speakers.relining import Known
from appliance.speakers.scheduler import MOST_BEHIND_S, Lane, SpeakerScheduler
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from tests.speakers.doubles import Scripted, ScriptedStream, turns

Opens = Callable[..., SpeakerScheduler]


def sound(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)


class Heard:
    """What a stream was told."""

    def __init__(self) -> None:
        self.all: list[Known] = []
        self._over = threading.Event()

    def __call__(self, known: Known) -> None:
        self.all.append(known)
        if known.over:
            self._over.set()

    def wait(self) -> Known:
        assert self._over.wait(30)
        return self.all[-1]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Gated(Scripted):
    """Waits at each step until it is let go."""

    def __init__(self, *scripts: Sequence[object], batch: int = 4) -> None:
        super().__init__(*scripts, batch=batch)  # type: ignore[arg-type]
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def step(self, streams: Sequence[ScriptedStream]) -> None:  # type: ignore[override]
        self.entered.release()
        assert self.go.acquire(timeout=30)
        super().step(streams)


class Broken(Scripted):
    def step(self, streams: Sequence[ScriptedStream]) -> None:  # type: ignore[override]
        if self.steps:
            raise RuntimeError("no kernel image")
        super().step(streams)


@pytest.fixture
def opens() -> Iterator[Opens]:
    made: list[SpeakerScheduler] = []

    def scheduler(diarizer: Scripted, **options: object) -> SpeakerScheduler:
        made.append(SpeakerScheduler(diarizer, **options))  # type: ignore[arg-type]
        return made[-1]

    yield scheduler
    for one in made:
        one.close()


def fed(lane: Lane, *seconds: float) -> None:
    for each in seconds:
        lane.feed(sound(each))


def test_all_of_a_stream_is_diarized_the_last_shorter_piece_too(opens: Opens) -> None:
    diarizer, heard = Scripted(turns((1, 0, 2), (2, 2, 9))), Heard()
    lane = opens(diarizer, max_speakers=3).open(heard)
    fed(lane, *[0.1] * 34)
    lane.finish()
    last = heard.wait()
    assert [(turn.speaker, round(turn.end_s, 3)) for turn in last.turns] == [(1, 2.0), (2, 3.4)]
    assert [known.decided_s for known in heard.all] == sorted(known.decided_s for known in heard.all)
    assert diarizer.most == [3] and lane.ended


def test_an_empty_stream_ends_too(opens: Opens) -> None:
    heard = Heard()
    lane = opens(Scripted()).open(heard)
    lane.finish()
    assert heard.wait().turns == ()


def test_streams_that_wait_are_stepped_together_and_nobody_twice_before_all(opens: Opens) -> None:
    diarizer = Gated(batch=3)
    scheduler = opens(diarizer)
    heard = [Heard() for _ in range(5)]
    lanes = [scheduler.open(one) for one in heard]
    fed(lanes[0], 2.0)
    assert diarizer.entered.acquire(timeout=30)  # the first is at work; the others gather
    for lane in lanes[1:]:
        fed(lane, 2.0)
    for lane in lanes:
        lane.finish()
    diarizer.go.release(100)
    for one in heard:
        one.wait()
    assert diarizer.steps[:3] == [[0], [1, 2, 3], [4, 0, 1]], "who was served comes back to the end of the queue"
    assert sum(map(len, diarizer.steps)) == 10


def test_a_failure_ends_the_speakers_of_its_streams_and_is_told_once(
    opens: Opens, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = opens(Broken(turns((2, 0, 9))))
    heard = Heard()
    lane = scheduler.open(heard)
    fed(lane, 5.0, 1.0)
    last = heard.wait()
    assert [(turn.speaker, turn.end_s) for turn in last.turns] == [(2, 1.0)], "what was known is kept"
    fed(lane, 1.0)
    lane.finish()
    assert lane.ended and not lane.pending and lane.backlog_s == 0.0
    scheduler.close()
    assert scheduler.failures == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_live_stream_too_far_behind_goes_on_with_what_comes_now(
    opens: Opens, caplog: pytest.LogCaptureFixture
) -> None:
    diarizer, clock, heard = Gated(turns((1, 0, 3), (2, 3.5, 99))), Clock(), Heard()
    lane = opens(diarizer, clock=clock).open(heard)
    seconds = int(MOST_BEHIND_S) + 3
    for second in range(seconds):
        clock.now_s = second + 1.0
        fed(lane, 1.0)
        if not second:
            assert diarizer.entered.acquire(timeout=30)
        assert lane.backlog_s == 0.0, "who speaks into a microphone is never held up"
    diarizer.go.release(100)
    lane.finish()
    last = heard.wait()
    left_out_s = MOST_BEHIND_S + 1
    assert diarizer.streams[0].fed_s == seconds - left_out_s
    assert [(turn.start_s, turn.end_s) for turn in last.turns] == [(0.0, seconds)]
    assert "behind" in caplog.text


def test_times_after_what_was_left_out_are_those_of_the_stream(opens: Opens) -> None:
    diarizer, clock, heard = Gated(turns((1, 0, 1), (2, 2, 3))), Clock(), Heard()
    lane = opens(diarizer, clock=clock).open(heard)
    clock.now_s = 1000.0
    fed(lane, 1.0)
    assert diarizer.entered.acquire(timeout=30)
    fed(lane, 20.0, 20.0)
    fed(lane, 2.0)  # the 40 s before are left out
    diarizer.go.release(100)
    lane.finish()
    assert [(turn.speaker, turn.start_s, turn.end_s) for turn in heard.wait().turns] == [(1, 0, 1), (2, 42, 43)]


def test_a_stream_faster_than_time_tells_what_waits_and_loses_nothing(opens: Opens) -> None:
    diarizer, heard = Gated(turns((1, 0, 99))), Heard()
    lane = opens(diarizer, clock=Clock()).open(heard)
    fed(lane, 1.0)
    assert diarizer.entered.acquire(timeout=30)
    fed(lane, *[10.0] * 6)
    assert lane.backlog_s == 60.0
    diarizer.go.release(100)
    lane.finish()
    assert heard.wait().turns[0].end_s == 61.0 and lane.backlog_s == 0.0


def test_audio_waits_here_and_not_in_the_diarizer(opens: Opens) -> None:
    diarizer = Gated()
    lane = opens(diarizer).open(Heard())
    fed(lane, 1.0)
    assert diarizer.entered.acquire(timeout=30)
    fed(lane, *[1.0] * 10)
    assert diarizer.streams[0].fed_s == 1.0
    diarizer.go.release(100)


def test_a_closed_stream_is_told_nothing_more(opens: Opens) -> None:
    diarizer, heard = Gated(), Heard()
    scheduler = opens(diarizer)
    lane = scheduler.open(heard)
    fed(lane, 3.0)
    assert diarizer.entered.acquire(timeout=30)
    lane.close()
    diarizer.go.release(100)
    scheduler.close()
    assert heard.all == [] and len(diarizer.steps) == 1


def test_closing_lets_streams_go_that_still_wait(opens: Opens) -> None:
    diarizer, heard = Gated(batch=1), [Heard(), Heard()]
    scheduler = opens(diarizer)
    lanes = [scheduler.open(one) for one in heard]
    fed(lanes[0], 3.0)
    assert diarizer.entered.acquire(timeout=30)
    fed(lanes[1], 3.0)
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    time.sleep(0.05)
    diarizer.go.release(100)
    closing.join(10)
    assert not closing.is_alive() and heard[1].wait().over
