import pytest

from appliance.speech.language import SWITCH_PROBABILITY, choose

DOUBTFUL = {"en": 0.45, "nl": 0.5, "de": 0.05}


def test_the_likeliest_is_chosen_where_nothing_is_known() -> None:
    assert choose(DOUBTFUL) == ("nl", 0.5)


def test_the_language_before_stays_unless_another_is_clearly_likelier() -> None:
    assert choose(DOUBTFUL, previous="en") == ("en", 0.45)
    assert choose(DOUBTFUL, previous="de")[0] == "nl", "ten times as likely, if not likely"
    assert choose({"en": 0.05, "nl": 0.95}, previous="en") == ("nl", 0.95)


@pytest.mark.parametrize(("above", "expected"), [(-0.01, "en"), (0.01, "nl")])
def test_the_floor_for_a_switch(above: float, expected: str) -> None:
    likely = SWITCH_PROBABILITY + above
    assert choose({"en": 1 - likely, "nl": likely}, previous="en")[0] == expected


def test_only_the_allowed_ones_are_chosen_and_what_the_others_had_is_doubt() -> None:
    assert choose(DOUBTFUL, allowed=("en", "de")) == ("en", 0.45)
    assert choose(DOUBTFUL, allowed=("de",)) == ("de", 1.0)
    assert choose(DOUBTFUL, allowed=("en", "de"), previous="de")[0] == "en"


def test_a_language_before_that_is_not_allowed_does_not_count() -> None:
    assert choose(DOUBTFUL, allowed=("en", "de"), previous="nl")[0] == "en"


def test_all_probabilities_zero() -> None:
    assert choose({"en": 0.0, "de": 0.0}, previous="de") == ("de", 0.0)
