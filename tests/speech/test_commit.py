from appliance.speech.commit import TimedWord, agreed
from appliance.speech.recognizer import Token


def words(*texts: str) -> list[TimedWord]:
    return [TimedWord(text, (Token(hash(text) % 50_000, 0.9, 0),)) for text in texts]


def test_nothing_is_sure_after_one_pass() -> None:
    assert agreed([], words("he", "was", "not")) == 0


def test_what_two_passes_say_is_sure_but_for_the_last_word() -> None:
    assert agreed(words("he", "was", "no"), words("he", "was", "not", "an")) == 2
    assert agreed(words("he", "was"), words("he", "was")) == 1


def test_a_difference_ends_the_agreement() -> None:
    assert agreed(words("he", "war", "not", "an"), words("he", "was", "not", "an")) == 1


def test_a_shorter_second_pass_takes_nothing_on_trust() -> None:
    assert agreed(words("he", "was", "not"), words("he")) == 0
    assert agreed(words("he", "was"), []) == 0


def test_a_word_is_as_probable_as_its_least_likely_token() -> None:
    assert TimedWord("ill", (Token(1, 0.9, 0), Token(2, 0.4, 1))).probability == 0.4
