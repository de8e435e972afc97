import pytest

from appliance.speech.commit import Doubt, Rule, TimedWord, counted, sure
from appliance.speech.hypothesis import FRAMES_PER_S, Token

AGREED = Rule(passes=2, probability=0.0, behind_s=0.0)


def words(*texts: str, every_s: float = 1.0) -> list[TimedWord]:
    """Words spoken every second, the first at 0 s."""
    return [
        TimedWord(text, (Token(sum(text.encode()), 0.9, round(index * every_s * FRAMES_PER_S)),))
        for index, text in enumerate(texts)
    ]


def passes(found: list[TimedWord]) -> list[int]:
    return [word.passes for word in found]


def test_passes_that_say_the_same_are_counted() -> None:
    first = counted([], words("he", "was", "not"))
    assert passes(first) == [1, 1, 1]
    second = counted(first, words("he", "was", "not", "an"))
    assert passes(second) == [2, 2, 2, 1]
    assert passes(counted(second, words("he", "was", "not", "an"))) == [3, 3, 3, 2]


def test_a_difference_starts_the_count_anew_from_there_on() -> None:
    before = counted(words("he", "war", "not", "an"), words("he", "war", "not", "an"))
    assert passes(counted(before, words("he", "was", "not", "an"))) == [3, 1, 1, 1]


def test_a_shorter_pass_takes_nothing_on_trust() -> None:
    before = words("he", "was", "not")
    assert passes(counted(before, words("he"))) == [2]
    assert counted(before, []) == []
    assert passes(counted(counted(before, []), words("he"))) == [1]


def test_nothing_is_sure_after_one_pass() -> None:
    assert sure(counted([], words("he", "was", "not")), 500, [AGREED]) == 0


def test_what_two_passes_say_is_sure_but_for_the_last_word() -> None:
    before = words("he", "was", "no")
    assert sure(counted(before, words("he", "was", "not", "an")), 500, [AGREED]) == 2
    assert sure(counted(before, words("he", "was")), 500, [AGREED]) == 1
    assert sure([], 500, [AGREED]) == 0


def test_no_rule_commits_nothing() -> None:
    assert sure(counted(words("he", "was", "not"), words("he", "was", "not")), 500, []) == 0


def test_a_word_must_lie_far_enough_behind() -> None:
    found = words("he", "was", "not", "an")
    heard = round(3.2 * FRAMES_PER_S)
    assert sure(found, heard, [Rule(1, 0.0, 0.0)]) == 3
    assert sure(found, heard, [Rule(1, 0.0, 2.0)]) == 2
    assert sure(found, heard, [Rule(1, 0.0, 5.0)]) == 0


def test_an_unlikely_word_stops_those_after_it() -> None:
    one, two, three = words("he", "was", "not")
    doubtful = TimedWord(two.text, (Token(7, 0.2, two.last_frame),))
    assert sure([one, doubtful, three], 500, [Rule(1, 0.5, 0.0)]) == 1


def test_one_of_several_rules_is_enough() -> None:
    one, two, three = words("he", "was", "not")
    doubtful = TimedWord(two.text, (Token(7, 0.2, two.last_frame),), passes=3)
    rules = [Rule(1, 0.5, 0.0), Rule(3, 0.0, 0.0)]
    assert sure([one, doubtful, three], 500, rules) == 2


def test_a_word_is_as_probable_as_its_least_likely_token() -> None:
    word = TimedWord("ill", (Token(1, 0.9, 3), Token(2, 0.4, 5)))
    assert (word.probability, word.first_frame, word.last_frame, word.ids) == (0.4, 3, 5, (1, 2))


def test_a_moved_word_keeps_all_but_its_place() -> None:
    word = TimedWord("ill", (Token(1, 0.9, 3), Token(2, 0.4, 9)), passes=2)
    moved = word.moved(-5)
    assert [token.frame for token in moved.tokens] == [0, 4]
    assert (moved.text, moved.ids, moved.probability, moved.passes) == ("ill", (1, 2), 0.4, 2)


def test_the_last_word_is_sure_only_where_another_follows() -> None:
    found = counted([], words("whole"))
    assert sure(found, 50, [Rule(1, 0.0, 0.2)]) == 0
    assert sure(found, 50, [Rule(1, 0.0, 0.2)], ends_word=True) == 1


@pytest.mark.parametrize(
    ("likely", "said", "heard_frames", "expected"),
    [(0.5, 2, 100, True), (0.6, 2, 100, False), (0.5, 1, 100, False), (0.5, 2, 35, False), (0.5, 9, 40, True)],
)
def test_a_word_is_in_doubt_that_is_unlikely_and_would_else_be_sure(
    likely: float, said: int, heard_frames: int, expected: bool
) -> None:
    doubt = Doubt(passes=2, probability=0.6, behind_s=0.8)
    first = TimedWord("he", (Token(1, 0.99, 0), Token(2, likely, 0)), passes=said)
    assert doubt.holds([first, *words("was")], heard_frames) is expected


def test_only_the_first_word_can_be_in_doubt() -> None:
    doubt = Doubt(passes=1, probability=0.6, behind_s=0.0)
    unlikely = TimedWord("he", (Token(1, 0.1, 0),))
    assert not doubt.holds([], 100)
    assert not doubt.holds([*words("was"), unlikely], 100)
    assert doubt.holds([unlikely, *words("was")], 100)
