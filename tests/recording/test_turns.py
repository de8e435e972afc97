"""Channels as speakers: whose words come when, and how a text and subtitles say so."""

import itertools
import json
from dataclasses import replace

import pytest

from appliance.recording.subtitles import cues
from appliance.recording.transcription import render
from appliance.recording.turns import by_time
from appliance.speech.types import FIRST_SPEAKER, SILENCE, Line, Speaker, Word


def line(start_s: float, text: str, pause_after: int = 0) -> Line:
    """Words of 0.4 s, one each half second; 2 s of pause after some of them."""
    words, at = [], start_s
    for number, word in enumerate(text.split(), 1):
        words.append(Word(f" {word}", at, at + 0.4, 0.9))
        at += 2.5 if number == pause_after else 0.5
    return Line(FIRST_SPEAKER, text, start_s, words[-1].end_s, tuple(words), "en")


def told(lines: list[Line]) -> list[tuple[int, str, float]]:
    return [(line.speaker, line.text, line.start_s) for line in lines]


def test_turns_change_at_pauses_and_sentences() -> None:
    first = line(0.0, "how are you today", pause_after=3)
    second = line(1.6, "well thanks and you")
    assert told(by_time([[first], [second]])) == [
        (1, "how are you", 0.0),
        (2, "well thanks and you", 1.6),
        (1, "today", 3.5),
    ]


def test_who_speaks_alone_keeps_the_lines() -> None:
    lines = [line(0.0, "One. Two. Three."), line(5.0, "and more")]
    assert by_time([lines, []]) == lines


def test_lines_without_words_stay_whole() -> None:
    lines = [Line(FIRST_SPEAKER, text, at, at + 2) for at, text in ((0.0, "a b."), (4.0, "e f."))]
    other = [Line(FIRST_SPEAKER, "c d.", 2.0, 4.0)]
    assert [text for _, text, _ in told(by_time([lines, other]))] == ["a b.", "c d.", "e f."]


def test_subtitles_and_text_say_who() -> None:
    lines = by_time([[line(0.0, "Hello there.")], [line(2.0, "Good morning, madam.")], [Line(SILENCE, "", 0, 9)][:0]])
    assert render(lines, 4.0, "text") == "Speaker 1: Hello there.\nSpeaker 2: Good morning, madam.\n"
    assert "\nSpeaker 1: Hello there.\n" in render(lines, 4.0, "srt")
    assert "\n<v Speaker 2>Good morning, madam.\n" in render(lines, 4.0, "vtt")
    assert [cue.speaker for cue in cues(lines)] == ["Speaker 1", "Speaker 2"]


def test_one_speaker_is_not_named() -> None:
    lines = by_time([[line(0.0, "Hello there.")], []])
    assert render(lines, 4.0, "text") == "Hello there.\n"
    assert "Speaker" not in render(lines, 4.0, "srt") and "<v" not in render(lines, 4.0, "vtt")


@pytest.mark.parametrize("named", [False, True])
def test_cues_of_two_who_speak_at_once_do_not_overlap(named: bool) -> None:
    speakers = [[line(0.0, "this is. " * 10)], [line(0.2, "and that. " * 10)]]
    made = cues(by_time(speakers), named=named)
    assert all(before.end_s <= after.start_s for before, after in itertools.pairwise(made))
    assert all(len(text) <= 42 for cue in made for text in cue.lines)
    said = " ".join(" ".join(cue.lines) for cue in made)
    assert said.count("this is.") == said.count("and that.") == 10


def test_a_translation_stands_below_its_line() -> None:
    hello = replace(line(0.0, "Good morning."), translation="Guten Morgen.")
    lines = [hello, line(5.0, "Well.")]
    assert render(lines, 6.0, "text") == "Good morning.\nGuten Morgen.\n\nWell.\n"
    two = [hello, replace(line(5.0, "Well."), speaker=Speaker(2), translation="Nun.")]
    assert render(two, 6.0, "text") == "Speaker 1: Good morning.\nGuten Morgen.\n\nSpeaker 2: Well.\nNun.\n"
    assert [item.get("translation") for item in json.loads(render(lines, 6.0, "json"))["lines"]] == [
        "Guten Morgen.",
        None,
    ]


def test_the_translation_of_a_line_that_is_cut_is_there_once() -> None:
    first = replace(line(0.0, "how are you today", pause_after=3), translation="Wie geht es dir heute")
    found = by_time([[first], [line(1.6, "well thanks")]])
    assert [(each.text, each.translation) for each in found] == [
        ("how are you", "Wie geht es dir heute"),
        ("well thanks", None),
        ("today", None),
    ]
    assert by_time([[first], []]) == [first]
