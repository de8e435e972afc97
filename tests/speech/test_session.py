"""What a stream commits, when, and how much work that is: in a language of numbered words, without models."""

import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from appliance.speech.profile import PROFILES, Profile, padded, translating
from appliance.speech.types import SAMPLE_RATE_HZ, SILENCE, Snapshot
from appliance.speech.vad import WINDOW_SAMPLES
from tests.speech.doubles import (
    GAP_S,
    PLAIN,
    WORD_S,
    Recognizer,
    options,
    said,
    session,
    silence,
    speech,
    stream,
    turn,
    word,
)

ALL = {"plain": PLAIN, **PROFILES, "translating": translating(PLAIN), "full": padded(PLAIN)}


def numbers(count: int, first: int = 1) -> list[int]:
    return list(range(first, first + count))


def check_growth(snapshots: list[Snapshot]) -> None:
    """Words are only added at the end, and their times grow."""
    for earlier, later in pairwise(map(said, snapshots)):
        assert later[: len(earlier)] == earlier
    words = [word for line in snapshots[-1].lines for word in line.words]
    assert all(one.end_s <= two.start_s and one.start_s <= one.end_s for one, two in pairwise(words))
    assert words == [] or words[-1].end_s <= snapshots[-1].received_s


@pytest.mark.parametrize("profile", ALL.values(), ids=ALL)
@pytest.mark.parametrize("chunk_s", [0.032, 0.5, 7.0, 1000.0])
def test_nothing_is_lost_or_said_twice_however_the_audio_comes(profile: Profile, chunk_s: float) -> None:
    """Utterances of one word, of a few, and of two minutes without a pause, with and without pauses between."""
    counts = [1, 5, 250, 1, 30]
    parts = [silence(1.0)]
    for index, count in enumerate(counts):
        parts += [speech(1 + sum(counts[:index]), count), silence(1.5)]
    snapshots = stream(session(options(profile)), Recognizer(), np.concatenate(parts), chunk_s)
    assert said(snapshots[-1]) == numbers(sum(counts))
    assert snapshots[-1].tentative == "" and snapshots[-1].lag_s == 0.0
    check_growth(snapshots)


@pytest.mark.parametrize("profile", ALL.values(), ids=ALL)
def test_what_a_pass_hears_wrongly_at_its_edge_is_put_right(profile: Profile) -> None:
    """The last word of a window is often cut short, and heard as another one."""
    audio = np.concatenate([speech(1, 80), silence(1.0), speech(81, 5)])
    snapshots = stream(session(options(profile)), Recognizer(flaw=1), audio)
    assert said(snapshots[-1]) == numbers(85)
    check_growth(snapshots)


def test_times_are_those_of_the_audio() -> None:
    audio = np.concatenate([silence(2.0), speech(1, 40), silence(3.0), speech(41, 3)])
    last = stream(session(options()), Recognizer(), audio)[-1]
    words = [word for line in last.lines for word in line.words]
    for index, found in enumerate(words):
        spoken_s = 2.0 + index * (GAP_S + WORD_S) + GAP_S + WORD_S / 2 + (3.0 if index >= 40 else 0.0)
        assert found.start_s - 0.03 <= spoken_s <= found.end_s + 0.03


def test_words_are_shown_before_they_are_committed_and_committed_before_the_end() -> None:
    snapshots = stream(session(options()), Recognizer(), speech(1, 20))
    assert any(snapshot.tentative and not snapshot.lines for snapshot in snapshots)
    assert any(0 < len(said(snapshot)) < 20 for snapshot in snapshots)


def test_silence_commits_nothing_and_makes_no_pass() -> None:
    recognizer = Recognizer()
    snapshots = stream(session(options()), recognizer, silence(40.0))
    assert recognizer.requests == []
    assert all(not snapshot.lines and not snapshot.tentative for snapshot in snapshots)


def test_a_long_pause_is_a_silence_line() -> None:
    audio = np.concatenate([speech(1, 4), silence(7.0), speech(5, 4)])
    last = stream(session(options()), Recognizer(), audio)[-1]
    assert [line.speaker == SILENCE for line in last.lines] == [False, True, False]


def test_a_pass_at_a_short_silence_is_not_made_again_at_the_pause() -> None:
    recognizer, one = Recognizer(), session(options())
    for chunk in np.split(np.concatenate([speech(1, 5), silence(3.0)]), 54):
        one.feed(chunk)
        turn(one, recognizer)
    finals = [request for request in recognizer.requests if request.is_final]
    assert len(finals) == 1
    assert said(stream(one, recognizer, silence(0.1))[-1]) == numbers(5)
    assert len([request for request in recognizer.requests if request.is_final]) == 1


def test_no_step_is_made_where_all_may_be_said() -> None:
    """A short silence ends in a step when speech goes on, else in the pass over all that was said."""
    recognizer = Recognizer()
    stream(session(options()), recognizer, np.concatenate([speech(1, 20), silence(1.0), speech(21, 20)]), 0.032)
    steps = [request.window for request in recognizer.requests if not request.is_final]
    assert len(steps) > 10
    assert all(window[-WINDOW_SAMPLES:].any() for window in steps)


def test_the_rest_of_an_utterance_is_heard_after_a_short_silence() -> None:
    """What settled is looked at again when the speaker goes on."""
    audio = np.concatenate([speech(1, 5), silence(0.3), speech(6, 5), silence(1.0)])
    recognizer = Recognizer()
    snapshots = stream(session(options()), recognizer, audio)
    assert said(snapshots[-1]) == numbers(10)
    assert len(snapshots[-1].lines) == 1
    assert sum(request.is_final for request in recognizer.requests) == 2


def test_fast_commits_at_a_short_silence_and_accurate_nothing_before_the_pause() -> None:
    audio = np.concatenate([speech(1, 5), silence(0.6 - GAP_S - 0.1), speech(6, 5)])

    def committed_first(profile: Profile) -> list[int]:
        one, recognizer = session(options(profile)), Recognizer()
        one.feed(audio[: round((5 * (WORD_S + GAP_S) + 0.33) * SAMPLE_RATE_HZ)])
        snapshots = turn(one, recognizer)
        assert said(stream(one, recognizer, audio[-1:])[-1])[:5] == numbers(5)
        return said(snapshots[-1])

    assert committed_first(replace(PLAIN, commits_when_settled=True)) == numbers(5)
    assert committed_first(replace(PLAIN, rules=())) == []


@pytest.mark.parametrize("profile", [PROFILES["accurate"], translating(PLAIN)], ids=["accurate", "translating"])
def test_nothing_is_committed_before_a_pause(profile: Profile) -> None:
    """Speech that ends before the window is full."""
    audio = np.concatenate([speech(1, 30), silence(1.0), speech(31, 3)])
    snapshots = stream(session(options(profile)), Recognizer(), audio)
    assert {len(said(snapshot)) for snapshot in snapshots} == {0, 30, 33}
    assert any(snapshot.tentative for snapshot in snapshots if not snapshot.lines)


def test_endless_speech_is_decoded_in_full_windows_where_no_rule_commits() -> None:
    recognizer = Recognizer()
    snapshots = stream(session(options(replace(PLAIN, rules=()))), recognizer, speech(1, 250))
    lengths = [len(request.window) for request in recognizer.requests]
    full = [request for request in recognizer.requests if request.is_final]
    assert len(full) >= 4
    assert max(lengths) < PLAIN.longest_samples + SAMPLE_RATE_HZ
    assert said(snapshots[-1]) == numbers(250)
    assert any(request.context for request in full), "what was said before goes with the window"


def test_a_full_window_with_words_at_its_end_alone_loses_none() -> None:
    """Something that is no word, but no silence, for longer than a window; then words, some before the cut."""
    hum = np.full(round(21.5 * SAMPLE_RATE_HZ), 1e-9, dtype=np.float32)
    audio = np.concatenate([hum, speech(1, 12), silence(1.0)])
    assert said(stream(session(options()), Recognizer(), audio)[-1]) == numbers(12)


def test_a_window_with_nothing_in_it_is_left_behind() -> None:
    hum = np.full(100 * SAMPLE_RATE_HZ, 1e-9, dtype=np.float32)
    recognizer = Recognizer()
    one = session(options())
    snapshots = stream(one, recognizer, hum)
    assert all(not snapshot.lines for snapshot in snapshots)
    assert sum(request.is_final for request in recognizer.requests) <= 6
    assert one.done


def test_an_hour_of_speech_costs_no_more_at_its_end_than_at_its_beginning() -> None:
    """Audio kept, audio asked for and forced tokens stay within bounds that have nothing to do with the length."""
    recognizer, one = Recognizer(), session(options())
    each = round((WORD_S + GAP_S) * SAMPLE_RATE_HZ)
    asked: list[tuple[int, int]] = []
    kept = 0
    first, total = 1, 3600 * SAMPLE_RATE_HZ // each
    while first <= total:
        one.feed(speech(first, 2))
        first += 2
        turn(one, recognizer)
        kept = max(kept, len(one._audio))
        asked += [(len(request.window), len(request.prefix) + len(request.context)) for request in recognizer.requests]
        recognizer.requests.clear()
    last = stream(one, recognizer, silence(1.0))[-1]
    assert said(last) == numbers(first - 1)
    assert kept <= PLAIN.longest_samples + 5 * SAMPLE_RATE_HZ
    quarter = len(asked) // 4
    early, late = asked[quarter : 2 * quarter], asked[-quarter:]
    assert sum(length for length, _ in late) <= 1.1 * sum(length for length, _ in early)
    assert max(tokens for _, tokens in late) <= max(tokens for _, tokens in early) + 2


def test_snapshot_is_none_when_nothing_changed() -> None:
    one, recognizer = session(options()), Recognizer()
    assert one.snapshot() is not None, "the first state is told, empty as it is"
    assert one.snapshot() is None
    one.feed(silence(2.0))
    assert turn(one, recognizer) == []
    one.feed(speech(1, 4))
    assert turn(one, recognizer)
    assert one.snapshot() is None
    one.finish()
    turn(one, recognizer)
    assert one.done
    assert one.snapshot() is not None and one.snapshot() is not None


def test_an_empty_stream_ends_empty() -> None:
    one = session(options())
    assert not one.pending
    one.finish()
    assert one.pending
    assert one.next_request() is None
    assert one.done and not one.pending
    last = one.snapshot()
    assert last is not None and last.lines == ()


@pytest.mark.parametrize("samples", [1, 511, 513, 1600])
def test_a_stream_of_a_few_samples_ends(samples: int) -> None:
    one = session(options())
    stream(one, Recognizer(), word(1, 1.0)[:samples])
    assert one.done and one.backlog_s == 0.0


def test_audio_after_the_end_is_ignored() -> None:
    one = session(options())
    one.finish()
    one.feed(silence(1.0))
    assert one.backlog_s == 0.0


def test_feeding_from_another_thread_loses_nothing() -> None:
    one, recognizer = session(options()), Recognizer()
    audio = speech(1, 300)

    def feed() -> None:
        for part in np.array_split(audio, 2000):
            one.feed(part)
        one.finish()

    thread = threading.Thread(target=feed)
    thread.start()
    while not one.done:
        turn(one, recognizer)
    thread.join()
    last = one.snapshot()
    assert last is not None and said(last) == numbers(300)
