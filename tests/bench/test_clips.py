import pytest

from appliance.bench.clips import PAUSE_S, Clip, SpokenWord, join
from appliance.errors import ApplianceError

SECOND = 32_000  # bytes
A = Clip(
    "a", "en", bytes([1, 0]) * (SECOND // 2), "one two", "One two.", (SpokenWord("One", 0.4), SpokenWord("two", 0.9))
)
B = Clip("b", "en", bytes([2, 0]) * SECOND, "three", "Three.", (SpokenWord("Three", 1.5),))


def test_joined_clips_keep_their_words_at_their_times() -> None:
    joined = join([A, B], 4.5)
    assert joined.length_s == pytest.approx(1 + 2 + 1 + 3 * PAUSE_S)
    assert joined.transcript == "one two three one two"
    assert joined.batch == "One two. Three. One two."
    assert [word.end_s for word in joined.words] == pytest.approx([0.4, 0.9, 1.6 + 1.5, 4.2 + 0.4, 4.2 + 0.9])
    assert joined.pcm[:2] == b"\x01\x00" and joined.pcm[SECOND : SECOND + 2] == b"\x00\x00"


def test_each_client_begins_with_another_recording() -> None:
    assert [join([A, B], 0.5, first=first).transcript for first in range(3)] == ["one two", "three", "one two"]


def test_an_unknown_transcript_makes_that_of_the_whole_unknown() -> None:
    assert join([A, Clip("c", "en", B.pcm, None)], 2.0).transcript is None


def test_nothing_or_too_much_to_join() -> None:
    with pytest.raises(ApplianceError, match="can't join 0 recordings"):
        join([], 60)
    with pytest.raises(ApplianceError, match="can't join 1 recordings"):
        join([Clip("empty", "en", b"", "")], 60)
    with pytest.raises(ApplianceError, match="to 1e\\+06 s"):
        join([A], 1e6)
