"""Lines by speaker, from what an engine says and a diarizer knows, piece by piece."""

import math
import random

import pytest

from appliance.speakers.diarizer import REVISION_S, SpeakerTurn
from appliance.speakers.relining import LONGEST_WAIT_S, Known, Relining
from appliance.speech import transcript
from appliance.speech.transcript import RETAINED_LINES, Transcript
from appliance.speech.types import SILENCE, Line, Snapshot, Speaker
from tests.speakers.doubles import BERT, turns, words


def said(snapshot: Snapshot) -> list[tuple[int, str]]:
    return [(line.speaker, line.text) for line in snapshot.lines]


def one_line(text: str, received_s: float | None = None) -> Snapshot:
    ours = Transcript()
    ours.append(words(text), "en")
    return ours.snapshot(" maybe", received_s or len(text.split()), len(text.split()))


def test_a_turn_change_inside_a_sentence_splits_the_line_at_the_word() -> None:
    known = Known(6.0, turns((1, 0, 3), (2, 3, 6)))
    made = Relining().snapshot(one_line("and so my fellow Americans ask"), known)
    assert said(made) == [(1, "and so my"), (2, "fellow Americans ask")]
    assert [(line.start_s, line.end_s, line.language) for line in made.lines] == [(0, 3, "en"), (3, 6, "en")]
    assert "".join(word.text for line in made.lines for word in line.words) == " and so my fellow Americans ask"
    assert (made.tentative, made.undiarized, made.diarized_s) == (" maybe", "", 6.0)


def test_words_wait_for_their_speaker() -> None:
    made = Relining().snapshot(one_line("one two three four"), Known(2.5, turns((1, 0, 2.5))))
    assert said(made) == [(1, "one two")] and made.undiarized == " three four"


def test_no_word_waits_long() -> None:
    """Shown with the speaker before it, and set right when the diarizer comes to it."""
    relining = Relining()
    late = one_line("one two three four", received_s=3.0 + LONGEST_WAIT_S)
    made = relining.snapshot(late, Known(1.0, turns((2, 0, 1))))
    assert said(made) == [(2, "one two three")] and made.undiarized == " four"
    made = relining.snapshot(late, Known(4.0, turns((2, 0, 1.4), (1, 1.4, 4))))
    assert said(made) == [(2, "one"), (1, "two three four")]


def test_a_speaker_changes_within_the_stated_time_only() -> None:
    relining = Relining()
    text = "a b c d e f g h i j k l m n o"
    before = relining.snapshot(one_line(text), Known(15.0, turns((1, 0, 15))))
    assert said(before) == [(1, text)]
    after = relining.snapshot(one_line(text), Known(15.0, turns((2, 0, 15))))
    final = int(15 - REVISION_S)
    assert said(after) == [(1, text[: 2 * final - 1]), (2, text[2 * final :])]


def test_the_engines_own_lines_stay_apart() -> None:
    ours = Transcript()
    ours.append(words("one two"), "en")
    ours.append(words("drei vier", 2.0), "de")
    ours.append(words("later", 4.0 + transcript.SILENCE_LINE_S), "de")
    snapshot = ours.snapshot("", 10.0, 10.0)
    made = Relining().snapshot(snapshot, Known(10.0, turns((1, 0, 10))))
    assert made.lines == snapshot.lines
    assert [line.speaker for line in made.lines] == [1, 1, SILENCE, 1]


def test_a_silence_waits_with_the_word_before_it() -> None:
    ours = Transcript()
    ours.append(words("one"), "en")
    ours.append(words("two", 7.0), "en")
    made = Relining().snapshot(ours.snapshot("", 9.0, 9.0), Known(0.5))
    assert made.lines == () and made.undiarized == " one two"


def test_names_stand_in_the_lines() -> None:
    known = Known(3.0, turns((1, 0, 1), (2, 1, 3)), {BERT: "Bert"})
    made = Relining().snapshot(one_line("one two three"), known)
    assert [line.name for line in made.lines] == [None, "Bert"]


def test_at_the_end_nothing_waits() -> None:
    made = Relining().snapshot(one_line("one two three"), Known(math.inf, turns((1, 0, 1.2))))
    assert said(made) == [(1, "one two three")] and made.undiarized == "" and made.diarized_s == 3.0


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_when_no_word_is_lost_and_what_is_final_stays(seed: int) -> None:
    """A long talk, whose words and speakers come in pieces of any size, with changing opinions about the last ones."""
    dice = random.Random(seed)
    ours, relining = Transcript(), Relining()
    script: list[SpeakerTurn] = []
    spoken: list[str] = []
    at_s = decided_s = 0.0
    shown: list[tuple[Speaker, float, str]] = []
    for step in range(400):
        at_s += dice.choice([0.0, 0.0, 0.0, 7.0]) if step % 20 == 0 else 0.0
        count = dice.randint(0, 4)
        text = [f"w{len(spoken) + number}{dice.choice(['', '', '.'])}" for number in range(count)]
        spoken += text
        ours.append(words(" ".join(text), at_s, 0.4), dice.choice(["en", "en", "en", "en", "de"]))
        script.append(SpeakerTurn(Speaker(dice.randint(1, 3)), at_s, at_s + 0.4 * count))
        at_s += 0.4 * count
        decided_s = max(decided_s, at_s - dice.random() * 15)
        known = [
            SpeakerTurn(turn.speaker if turn.end_s <= decided_s - REVISION_S else Speaker(dice.randint(1, 3)),
                        turn.start_s, min(turn.end_s, decided_s))
            for turn in script[-100:] if turn.start_s < decided_s
        ]  # fmt: skip
        made = relining.snapshot(ours.snapshot("", at_s, at_s), Known(decided_s, known))
        final = [
            (line.speaker, word.end_s, word.text)
            for line in made.lines
            for word in line.words
            if word.end_s <= decided_s - REVISION_S
        ]
        assert final[: len(shown)] == shown
        shown = final
        all_words = [word.text for line in made.lines for word in line.words]
        assert "".join(all_words) + made.undiarized == "".join(f" {word}" for word in spoken)
        assert len(relining._open) < 400
    made = relining.snapshot(ours.snapshot("", at_s, at_s), Known(math.inf, script[-100:]))
    assert [word.text.strip() for line in made.lines for word in line.words] == spoken


def test_old_lines_are_dropped_and_counted() -> None:
    ours, relining = Transcript(), Relining()
    for number in range(RETAINED_LINES + 50):
        start_s = number * 2.0
        ours.append(words("a b", start_s), "en")
        script = turns(*((1 + turn % 2, turn * 2.0, turn * 2.0 + 2) for turn in range(max(0, number - 30), number + 1)))
        made = relining.snapshot(ours.snapshot("", start_s + 2, start_s + 2), Known(start_s + 2, script))
    assert len(made.lines) + made.pruned == RETAINED_LINES + 50
    assert RETAINED_LINES <= len(made.lines) < RETAINED_LINES + 20
    first = made.lines[0]
    assert first.start_s == made.pruned * 2.0 and first.speaker == 1 + made.pruned % 2


def test_the_engines_own_pruning_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript, "RETAINED_LINES", 3)
    ours, relining = Transcript(), Relining()
    for number in range(10):
        ours.append(words(f"w{number}", number), "en" if number % 2 else "de")
        made = relining.snapshot(ours.snapshot("", number + 1, number + 1), Known(math.inf, turns((1, 0, 10))))
    assert [line.text for line in made.lines] == [f"w{number}" for number in range(10)]


def test_a_line_of_silence_is_taken_once() -> None:
    silence = Line(SILENCE, "", 0.0, 6.0)
    snapshot = Snapshot((silence,), 0, "", 7.0, 7.0)
    relining = Relining()
    for _ in range(2):
        made = relining.snapshot(snapshot, Known(7.0))
    assert made.lines == (silence,)
