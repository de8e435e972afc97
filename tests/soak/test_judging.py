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
    judged = judge(SAID, "en", heard, undisturbed(SAID, "en", SAID))
    assert (judged.words, judged.lost, judged.errors) == (10, lost, errors)


@pytest.mark.parametrize(
    ("heard", "twice"),
    [
        ("one two three four five six four five six seven eight nine ten", 3),
        ("one two three four five five six six seven eight nine ten", 0),  # a word or two is the model's own doing
        ("one two three one two three four five six seven eight nine ten", 3),
        (f"{SAID} seven eight nine ten", 4),
        ("one two three four five six lots of other seven eight nine ten", 0),
    ],
)
def test_what_is_said_again_is_said_twice(heard: str, twice: int) -> None:
    assert judge(SAID, "en", heard, undisturbed(SAID, "en", SAID)).twice == twice
    assert judge(SAID, "en", heard, undisturbed(SAID, "en", heard)).twice == 0
    assert judge(SAID, "en", heard, undisturbed(SAID, "en", SAID), sent=0.95).twice == twice


def test_what_the_undisturbed_stream_did_not_hear_is_not_lost() -> None:
    before = undisturbed(SAID, "en", "one two three four five six")
    judged = judge(SAID, "en", "one two three four five six", before)
    assert (judged.lost, judged.errors) == (0, 0)


@pytest.mark.parametrize(
    ("heard", "sent", "words", "lost"),
    [
        ("one two three", 0.4, 3, 0),
        ("one two three four five six", 0.6, 6, 0),
        ("one five six", 0.6, 6, 3),
        ("five six", 0.7, 6, 4),
        ("", 0.5, 0, 0),
        ("nothing like it", 0.5, 0, 0),
    ],
)
def test_of_a_stream_that_was_cut_only_what_it_came_to_counts(heard: str, sent: float, words: int, lost: int) -> None:
    judged = judge(SAID, "en", heard, undisturbed(SAID, "en", SAID), sent=sent)
    assert (judged.words, judged.lost, judged.errors) == (words, lost, 0)


ROUND = "hola mundo el veloz murciélago hindú comía feliz cardillo y kiwi"


@pytest.mark.parametrize(
    ("heard", "sent", "words", "lost"),
    [
        # as a server heard it
        (
            "con la mundo El veloz murci el ago, inducomía feliz cardillo y kiwi. "
            "con la mundo El veloz murci el ago, induco mi feliz cardillo y kiwi.",
            0.8,
            22,
            0,
        ),
        (f"{ROUND} {ROUND}", 0.7, 22, 0),
        (ROUND, 0.45, 11, 0),
        (f"{ROUND} {ROUND[:20]}", 0.6, 15, 0),
        (f"hola mundo feliz cardillo y kiwi {ROUND}", 0.75, 22, 5),
    ],
)
def test_of_what_is_said_again_and_again_the_round_that_was_sent_counts(
    heard: str, sent: float, words: int, lost: int
) -> None:
    said = f"{ROUND} {ROUND} {ROUND}"
    judged = judge(said, "es", heard, undisturbed(said, "es", said), sent=sent)
    assert (judged.words, judged.lost) == (words, lost)


def test_characters_are_short() -> None:
    before = undisturbed("天地玄黄宇宙洪荒", "zh", "天地玄黄宇宙洪荒")
    assert judge("天地玄黄宇宙洪荒", "zh", "天地玄荒", before).lost == 0
    assert judge("天地玄黄宇宙洪荒", "zh", "天荒", before).lost == 6
