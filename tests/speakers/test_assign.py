import pytest

from appliance.speakers.assign import NEAR_S, speakers_of
from appliance.speech.types import FIRST_SPEAKER, Speaker, Word
from tests.speakers.doubles import ANNA, BERT, CLEO, turns, words


def test_a_word_is_of_the_speaker_who_overlaps_it_most() -> None:
    said = words("one two three four")
    assert speakers_of(said, turns((1, 0, 2.4), (2, 2.4, 4)), FIRST_SPEAKER) == [ANNA, ANNA, BERT, BERT]
    assert speakers_of(said, turns((1, 0, 2.6), (2, 2.6, 4)), FIRST_SPEAKER) == [ANNA, ANNA, ANNA, BERT]


def test_parts_of_a_speaker_count_together() -> None:
    pieces = turns((1, 0.0, 0.3), (2, 0.3, 0.7), (1, 0.7, 1.0))
    assert speakers_of(words("word"), pieces, BERT) == [ANNA]


def test_a_word_in_a_gap_takes_the_nearest_turn() -> None:
    said = [Word(" in", 2.0, 2.2, 0.9), Word(" the", 2.8, 3.0, 0.9), Word(" gap", 3.2, 3.4, 0.9)]
    assert speakers_of(said, turns((1, 0, 1.9), (2, 3.5, 5)), CLEO) == [ANNA, BERT, BERT]


def test_far_from_any_turn_it_is_of_the_speaker_before() -> None:
    far = [Word(" far", 10.0, 10.2, 0.9)]
    assert speakers_of(far, turns((2, 0, 9.0 - NEAR_S)), CLEO) == [CLEO]
    assert speakers_of(words("nobody knows"), [], BERT) == [BERT, BERT]


def test_where_two_speak_at_once_who_spoke_goes_on() -> None:
    both = turns((1, 0, 4), (2, 1, 4), (2, 4, 6))
    assert speakers_of(words("a b c d e f"), both, FIRST_SPEAKER) == [ANNA] * 4 + [BERT] * 2
    assert speakers_of(words("b c", 1.0), both, BERT) == [BERT, BERT]


def test_a_long_turn_under_short_ones_is_seen() -> None:
    """Turns are by their start: the one that covers a word may stand far before those around it."""
    short = [(2, 1.0 + at, 1.2 + at) for at in range(20)]
    assert speakers_of(words("late", 19.0), turns((1, 0, 30), *short), CLEO) == [ANNA]


def test_one_word_in_the_middle_of_a_sentence_splits_nothing() -> None:
    flicker = turns((1, 0, 2), (2, 2, 3), (1, 3, 6))
    assert speakers_of(words("one and two and three four"), flicker, FIRST_SPEAKER) == [ANNA] * 6


@pytest.mark.parametrize("text", ["we go now. Yes. and then we", "we go. Yes and then we go", "we go Yes. and then we"])
def test_a_word_that_is_a_sentence_or_begins_or_ends_one_stays(text: str) -> None:
    said = words(text)
    at = next(number for number, word in enumerate(said) if "Yes" in word.text)
    short = turns((1, 0, at), (2, at, at + 1), (1, at + 1, 9))
    assert speakers_of(said, short, FIRST_SPEAKER)[at] == BERT


def test_two_words_of_another_stay() -> None:
    said = speakers_of(words("one two oh really three"), turns((1, 0, 2), (2, 2, 4), (1, 4, 6)), FIRST_SPEAKER)
    assert said == [ANNA, ANNA, BERT, BERT, ANNA]


def test_speakers_that_are_known_stay() -> None:
    said = words("one two three four")
    found = speakers_of(said, turns((1, 0, 4)), FIRST_SPEAKER, known=[BERT, CLEO])
    assert found == [BERT, CLEO, ANNA, ANNA]


def test_a_word_without_length_has_a_speaker() -> None:
    assert speakers_of([Word(" And", 0.47, 0.47, 0.9)], turns((2, 0.4, 3)), FIRST_SPEAKER) == [Speaker(2)]
