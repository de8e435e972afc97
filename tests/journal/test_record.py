"""The form of a file: whatever is cut off or changed in it is noticed, and costs no other record."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.journal.reader import read
from appliance.journal.record import decode, encode

patient = settings(deadline=None, database=None)

FIELDS = st.dictionaries(
    st.text(max_size=5).filter(lambda name: name != "crc"),
    st.one_of(st.text(max_size=20), st.integers(), st.lists(st.text(max_size=5), max_size=3)),
    min_size=1,
    max_size=4,
)
WORDS = st.lists(st.text(max_size=8), min_size=1, max_size=12)


def written(words: list[str]) -> tuple[bytes, list[int]]:
    """A file with a word in each record after the first, and where its records end."""
    rows = [{"journal": 1, "began": "2026-11-22T12:00:00.000+01:00", "session": "5f0c1d7a"}]
    for number, word in enumerate(words):
        line = {"line": 0, "kept": number, "words": [[word, 0.1, 0.2, 0.5]], "speaker": 1, "start": 0.0, "end": 0.2}
        rows.append(line)
    data, ends = b"", []
    for number, row in enumerate(rows):
        data += encode({"n": number, **row})
        ends.append(len(data))
    return data, ends


def text(words: list[str]) -> list[str]:
    """What the lines of such a file hold."""
    return ["".join(words).lstrip()] if words else []


@patient
@given(FIELDS)
def test_what_is_written_is_read(fields: dict[str, object]) -> None:
    line = encode(fields)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode(line) == fields


@patient
@given(FIELDS, st.data())
def test_a_changed_byte_is_noticed(fields: dict[str, object], data: st.DataObject) -> None:
    line = encode(fields)
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    assert decode(line[:at] + bytes([other]) + line[at + 1 :]) is None


@patient
@given(WORDS, st.data())
def test_a_file_cut_anywhere_loses_only_the_record_that_was_cut(words: list[str], data: st.DataObject) -> None:
    whole, ends = written(words)
    cut = data.draw(st.integers(0, len(whole)))
    kept = read(io.BytesIO(whole[:cut]))
    records = sum(end <= cut for end in ends)
    assert [line.text for line in kept.lines] == text(words[: max(0, records - 1)])
    assert kept.damaged == 0
    assert kept.is_torn == (cut not in (0, *ends))
    assert bool(kept.about) == (records > 0)


@patient
@given(WORDS, st.data())
def test_a_changed_byte_in_a_file_is_told_and_costs_no_other_record(words: list[str], data: st.DataObject) -> None:
    whole, ends = written(words)
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    kept = read(io.BytesIO(whole[:at] + bytes([other]) + whole[at + 1 :]))
    assert kept.damaged or kept.is_torn
    hit = next(number for number, end in enumerate(ends) if at < end)
    # A lost end of a line takes the next one with it.
    lost = {hit, hit + 1} if at == ends[hit] - 1 else {hit}
    expected: list[str] = []
    for number, word in enumerate(words):
        expected = expected[:number]
        if number + 1 not in lost:
            expected.append(word)
    assert [line.text for line in kept.lines] == text(expected)


@patient
@given(WORDS, st.data())
def test_a_record_that_is_missing_is_told(words: list[str], data: st.DataObject) -> None:
    whole, ends = written(words)
    hit = data.draw(st.integers(0, len(ends) - 2))
    start = ends[hit - 1] if hit else 0
    assert read(io.BytesIO(whole[:start] + whole[ends[hit] :])).damaged == 1


def test_rubbish_is_read_as_nothing() -> None:
    for rubbish in (b"", b"\n", b"\0" * 5000, b"[" * 100_000 + b"\n", b"{}\n", b"not JSON\n" * 3):
        kept = read(io.BytesIO(rubbish))
        assert (kept.lines, kept.about, kept.words) == ([], {}, 0)
