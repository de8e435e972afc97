"""A recording through a stream in this process: order, bounds, failures and stops, with a stream of canned words."""

import threading
import time

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.recording import local
from appliance.recording.local import BACKLOG_S, Stream, Watch, transcribe
from appliance.speech.types import FIRST_SPEAKER, SAMPLE_RATE_HZ, Line, Samples, Snapshot


class Canned:
    """Hears ``speed`` seconds a second (None: never anything), and then says how much it was."""

    def __init__(self, watch: Watch, speed: float | None, fails: bool = False) -> None:
        self._watch, self._speed, self._fails = watch, speed, fails
        self._started = time.monotonic()
        self.fed_s = 0.0
        self.most_s = 0.0
        self.finished = self.closed = False

    @property
    def backlog_s(self) -> float:
        heard_s = (time.monotonic() - self._started) * (self._speed or 0.0)
        return max(0.0, self.fed_s - heard_s)

    def feed(self, samples: Samples) -> None:
        assert not self.finished and not self.closed
        self.fed_s += len(samples) / SAMPLE_RATE_HZ
        self.most_s = max(self.most_s, self.backlog_s)

    def finish(self) -> None:
        self.finished = True

    def wait(self, timeout_s: float) -> Snapshot:
        if self._fails:
            raise ApplianceError("the pass failed")
        time.sleep(min(timeout_s, self.backlog_s))
        if self.backlog_s or not self.finished:
            raise TimeoutError
        return Snapshot((Line(FIRST_SPEAKER, "all said", 0, 1),), 0, "", self.fed_s, self.fed_s)

    def close(self) -> None:
        self.closed = True


class Opened:
    """Opens one canned stream, and remembers it and what was seen."""

    def __init__(self, speed: float | None, fails: bool = False) -> None:
        self._speed, self._fails = speed, fails
        self.seen: list[Snapshot] = []

    def __call__(self, watch: Watch) -> Stream:
        self.stream = Canned(watch, self._speed, self._fails)
        return self.stream


def silence(seconds: float) -> list[Samples]:
    return [np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)] * int(seconds)


def test_to_the_end_with_a_bounded_backlog() -> None:
    opened = Opened(speed=200.0)
    transcribe(silence(100), opened, opened.seen.append)
    assert opened.stream.finished and opened.stream.closed
    assert opened.stream.fed_s == pytest.approx(100) and opened.stream.most_s <= BACKLOG_S + 0.2
    assert opened.seen[-1].lines[0].text == "all said"
    received = [snapshot.received_s for snapshot in opened.seen]
    assert received == sorted(received) and len(received) > 50
    assert all(0 <= snapshot.decided_s <= snapshot.received_s + 1e-6 for snapshot in opened.seen)


@pytest.mark.parametrize(("seconds", "speed"), [(2, 1e6), (60, None)])
def test_a_failed_stream_is_told_and_closed(seconds: int, speed: float | None) -> None:
    opened = Opened(speed, fails=True)
    with pytest.raises(ApplianceError, match="the pass failed"):
        transcribe(silence(seconds), opened, opened.seen.append)
    assert opened.stream.closed


@pytest.mark.parametrize("seconds", [5, 60])
def test_an_engine_that_stands_still_is_given_up(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "STALL_S", 0.3)
    opened = Opened(speed=None)
    with pytest.raises(ApplianceError, match="no progress"):
        transcribe(silence(seconds), opened, opened.seen.append)
    assert opened.stream.closed and opened.stream.fed_s <= BACKLOG_S + 0.2


@pytest.mark.parametrize("seconds", [5, 60])
def test_stop_waits_for_the_last_words_only_so_long(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LAST_WORDS_S", 0.3)
    stop, opened = threading.Event(), Opened(speed=None)
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    transcribe(silence(seconds), opened, opened.seen.append, stop=stop)
    assert opened.stream.closed and time.monotonic() - started < 3


def test_stop_gets_the_last_words_where_they_come() -> None:
    stop, opened = threading.Event(), Opened(speed=50.0)
    threading.Timer(0.3, stop.set).start()
    transcribe(silence(60), opened, opened.seen.append, pace="realtime", stop=stop)
    assert opened.stream.fed_s < 1 and opened.seen[-1].lines[0].text == "all said"
