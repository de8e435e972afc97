import pytest

from appliance.soak.judging import judge, undisturbed

SAID = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize(
    ("heard", "lost", "errors"),
    [
        (SAID, 0, 0),
        ("One, two, three, four, five, six. Seven eight nine ten!", 0, 0),
        ("one two three four five six seven eight nine then", 0, 1),  # heard otherwise
        ("one two three four five six seven eight nine", 0, 1),  # a word or two is the model's own doing
        ("one two three four five six seven", 3, 3),
        ("five six seven eight nine ten", 4, 4),
        ("one two eight nine ten", 5, 5),
        ("one two lots of other words here eight nine ten", 0, 5),  # others stand in their place
        ("one two and eight nine ten", 4, 5),
        ("", 10, 10),
    ],
)
def test_what_is_missing_is_lost_and_what_was_heard_otherwise_is_not(heard: str, lost: int, errors: int) -> None:
    judged = judge(SAID, "en", heard, undisturbed(SAID, "en", SAID), whole=True)
    assert (judged.words, judged.lost, judged.errors) == (10, lost, errors)


def test_what_the_undisturbed_stream_did_not_hear_is_not_lost() -> None:
    before = undisturbed(SAID, "en", "one two three four five six")
    judged = judge(SAID, "en", "one two three four five six", before, whole=True)
    assert (judged.lost, judged.errors) == (0, 0)


@pytest.mark.parametrize(
    ("heard", "words", "lost"), [("one two three", 3, 0), ("one five six", 6, 3), ("", 0, 0), ("nothing like it", 0, 0)]
)
def test_of_a_stream_that_was_cut_only_what_it_came_to_counts(heard: str, words: int, lost: int) -> None:
    judged = judge(SAID, "en", heard, undisturbed(SAID, "en", SAID), whole=False)
    assert (judged.words, judged.lost, judged.errors) == (words, lost, 0)


def test_characters_are_short() -> None:
    before = undisturbed("天地玄黄宇宙洪荒", "zh", "天地玄黄宇宙洪荒")
    assert judge("天地玄黄宇宙洪荒", "zh", "天地玄荒", before, whole=True).lost == 0
    assert judge("天地玄黄宇宙洪荒", "zh", "天荒", before, whole=True).lost == 6
