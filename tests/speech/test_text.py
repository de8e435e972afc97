"""Tokens and words of the real tokenizer."""

import pytest

from appliance.speech.text import TextCodec

pytestmark = pytest.mark.model

CHINESE = "天地玄黄宇宙洪荒"
HINDI = "ऊँट के मुँह में जीरा कहावत"


@pytest.mark.parametrize(("text", "language"), [(CHINESE, "zh"), (HINDI, "hi")])
def test_a_character_cut_in_two_at_the_end_is_held_back(codec: TextCodec, text: str, language: str) -> None:
    ids = list(codec.encode(text))
    joined = []
    for count in range(len(ids) + 1):
        words = codec.words(ids[:count], language)
        heard = "".join(word for word, _ in words)
        assert "\ufffd" not in heard
        assert (" " + text).startswith(heard)
        kept = [token for _, group in words for token in group]
        assert kept == ids[: len(kept)] and count - 3 <= len(kept) <= count
        joined.append(count - len(kept))
    assert max(joined) > 0, "some tokens hold only a part of a character"
    assert "".join(word for word, _ in codec.words(ids, language)).strip() == text


def test_each_character_is_a_word_where_there_are_no_spaces(codec: TextCodec) -> None:
    words = [word.strip() for word, _ in codec.words(codec.encode("天地，玄黄。"), "zh")]
    assert [word for word in words if word] == ["天", "地，", "玄", "黄。"]


def test_only_a_space_begins_a_word_where_there_are(codec: TextCodec) -> None:
    words = codec.words(codec.encode("It's an ill-disposed, 3.5 year old man."), "en")
    assert [word for word, _ in words] == [" It's", " an", " ill-disposed,", " 3.5", " year", " old", " man."]


def test_what_may_lengthen_a_word(codec: TextCodec) -> None:
    """Everything without a space in front, but the marks that may follow a word that is complete."""
    continuations = set(codec.continuations)
    first, *rest = codec.encode("ill-disposed")
    assert first not in continuations and rest and set(rest) <= continuations
    for mark in ".,!?":
        [_, token] = codec.encode(f"so{mark}")
        assert token not in continuations
    assert codec.eot not in continuations


def test_no_text_has_no_words(codec: TextCodec) -> None:
    assert codec.words([], "en") == codec.words([], "zh") == []
