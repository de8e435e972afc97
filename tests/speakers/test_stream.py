"""A stream of the engine with its speakers: real sessions and schedulers, models that know their words and turns."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.speakers.scheduler import SpeakerScheduler
from appliance.speakers.stream import SpeakerStream
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.live import LiveStream
from appliance.speech.scheduler import Scheduler, Stream
from appliance.speech.types import SAMPLE_RATE_HZ, SILENCE, Samples, Snapshot
from tests.speakers.doubles import Scripted, ScriptedStream, turns
from tests.speech.doubles import GAP_S, WORD_S, Recognizer, options, said, session, silence, speech

EACH_S = WORD_S + GAP_S

Opens = Callable[..., LiveStream]


@pytest.fixture
def opens() -> Iterator[Opens]:
    """Opens a stream whose words and turns these models know."""
    closing: list[Callable[[], None]] = []

    def opened(
        diarizer: Scripted,
        on_snapshot: Callable[[Snapshot], None] = lambda snapshot: None,
        recognizer: Recognizer | None = None,
    ) -> SpeakerStream:
        engine = Scheduler(recognizer or Recognizer(), workers=1, batch=4)
        scheduler = SpeakerScheduler(diarizer)
        closing.extend([engine.close, scheduler.close])
        return SpeakerStream(lambda take: Stream(session(options()), engine, take), scheduler, on_snapshot)

    yield opened
    for close in closing:
        close()


def feed(stream: LiveStream, samples: Samples, chunk_s: float = 0.1) -> None:
    step = round(chunk_s * SAMPLE_RATE_HZ)
    for start in range(0, len(samples), step):
        stream.feed(samples[start : start + step])
    stream.finish()


def by_speaker(snapshot: Snapshot) -> list[tuple[int, list[int]]]:
    return [(line.speaker, said_in(line.text)) for line in snapshot.lines if line.speaker != SILENCE]


def said_in(text: str) -> list[int]:
    return [int(word.removeprefix("w")) for word in text.split()]


def test_words_are_of_who_says_them(opens: Opens) -> None:
    change_s = 10 * EACH_S + GAP_S / 2
    stream = opens(Scripted(turns((1, 0, change_s), (2, change_s, 99))))
    feed(stream, speech(1, 20))
    last = stream.wait(60)
    assert by_speaker(last) == [(1, list(range(1, 11))), (2, list(range(11, 21)))]
    assert last.undiarized == last.tentative == "" and last.diarized_s == last.received_s


def test_the_last_words_have_speakers_too(opens: Opens) -> None:
    end_s = 20 * EACH_S
    stream = opens(Scripted(turns((1, 0, end_s - 0.3), (2, end_s - 0.3, end_s))))
    feed(stream, speech(1, 20))
    assert by_speaker(stream.wait(60))[-1] == (2, [20])


def test_committed_words_wait_and_none_is_shown_twice_or_lost(opens: Opens) -> None:
    seen: list[Snapshot] = []
    stream = opens(Scripted(turns((1, 0, 5), (2, 5, 99))), seen.append)
    feed(stream, np.concatenate([speech(1, 20), silence(7), speech(21, 10)]))
    last = stream.wait(60)
    assert said(last) == list(range(1, 31))
    assert [line.speaker for line in last.lines].count(SILENCE) == 1
    for snapshot in seen:
        shown = said(snapshot) + said_in(snapshot.undiarized)
        assert shown == list(range(1, len(shown) + 1))
    assert seen[-1] == last


def test_a_diarizer_that_fails_does_not_stop_the_text(opens: Opens, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Scripted):
        def step(self, streams: Sequence[ScriptedStream]) -> None:  # type: ignore[override]
            if len(self.steps) == 4:
                raise RuntimeError("out of memory")
            super().step(streams)

    stream = opens(Broken(turns((1, 0, 3), (2, 3, 99))))
    feed(stream, speech(1, 40))
    last = stream.wait(60)
    assert said(last) == list(range(1, 41))
    assert {line.speaker for line in last.lines} == {1, 2} and last.lines[-1].speaker == 2
    assert caplog.text.count("the diarizer failed") == 1


def test_a_failed_engine_is_told(opens: Opens) -> None:
    class Broken(Recognizer):
        def recognize(self, requests: Sequence[Request]) -> list[Hypothesis]:
            raise ApplianceError("no GPU any more", code="gpu")

    stream = opens(Scripted(), recognizer=Broken())
    feed(stream, speech(1, 10))
    with pytest.raises(ApplianceError, match="no GPU any more"):
        stream.wait(60)


def test_who_closes_early_is_told_so(opens: Opens) -> None:
    stream = opens(Scripted())
    stream.feed(speech(1, 3))
    stream.close()
    with pytest.raises(ApplianceError, match="closed before its end"):
        stream.wait(60)


def test_a_snapshot_that_can_not_be_written_ends_the_stream(opens: Opens) -> None:
    def full(snapshot: Snapshot) -> None:
        raise OSError("disk full")

    stream = opens(Scripted(turns((1, 0, 99))), full)
    feed(stream, speech(1, 10))
    with pytest.raises(OSError, match="disk full"):
        stream.wait(60)


def test_many_streams_at_once_lose_nothing_and_come_in_order(opens: Opens) -> None:
    scripts = [turns((1, 0, 3 + at), (2, 3 + at, 99)) for at in range(8)]
    diarizer = Scripted(*scripts, batch=3)
    engine, scheduler = Scheduler(Recognizer(), workers=3, batch=2), SpeakerScheduler(diarizer)
    states: list[list[int]] = [[] for _ in range(8)]
    inside = [threading.Lock() for _ in range(8)]

    def watch(at: int) -> Callable[[Snapshot], None]:
        def take(snapshot: Snapshot) -> None:
            assert inside[at].acquire(blocking=False), "one at a time"
            states[at].append(len(said(snapshot)))
            time.sleep(0.0005)
            inside[at].release()

        return take

    streams = [
        SpeakerStream(lambda take: Stream(session(options()), engine, take), scheduler, watch(at)) for at in range(8)
    ]

    def run(at: int) -> None:
        dice = random.Random(at)
        for part in np.array_split(speech(1, 40), 90):
            streams[at].feed(part)
            if dice.random() < 0.2:
                time.sleep(dice.random() * 0.004)
        streams[at].finish()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at, stream in enumerate(streams):
        last = stream.wait(60)
        assert said(last) == list(range(1, 41)) and last.undiarized == ""
        assert {line.speaker for line in last.lines} == {1, 2}
        assert states[at] == sorted(states[at])
    engine.close()
    scheduler.close()
