import random

import pytest

from appliance.bench import alignment
from appliance.bench.alignment import align
from appliance.errors import ApplianceError
from appliance.words import word_errors


@pytest.mark.parametrize(
    ("reference", "heard", "errors", "matches"),
    [
        ("a b c", "a b c", 0, ((0, 0), (1, 1), (2, 2))),
        ("a b c", "a c", 1, ((0, 0), (2, 1))),
        ("a c", "a b c", 1, ((0, 0), (1, 2))),
        ("a b c", "a x c", 1, ((0, 0), (2, 2))),
        ("a b", "c a", 2, ((0, 1),)),
        ("a b a b", "a b", 2, ((0, 0), (1, 1))),
        ("a", "a a", 1, ((0, 0),)),
        ("a b", "", 2, ()),
        ("", "a b", 2, ()),
        ("", "", 0, ()),
    ],
)
def test_errors_and_matches(reference: str, heard: str, errors: int, matches: tuple[tuple[int, int], ...]) -> None:
    found = align(reference.split(), heard.split())
    assert (found.errors, found.matches) == (errors, matches)


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_the_word_errors_of_the_self_tests(seed: int) -> None:
    chance = random.Random(seed)
    reference = [chance.choice("abcd") for _ in range(chance.randrange(1, 40))]
    heard = [chance.choice("abcde") for _ in range(chance.randrange(0, 40))]
    found = align(reference, heard)
    assert found.errors == word_errors(" ".join(reference), " ".join(heard)).errors
    assert all(reference[i] == heard[j] for i, j in found.matches)
    assert list(found.matches) == sorted(found.matches)
    assert len(found.matches) >= max(len(reference), len(heard)) - found.errors


def test_a_text_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "MOST_WORDS", 3)
    with pytest.raises(ApplianceError, match="4 words is too long"):
        align(list("abcd"), [])
