import pytest

from appliance.speech.loops import is_echo, repeated_tail


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], 0),
        ([1, 2, 3, 4], 0),
        ([7, 7, 7], 0),
        ([9, 7, 7, 7, 7, 7, 7], 5),
        ([1, 2, 3, 1, 2, 3], 0),
        ([5, 1, 2, 3, 1, 2, 3, 1, 2, 3], 6),
        ([1, 2, 3, 1, 2, 3, 1, 2, 4], 0),
        ([1, 2] * 6, 10),
        ([1, 2] * 5, 0),
    ],
)
def test_repeated_tail(ids: list[int], expected: int) -> None:
    assert repeated_tail(ids) == expected


@pytest.mark.parametrize(
    ("text", "before", "found"),
    [
        ("but she said", "and but she said", True),
        ("but she said whomsoever", "but she said", True),
        ("she said", "but she said", True),
        ("said", "but she said", False),
        ("but she went", "but she said", False),
        ("she but said", "but she said", False),
        ("", "but she said", False),
        ("but she said", "", False),
    ],
)
def test_a_text_that_begins_with_what_was_said_before_is_an_echo(text: str, before: str, found: bool) -> None:
    assert is_echo(text.split(), before.split()) is found
