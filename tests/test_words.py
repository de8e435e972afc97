import pytest

from appliance.words import WordErrors, normalise, word_errors


@pytest.mark.parametrize(
    ("reference", "heard", "errors", "words"),
    [
        ("he was not an ill disposed young man", "He was not an ill-disposed young man.", 0, 8),
        ("he was not", "he was", 1, 3),
        ("he was not", "he was not not", 1, 3),
        ("he was not", "she was not", 1, 3),
        ("a b c", "", 3, 3),
        ("", "a b", 2, 0),
        ("don't", "don’t", 0, 1),
    ],
)
def test_word_errors(reference: str, heard: str, errors: int, words: int) -> None:
    assert word_errors(reference, heard) == WordErrors(errors, words)


def test_languages_without_spaces_are_counted_by_character() -> None:
    assert normalise("广州，市", "zh") == ["广", "州", "市"]
    assert word_errors("广州市", "廣州市", "zh").errors == 1


def test_vowel_signs_belong_to_their_word() -> None:
    assert normalise("नमस्ते दुनिया", "hi") == ["नमस्ते", "दुनिया"]
