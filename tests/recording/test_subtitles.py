"""Cues: what shares one, where it breaks, when it shows; and both formats, read back."""

import itertools
import random
import re
from collections.abc import Sequence

import pytest

from appliance.recording.subtitles import MAX_S, MIN_S, Cue, cues, to_srt, to_vtt
from appliance.recording.text_breaks import LINE_UNITS, may_break, width
from appliance.speech.types import FIRST_SPEAKER, SILENCE, Line, Word


def line(text: str, start_s: float = 0.0, word_s: float = 0.3, language: str = "en") -> Line:
    """Words said one right after the other; ``|`` in the text is a pause of 0.8 s."""
    words: list[Word] = []
    at_s = start_s
    spaced = language not in ("zh", "ja", "th")
    for item in text.split() if spaced else re.findall(r"\|| |[^ |][，。、？！]*", text):
        if item == "|":
            at_s += 0.8
        elif item != " ":
            words.append(Word(f" {item}" if spaced else item, at_s, at_s + word_s, 0.9))
            at_s += word_s
    return Line(FIRST_SPEAKER, "".join(word.text for word in words), start_s, at_s, tuple(words), language)


def texts(made: Sequence[Cue]) -> list[str]:
    return [" / ".join(cue.lines) for cue in made]


def assert_lawful(made: Sequence[Cue]) -> None:
    for cue in made:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < width(text) <= LINE_UNITS for text in cue.lines), cue
        assert cue.start_s < cue.end_s <= cue.start_s + MAX_S + 1e-9
    for cue, following in itertools.pairwise(made):
        assert cue.end_s <= following.start_s


def test_a_cue_for_each_sentence() -> None:
    said = line("And so my fellow Americans. Ask not what your country can do for you.")
    made = cues([said])
    assert texts(made) == ["And so my fellow Americans.", "Ask not what your country can do for you."]
    assert made[0].start_s == 0.0 and made[0].end_s == made[1].start_s == pytest.approx(1.5)
    assert made[1].end_s == pytest.approx(4.2 + 0.5)


def test_short_sentences_share_a_cue() -> None:
    assert (
        texts(cues([line("Yes. No. Go on then, tell me what he said.")]))
        == ["Yes. No. / Go on then, tell me what he said."]
        or len(cues([line("Yes. No. Go on then, tell me what he said.")])) == 1
    )


def test_long_sentence_is_split_at_its_punctuation() -> None:
    first = "When the evening had come and the lamps were lit, they sat down together at the long table, "
    made = cues([line(first + "and nobody said a word about what had happened in the morning.")])
    assert_lawful(made)
    assert [cue.lines[-1].split()[-1] for cue in made] == ["lit,", "table,", "morning."]


def test_without_punctuation_pauses_count() -> None:
    first = "so this is what we are going to do today | first we look at the map of the valley and then | "
    made = cues([line(first + "we walk up to the pass and have our lunch there before the rain comes")])
    assert_lawful(made)
    assert [cue.lines[-1].split()[-1] for cue in made] == ["today", "then", "comes"]
    assert made[0].end_s == pytest.approx(made[1].start_s - 0.3)


def test_neither_punctuation_nor_pauses() -> None:
    made = cues([line(" ".join(f"word{n}" for n in range(100)))])
    assert_lawful(made)
    assert " ".join(" ".join(cue.lines) for cue in made).split() == [f"word{n}" for n in range(100)]
    assert all(len(" ".join(cue.lines)) > 30 for cue in made)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (
            "zh",
            "今天我们要讲的是一个关于城市的故事，它发生在很久以前。那时候这里还没有高楼，"
            "只有一条安静的河和几座小桥，人们每天早上都到河边去洗衣服。",
        ),
        (
            "ja",
            "今日はとても良い天気ですね。散歩に行きましょう、それからちょっと遠いところにある古いカフェで"
            "コーヒーを飲んで、ゆっくり話をしましょう。",
        ),
        ("zh", "没有标点的时候我们只能靠停顿来分开|所以这里有一个停顿然后继续说下去直到这一行放不下为止再换到下一行"),
    ],
)
def test_scripts_without_spaces(language: str, text: str) -> None:
    made = cues([line(text, word_s=0.2, language=language)])
    assert_lawful(made)
    assert "".join("".join(cue.lines) for cue in made) == text.replace("|", "")
    assert len(made) > 1 and all(len(row) <= 16 for cue in made for row in cue.lines)
    assert not any(row[0] in "，。、っょー" for cue in made for row in cue.lines)
    assert any(cue.lines[-1][-1] in "，。、" or "|" in text for cue in made[:-1])


def test_korean_breaks_at_spaces_only() -> None:
    text = "오늘은 날씨가 아주 좋아서 우리는 아침부터 공원에 나가 천천히 걸으면서 여러 가지 이야기를 했습니다."
    made = cues([line(text, language="ko")])
    assert_lawful(made)
    assert " ".join(" ".join(cue.lines) for cue in made) == text


def test_words_of_two_scripts() -> None:
    words = [Word(text, n * 0.2, n * 0.2, 1.0) for n, text in enumerate(["我", "用", "i", "Phone", "打", "电", "话"])]
    assert texts(cues([Line(FIRST_SPEAKER, "我用iPhone打电话", 0, 2, tuple(words), "zh")])) == ["我用iPhone打电话"]
    assert not may_break("i", "Phone") and may_break("Phone", "打") and not may_break("话", "。")


def test_zero_length_words_and_words_at_one_moment() -> None:
    words = tuple(Word(f" word{n}", 3.0, 3.0, 0.5) for n in range(60))
    made = cues([Line(FIRST_SPEAKER, "", 3.0, 3.0, words, "en"), line("and later on.", 4.0)])
    assert_lawful(made)
    assert sum(len(" ".join(cue.lines).split()) for cue in made) == 63


def test_one_word_that_is_too_long_or_said_too_long() -> None:
    made = cues([Line(FIRST_SPEAKER, "", 0, 20, (Word(" a" + "b" * 200, 0, 3, 1.0), Word(" end.", 4, 20, 1.0)), "en")])
    assert_lawful(made)
    assert "".join("".join(cue.lines) for cue in made) == "a" + "b" * 200 + "end."


def test_silence_and_empty_lines_give_nothing() -> None:
    made = cues([Line(SILENCE, "", 0.0, 9.0), Line(FIRST_SPEAKER, "", 9, 9), line("Here we are again.", 9.0)])
    assert texts(made) == ["Here we are again."] and made[0].start_s == 9.0
    assert cues([]) == []


def test_line_without_words_gets_times_by_length() -> None:
    text = "This is a line that came without any words in it, and it is rather long. Then it ends."
    made = cues([Line(FIRST_SPEAKER, text, 10.0, 16.0, (), "en")])
    assert_lawful(made)
    assert made[0].start_s == pytest.approx(10.0, abs=0.1) and 16.0 <= made[-1].end_s <= 16.6
    assert " ".join(" ".join(cue.lines) for cue in made) == text


def test_no_cue_reaches_over_a_long_pause() -> None:
    made = cues([line("Wait", 0.0), line("for it.", 3.5)])
    assert texts(made) == ["Wait", "for it."] and made[0].end_s == pytest.approx(MIN_S)


def test_abbreviations_end_no_sentence() -> None:
    assert texts(cues([line("And Mr. John Dashwood had then leisure to think.")])) == [
        "And Mr. John Dashwood had / then leisure to think."
    ]


def test_random_speech_is_always_lawful() -> None:
    for seed in range(40):
        random_ = random.Random(seed)
        words, at_s = [], 0.0
        for _ in range(150):
            start_s = at_s + random_.choice([0, 0, 0, 0.1, 0.7, 3.0])
            at_s = start_s + random_.choice([0, 0, 0.1, 0.4, 9.0])
            text = "".join(random_.choices("abcde世界", k=random_.randint(1, 12))) + random_.choice(["", "", ",", "."])
            words.append(Word(random_.choice([" ", " ", ""]) + text, start_s, at_s, 1.0))
        made = cues([Line(FIRST_SPEAKER, "", 0, at_s, tuple(words), "en")])
        assert_lawful(made)
        assert "".join("".join(cue.lines) for cue in made).replace(" ", "") == "".join(w.text.strip() for w in words)


def test_formats() -> None:
    made = [Cue(0.0, 1.2345, ("AT&T <b>", "a --> b")), Cue(3661.5, 360000.0, ("late",))]
    assert to_srt(made) == (
        "1\n00:00:00,000 --> 00:00:01,234\nAT&T ‹b›\na --› b\n\n2\n01:01:01,500 --> 100:00:00,000\nlate\n\n"
    )
    assert to_vtt(made) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\nAT&amp;T &lt;b&gt;\na --&gt; b\n\n"
        "01:01:01.500 --> 100:00:00.000\nlate\n"
    )
    assert to_srt([]) == "" and to_vtt([]) == "WEBVTT\n"


def in_two_languages(said: str, translation: str | None, start_s: float = 0.0) -> Line:
    words = [
        Word(f" {word}", start_s + at * 0.4, start_s + at * 0.4 + 0.3, 0.9) for at, word in enumerate(said.split())
    ]
    return Line(FIRST_SPEAKER, said, start_s, words[-1].end_s, tuple(words), "en", translation=translation)


def test_a_translation_stands_below_what_it_is_of() -> None:
    said = "Good morning, and welcome to all of you. How are you today?"
    line = in_two_languages(said, "Guten Morgen, und willkommen, Sie alle. Wie geht es Ihnen heute?")
    later = in_two_languages("Nobody translated this one.", None, 20.0)
    srt = to_srt(cues([line, later]))
    assert [block.split("\n")[2:] for block in srt.strip().split("\n\n")] == [
        ["Good morning, and welcome to all of you.", "Guten Morgen, und willkommen, Sie alle."],
        ["How are you today?", "Wie geht es Ihnen heute?"],
        ["Nobody translated this one."],
    ]
    vtt = to_vtt(cues([line, later]))
    assert "How are you today?\n<c.translation>Wie geht es Ihnen heute?</c>\n" in vtt
    assert vtt.count("<c.translation>") == 2


def test_no_word_of_a_translation_is_lost_or_doubled() -> None:
    said = " ".join(f"word{number}" + ("." if number % 9 == 8 else "") for number in range(60))
    for count, end in ((90, 7), (40, 9), (60, 1000), (3, 2)):
        translated = " ".join(f"Wort{number}" + ("." if number % end == end - 1 else "") for number in range(count))
        made = cues([in_two_languages(said, translated)])
        assert " ".join(line for cue in made for line in cue.lines) == said
        assert " ".join(line for cue in made for line in cue.below) == translated
        assert all(len(cue.below) <= 2 for cue in made)


def test_a_translation_without_spaces() -> None:
    line = in_two_languages(
        "Good morning to all of you here. Where is the station, please?", "大家早上好。请问，车站在哪里？"
    )
    assert [(cue.lines, cue.below) for cue in cues([line])] == [
        (("Good morning to all of you here.",), ("大家早上好。",)),
        (("Where is the station, please?",), ("请问，车站在哪里？",)),
    ]
