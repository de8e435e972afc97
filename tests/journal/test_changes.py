"""States of a transcript to records and back: as it grows, is cut anew by speakers, and is translated."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.journal.changes import NOTHING, Lines, changes, committed_alike
from appliance.speech.types import SILENCE, Line, Snapshot, Speaker, Word


def word(number: int) -> Word:
    return Word(f" w{number}", number + 0.25, number + 0.5, 0.125)


def line(first: int, end: int, speaker: int = 1, **more: str | None) -> Line:
    words = tuple(word(number) for number in range(first, end))
    text = "".join(one.text for one in words).lstrip()
    return Line(Speaker(speaker), text, words[0].start_s, words[-1].end_s, words, "en", **more)


def snapshot(*lines: Line, pruned: int = 0, undiarized: str = "", decided_s: float = 0.0) -> Snapshot:
    return Snapshot(lines, pruned, "tentative", 99.0, decided_s, undiarized)


def records(*states: Snapshot) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    before = NOTHING
    for state in states:
        found += changes(before, state)
        before = state
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def read(rows: list[dict[str, object]]) -> list[Line]:
    lines = Lines()
    for row in rows:
        lines.apply(row)
    return lines.all()


def test_a_line_that_grows_costs_its_new_words() -> None:
    rows = records(snapshot(line(0, 2)), snapshot(line(0, 5)))
    assert [(row["kept"], len(row["words"])) for row in rows] == [(0, 2), (2, 3)]  # type: ignore[arg-type]
    assert read(rows) == [line(0, 5)]


def test_what_did_not_change_costs_nothing() -> None:
    state = snapshot(line(0, 2))
    later = replace(state, tentative="other", received_s=100.0)
    assert committed_alike(state, later) and records(state, later) == records(state)


def test_speaker_and_translation_are_corrected_later() -> None:
    first, second = line(0, 2), line(2, 4)
    rows = records(snapshot(first), snapshot(replace(first, speaker=Speaker(2), translation="ja"), second))
    assert rows[1]["words"] == [] and rows[1]["translation"] == "ja"
    assert read(rows) == [line(0, 2, 2, translation="ja"), second]


def test_lines_are_cut_anew_and_joined() -> None:
    cut = snapshot(line(0, 2), line(2, 5, 2), line(5, 6))
    joined = snapshot(line(0, 6))
    assert read(records(cut, joined)) == [line(0, 6)]
    assert read(records(joined, cut)) == list(cut.lines)


def test_silence_is_a_line() -> None:
    silence = Line(SILENCE, "", 0.0, 7.0)
    assert read(records(snapshot(silence, line(8, 9)))) == [silence, line(8, 9)]


def test_lines_that_fall_off_the_front_stay() -> None:
    rows = records(snapshot(line(0, 1), line(1, 2)), snapshot(line(1, 3), line(3, 4), pruned=1))
    assert read(rows) == [line(0, 1), line(1, 3), line(3, 4)]


def test_text_that_waits_for_its_speaker_is_kept_too() -> None:
    waits = snapshot(line(0, 2, 2), undiarized=" w2 w3", decided_s=4.5)
    assert read(records(waits))[-1] == Line(Speaker(2), "w2 w3", 1.5, 4.5, (), "en")
    assert read(records(waits, snapshot(line(0, 4, 2), decided_s=4.5))) == [line(0, 4, 2)]
    assert [one.text for one in read(records(snapshot(undiarized="w0", decided_s=1.0)))] == ["w0"]


def _cut(count: int, speakers: list[int]) -> tuple[Line, ...]:
    """Words cut into lines where the speaker changes."""
    starts = [0] + [at for at in range(1, count) if speakers[at] != speakers[at - 1]]
    return tuple(line(a, b, speakers[a]) for a, b in zip(starts, [*starts[1:], count], strict=True)) if count else ()


@settings(deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(1, 3), min_size=20, max_size=20)), max_size=8))
def test_whatever_the_states_were_the_last_one_is_read(steps: list[tuple[int, list[int]]]) -> None:
    states, count = [], 0
    for more, speakers in steps:
        count = min(20, count + more)
        states.append(snapshot(*_cut(count, speakers)))
    assert read(records(*states)) == list(states[-1].lines if states else ())
    pairs = zip([NOTHING, *states], states, strict=False)
    assert all(committed_alike(before, now) == (not list(changes(before, now))) for before, now in pairs)
