import pytest

from appliance.speech.types import FIRST_SPEAKER, Line, Word
from appliance.translation.sentences import LONG_UNITS, LONGEST_UNITS, joined, sentences_of


def line(*texts: str, gaps_s: dict[int, float] | None = None) -> Line:
    """A line of words of 0.3 s; before some of them there is a gap."""
    words = []
    at = 0.0
    for number, text in enumerate(texts):
        at += (gaps_s or {}).get(number, 0.0)
        words.append(Word(text, at, at + 0.3, 0.9))
        at += 0.3
    return Line(FIRST_SPEAKER, "".join(texts).strip(), 0.0, at, tuple(words), "en")


def cut(of: Line) -> list[tuple[str, bool]]:
    return [(sentence.text, sentence.is_whole) for sentence in sentences_of(of)]


def test_by_their_punctuation() -> None:
    assert cut(line(" Yes.", " Where", " is", " it?", " I")) == [("Yes.", True), ("Where is it?", True), ("I", False)]


def test_an_abbreviation_ends_none() -> None:
    assert cut(line(" Ask", " Dr.", " Brown", " now.")) == [("Ask Dr. Brown now.", True)]


def test_in_chinese_and_japanese() -> None:
    assert cut(line("你好", "吗？", "早上", "好。", "谢谢")) == [
        ("你好吗？", True),
        ("早上好。", True),
        ("谢谢", False),
    ]
    assert cut(line("おはよう。", "元気", "ですか")) == [("おはよう。", True), ("元気ですか", False)]


def test_a_long_pause_ends_one() -> None:
    assert cut(line(" so", " then", " we", gaps_s={2: 1.2})) == [("so then", True), ("we", False)]
    assert cut(line(" so", " then", " we", gaps_s={2: 0.7})) == [("so then we", False)]


@pytest.mark.parametrize(("filler", "longest"), [(" word", LONGEST_UNITS), ("字", LONGEST_UNITS)])
def test_one_without_end_is_cut_at_the_bound(filler: str, longest: int) -> None:
    found = sentences_of(line(*[filler] * 400))
    assert len(found) > 1
    assert all(sentence.is_whole for sentence in found[:-1])
    assert joined([sentence.text for sentence in found]) == (filler * 400).strip()
    assert max(len(sentence.text) for sentence in found) <= longest / 8


def test_a_long_one_is_cut_at_a_comma() -> None:
    words = [" word"] * 40
    words[34] = " word,"
    assert LONG_UNITS < 35 * 40
    assert [sentence.text.count("word") for sentence in sentences_of(line(*words))] == [35, 5]


def test_whole_sentences_stay_as_the_line_grows() -> None:
    texts = [" One", " two.", " Three,", " four", " five!", " Six", " Mr.", " Seven?", " eight", " nine."]
    before: list[tuple[str, bool]] = []
    for count in range(1, len(texts) + 1):
        now = cut(line(*texts[:count]))
        whole = [sentence for sentence in before[:-1] if sentence[1]]
        assert now[: len(whole)] == whole
        before = now


def test_joined_with_a_space_where_the_script_has_one() -> None:
    assert joined(["Guten Morgen.", "", "Wie geht es dir?"]) == "Guten Morgen. Wie geht es dir?"
    assert joined(["早上好。", "你好吗？"]) == "早上好。你好吗？"
    assert joined([]) == ""
