from appliance.speech.utterance import (
    LEAD_SAMPLES,
    ONSET_WINDOWS,
    PAUSE_SAMPLES,
    TAIL_SAMPLES,
    Boundary,
    UtteranceTracker,
)
from appliance.speech.vad import WINDOW_SAMPLES


def push(tracker: UtteranceTracker, probability: float, windows: int) -> list[tuple[int, Boundary]]:
    found = []
    for _ in range(windows):
        boundary = tracker.push(probability)
        if boundary is not None:
            found.append((tracker.position, boundary))
    return found


def test_silence_never_begins_an_utterance() -> None:
    tracker = UtteranceTracker()
    assert push(tracker, 0.2, 1000) == []
    assert tracker.stop() is None


def test_a_click_is_shorter_than_the_onset() -> None:
    tracker = UtteranceTracker()
    for _ in range(20):
        assert push(tracker, 0.9, ONSET_WINDOWS - 1) == []
        assert push(tracker, 0.1, 1) == []


def test_an_utterance_keeps_lead_and_tail() -> None:
    tracker = UtteranceTracker()
    push(tracker, 0.0, 50)
    begun = tracker.position
    assert push(tracker, 0.9, 30)[0][1] is Boundary.BEGIN
    spoken_until = tracker.position
    assert tracker.start == begun - LEAD_SAMPLES
    [(at, boundary)] = push(tracker, 0.0, 50)
    assert boundary is Boundary.END
    assert at - spoken_until >= PAUSE_SAMPLES
    assert at - spoken_until < PAUSE_SAMPLES + WINDOW_SAMPLES
    assert tracker.end == spoken_until + TAIL_SAMPLES


def test_a_short_dip_does_not_end_it() -> None:
    tracker = UtteranceTracker()
    push(tracker, 0.9, 10)
    assert push(tracker, 0.0, PAUSE_SAMPLES // WINDOW_SAMPLES - 1) == []
    assert push(tracker, 0.9, 1) == []
    assert tracker.in_speech


def test_the_next_utterance_never_reaches_into_the_last() -> None:
    tracker = UtteranceTracker()
    push(tracker, 0.9, 10)
    push(tracker, 0.0, 40)
    end = tracker.end
    push(tracker, 0.9, ONSET_WINDOWS)
    assert tracker.start >= end


def test_the_end_of_the_stream_ends_the_utterance() -> None:
    tracker = UtteranceTracker()
    push(tracker, 0.9, 10)
    assert tracker.stop() is Boundary.END
    assert tracker.end == tracker.position
