"""Figures of event logs written by hand, so that each can be checked by eye."""

import pytest

from appliance.bench.clips import Clip, SpokenWord
from appliance.bench.figures import (
    Latency,
    error_rate,
    first_shown,
    judge,
    latencies,
    percentile,
    spoken_within,
    standing_since,
    taken_back,
)
from tests.bench.test_events import logged

SPOKEN = (SpokenWord("He", 0.5), SpokenWord("was", 1.0), SpokenWord("ill-disposed.", 2.0))


def test_a_word_stands_from_the_update_after_which_nothing_before_it_changed() -> None:
    log = logged((1, "", "he is"), (2, "he", "was"), (3, "he", "has ill"), (4, "he was", "ill"), (5, "he was ill", ""))
    assert standing_since(log, "en", shown=True) == [("he", 1), ("was", 4), ("ill", 4)]
    assert standing_since(log, "en", shown=False) == [("he", 2), ("was", 4), ("ill", 5)]


def test_latency_is_from_the_end_of_the_word_in_the_batch_run() -> None:
    heard = [("he", 1.5), ("wasnt", 2.0), ("ill", 2.5), ("disposed", 3.5)]
    assert latencies(SPOKEN, heard, "en") == (Latency(0.5, 1.0), Latency(2.0, 0.5), Latency(2.0, 1.5))
    assert latencies((), heard, "en") == ()
    assert latencies(SPOKEN, [], "en") == ()


def test_first_word_shown() -> None:
    assert first_shown(SPOKEN, logged((0.2, "", "..."), (1.25, "", "he"), (2, "he", "")), "en") == 0.75
    assert first_shown(SPOKEN, logged((1, "", "...")), "en") is None
    assert first_shown((), logged((1, "he", "")), "en") is None


def test_words_taken_back_are_counted_over_all_updates() -> None:
    assert taken_back(logged((1, "a b c", ""), (2, "a b c d", "")), "en") == 0
    assert taken_back(logged((1, "a b c", ""), (2, "a x c", ""), (3, "a", "")), "en") == 4
    assert taken_back(logged((1, "a", "b c"), (2, "a", "x")), "en") == 0


def test_a_stream_is_judged_by_all_that_it_showed() -> None:
    clip = Clip("one", "en", bytes(64_000), "he was ill disposed", "He was ill.", SPOKEN)
    heard = judge(clip, logged((1.5, "He was", ""), (3, "He was", "will disposed")))
    assert (heard.words, heard.errors, heard.batch_errors, heard.audio_s) == (4, 1, 1, 2.0)
    assert heard.committed == (Latency(0.5, 1.0), Latency(1.0, 0.5))
    assert [latency.latency_s for latency in heard.shown] == [1.0, 0.5, 1.0]
    assert (heard.committed_words, heard.taken_back, heard.text) == (2, 0, "He was will disposed")


def test_without_a_transcript_there_are_no_errors_to_count() -> None:
    heard = judge(Clip("one", "en", b"", None, "a b", ()), logged((1, "a b c", "")))
    assert (heard.words, heard.errors, heard.batch_errors, heard.committed_words) == (0, 0, 0, 3)


def test_percentiles_windows_and_rates() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([float(value) for value in range(11)], 90) == pytest.approx(9.0)
    assert percentile([], 90) is None
    words = [Latency(0.0, 1.0), Latency(9.9, 2.0), Latency(10.0, 3.0)]
    assert spoken_within(words, 0, 10) == [1.0, 2.0]
    assert spoken_within(words, 10, 20) == [3.0]
    assert (error_rate(1, 4), error_rate(3, 0)) == (0.25, None)
