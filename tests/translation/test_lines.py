"""What is wanted and shown, as a transcript grows, is cut anew, and ends."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from appliance.speech.types import FIRST_SPEAKER, SILENCE, Line, Snapshot, Speaker, Word
from appliance.translation.languages import Languages
from appliance.translation.lines import TranslatedLines
from appliance.translation.translator import Job

LANGUAGES = Languages(["deu_Latn", "eng_Latn", "zho_Hans"])


def line(text: str, *, start_s: float = 0.0, language: str | None = "en", speaker: Speaker = FIRST_SPEAKER) -> Line:
    words = tuple(
        Word(f" {word}", start_s + number * 0.3, start_s + number * 0.3 + 0.2, 0.9)
        for number, word in enumerate(text.split())
    )
    return Line(speaker, text, start_s, start_s + 0.3 * len(words), words, language)


def snapshot(lines: Sequence[Line], tentative: str = "", *, pruned: int = 0, decided_s: float = 0.0) -> Snapshot:
    return Snapshot(tuple(lines), pruned, tentative, decided_s, decided_s)


def answer(lines: TranslatedLines, jobs: Sequence[Job]) -> None:
    for job in jobs:
        lines.take(job, f"<{job.text}>")


def shown(lines: TranslatedLines) -> tuple[list[str | None], str]:
    now = lines.snapshot()
    return [each.translation for each in now.lines], now.translation


@pytest.fixture
def lines() -> TranslatedLines:
    return TranslatedLines(LANGUAGES, "de")


def test_a_sentence_is_wanted_once_it_is_whole(lines: TranslatedLines) -> None:
    lines.update(snapshot([line("Good morning. How are")]))
    assert lines.committed(9) == [Job("Good morning.", "en", "de")]
    answer(lines, lines.committed(9))
    assert lines.committed(9) == []
    assert shown(lines) == (["<Good morning.>"], "")
    lines.update(snapshot([line("Good morning. How are you?")]))
    assert lines.committed(9) == [Job("How are you?", "en", "de")]
    answer(lines, lines.committed(9))
    assert shown(lines) == (["<Good morning.> <How are you?>"], "")


def test_what_is_tentative_has_a_translation_of_its_own(lines: TranslatedLines) -> None:
    lines.update(snapshot([line("Good morning. How are")], " you"))
    answer(lines, lines.committed(9))
    assert lines.tentative() == [Job("How are you", "en", "de")]
    answer(lines, lines.tentative())
    assert shown(lines) == (["<Good morning.>"], "<How are you>")
    lines.update(snapshot([line("Good morning. How are you")], " today"))
    assert shown(lines) == (["<Good morning.>"], "<How are you>"), "until there is a newer one"
    answer(lines, lines.tentative())
    assert shown(lines)[1] == "<How are you today>"
    lines.update(snapshot([line("Good morning. How are you today?")]))
    answer(lines, lines.committed(9))
    assert shown(lines) == (["<Good morning.> <How are you today?>"], "")


def test_a_tentative_sentence_that_is_committed_as_it_was_is_not_translated_again(lines: TranslatedLines) -> None:
    lines.spoken = "en"
    lines.update(snapshot([], " Good morning. How"))
    assert [job.text for job in lines.tentative()] == ["Good morning.", "How"]
    answer(lines, lines.tentative())
    assert shown(lines) == ([], "<Good morning.> <How>")
    lines.update(snapshot([line("Good morning.")], " How are"))
    assert lines.committed(9) == []
    assert shown(lines)[0] == ["<Good morning.>"]


def test_before_there_is_a_line_the_language_must_be_known(lines: TranslatedLines) -> None:
    lines.update(snapshot([], " Good morning."))
    assert lines.tentative() == []
    lines.spoken = "de"
    lines.update(snapshot([], " Guten Morgen."))
    assert lines.tentative() == [], "it is the target"


def test_text_that_waits_for_its_speaker_is_tentative(lines: TranslatedLines) -> None:
    lines.update(replace(snapshot([line("Good morning.")], " you"), undiarized=" How are"))
    answer(lines, lines.committed(9))
    assert lines.tentative() == [Job("How are you", "en", "de")]


def test_no_translation_into_the_language_that_is_spoken_or_from_one_not_known(lines: TranslatedLines) -> None:
    said = [line("Guten Morgen.", language="de"), line("Bonjour.", language="fr"), line("Hm.", language=None)]
    lines.update(snapshot([*said, line("", speaker=SILENCE, language=None), line("Good morning.")]))
    assert [job.text for job in lines.committed(9)] == ["Good morning."]
    answer(lines, lines.committed(9))
    assert shown(lines) == ([None, None, None, None, "<Good morning.>"], "")


def test_text_that_whisper_translated_is_english_whatever_was_spoken() -> None:
    lines = TranslatedLines(LANGUAGES, "zh", source="en")
    lines.update(snapshot([line("Good morning.", language="fr")]))
    assert lines.committed(9) == [Job("Good morning.", "en", "zh")]


def test_a_line_without_end_is_whole_when_another_follows_or_the_speaker_pauses(lines: TranslatedLines) -> None:
    lines.update(snapshot([line("I have a question")], decided_s=1.5))
    assert lines.committed(9) == []
    lines.update(snapshot([line("I have a question")], decided_s=3.0))
    assert [job.text for job in lines.committed(9)] == ["I have a question"]
    lines.update(snapshot([line("I have a question")], " so", decided_s=3.0))
    assert lines.committed(9) == []
    lines.update(snapshot([line("I have a question"), line("So", start_s=5.0)]))
    assert [job.text for job in lines.committed(9)] == ["I have a question"]


def test_the_end_makes_all_whole(lines: TranslatedLines) -> None:
    lines.update(snapshot([line("I have a question")], " soon"))
    answer(lines, lines.tentative())
    lines.update(snapshot([line("I have a question so")]), is_final=True)
    assert [job.text for job in lines.committed(9)] == ["I have a question so"]
    assert shown(lines) == ([None], "")


def test_lines_that_are_cut_anew_keep_the_translations_of_their_sentences(lines: TranslatedLines) -> None:
    lines.update(snapshot([line("Good morning. How are you? Thank you.")]))
    answer(lines, lines.committed(9))
    cut = [line("Good morning."), line("How are you? Thank you.", start_s=0.6, speaker=Speaker(2))]
    lines.update(snapshot(cut))
    assert lines.committed(9) == []
    assert shown(lines)[0] == ["<Good morning.>", "<How are you?> <Thank you.>"]
    lines.update(snapshot([line("Good morning. How"), line("are you? Thank you.", start_s=0.9, speaker=Speaker(2))]))
    assert [job.text for job in lines.committed(9)] == ["How", "are you?"]
    assert shown(lines)[0] == ["<Good morning.>", None]


def test_the_first_ones_are_asked_for_first_and_each_text_once(lines: TranslatedLines) -> None:
    lines.update(snapshot([line("Yes. No. Yes."), line("Yes. Perhaps.", start_s=9.0)]))
    assert [job.text for job in lines.committed(2)] == ["Yes.", "No."]
    answer(lines, lines.committed(1))
    assert [job.text for job in lines.committed(9)] == ["No.", "Perhaps."]


def test_a_line_whose_translation_failed_stays_without_the_rest(lines: TranslatedLines) -> None:
    lines.update(snapshot([line("Yes. No. Perhaps."), line("Good.", start_s=9.0)], " So"))
    first, second, *_ = lines.committed(9)
    lines.take(first, "Ja.")
    lines.take(second, None)
    assert [job.text for job in lines.committed(9)] == ["Good."]
    assert shown(lines)[0] == ["Ja.", None]


def test_lines_that_fell_off_the_front_are_wanted_no_more(lines: TranslatedLines) -> None:
    said = [line(f"Number {number}.", start_s=9.0 * number) for number in range(4)]
    lines.update(snapshot(said))
    answer(lines, lines.committed(3))
    lines.update(snapshot(said[2:], pruned=2))
    assert [job.text for job in lines.committed(9)] == ["Number 3."]
    assert shown(lines)[0] == ["<Number 2.>", None]
    lines.update(snapshot([line("Later.")], pruned=40))
    assert [job.text for job in lines.committed(9)] == ["Later."]


def test_a_long_transcript_keeps_what_it_has(lines: TranslatedLines) -> None:
    said = [line(f"Number {number}.", start_s=9.0 * number) for number in range(1000)]
    for count in range(100, 1001, 100):
        lines.update(snapshot(said[:count]))
        while wanted := lines.committed(8):
            answer(lines, wanted)
    assert shown(lines)[0] == [f"<Number {number}.>" for number in range(1000)]
