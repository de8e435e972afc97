from itertools import pairwise

import pytest

from appliance.speech.commit import TimedWord
from appliance.speech.hypothesis import CONTEXT_TOKENS, FRAME_SAMPLES, FRAMES_PER_S, Token
from appliance.speech.types import SAMPLE_RATE_HZ, Word
from appliance.speech.window import Window

HEARD_S = 20


def spoken(*at_s: float, ends: str = "") -> list[TimedWord]:
    """Words of one token, attended at these seconds of the window; those named in ``ends`` end a sentence."""
    return [
        TimedWord(f" w{index}." if str(index) in ends else f" w{index}", (Token(index, 0.9, round(at * FRAMES_PER_S)),))
        for index, at in enumerate(at_s)
    ]


def window(words: list[TimedWord], start: int = 0, commit: int = 0) -> Window:
    made = Window(start, language="en")
    made.take(words, "en", start + HEARD_S * SAMPLE_RATE_HZ)
    made.commit(commit)
    return made


def check_times(words: list[Word]) -> None:
    assert all(word.start_s <= word.end_s for word in words)
    assert all(earlier.end_s <= later.start_s for earlier, later in pairwise(words))


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_times_of_words_neither_overlap_nor_go_back(at_once: int) -> None:
    """Attention that stands still or strays back does not take the times back with it."""
    made = window(spoken(1.0, 1.0, 1.4, 1.2, 5.0, 4.0, 19.99), start=SAMPLE_RATE_HZ)
    words: list[Word] = []
    while made.tentative:
        words += made.commit(min(at_once, len(made.tentative)))
    assert len(words) == 7
    check_times(words)
    assert words[0].start_s >= 1.0 and words[-1].end_s <= 1.0 + HEARD_S


def test_a_word_reaches_halfway_to_a_near_neighbour_and_not_far_into_a_gap() -> None:
    one, two, three = window(spoken(2.0, 2.2, 8.0)).commit(3)
    assert one.end_s == two.start_s == pytest.approx(2.1)
    assert 2.2 < two.end_s < 3.0 and 7.0 < three.start_s < 8.0


def test_committed_words_are_the_prefix_and_the_others_the_draft() -> None:
    made = window(spoken(1, 2, 3, 4), commit=2)
    assert (made.prefix, made.draft, made.context()) == ((0, 1), (2, 3), ())


def test_cut_at_the_widest_gap() -> None:
    made = window(spoken(1, 2, 6, 6.5, 9, 9.5, 10), commit=6)
    after = made.cut(5.0)
    assert after is not None
    assert after.context() == (0, 1, 2, 3) and after.prefix == (4, 5) and after.draft == (6,)
    assert 6.5 * SAMPLE_RATE_HZ < after.start < 9 * SAMPLE_RATE_HZ
    assert (made.prefix, made.draft) == ((0, 1, 2, 3, 4, 5), (6,)), "the window that is left stays as it was"


def test_a_sentence_end_is_worth_a_gap() -> None:
    words = spoken(1, 6, 6.8, 7.4, 8, ends="3")
    without, with_end = window(spoken(1, 6, 6.8, 7.4, 8), commit=5), window(words, commit=5)
    one, two = without.cut(5.0), with_end.cut(5.0)
    assert one is not None and two is not None
    assert one.context() == (0, 1) and two.context() == (0, 1, 2, 3)


def test_a_cut_is_never_before_the_earliest_place_nor_behind_the_committed() -> None:
    made = window(spoken(1, 2, 9, 10, 17), commit=4)
    after = made.cut(5.0)
    assert after is not None and after.context() == (0, 1, 2, 3) and after.prefix == ()
    assert made.cut(15.0) is None
    assert window(spoken(1, 2, 9)).cut(5.0) is None


def test_words_stand_at_the_same_moment_after_a_cut() -> None:
    made = window(spoken(1, 6, 9, 9.5, 10), start=7 * SAMPLE_RATE_HZ, commit=4)
    after = made.cut(5.0)
    assert after is not None
    moment = [after.start + word.last_frame * FRAME_SAMPLES for word in (*after.committed, *after.tentative)]
    assert moment == [(7 + at) * SAMPLE_RATE_HZ for at in (9, 9.5, 10)]
    assert after.heard == made.heard and after.language == "en"


def test_times_go_on_growing_after_a_cut() -> None:
    made = Window(0, language="en")
    made.take(spoken(1, 6, 8, 8.1, 8.2), "en", HEARD_S * SAMPLE_RATE_HZ)
    words = made.commit(4)
    after = made.cut(5.0)
    assert after is not None
    check_times([*words, *after.commit(1)])


def test_context_is_the_prompt_and_the_latest_words() -> None:
    made = Window(0, language="en", prompt=(900, 901))
    assert made.context() == (900, 901)
    for turn in range(3):
        words = [TimedWord(f" w{n}", (Token(turn * 60 + n, 0.9, 50 + n),)) for n in range(60)]
        made.take(words, "en", made.start + HEARD_S * SAMPLE_RATE_HZ)
        made.commit(60)
        cut = made.cut(2.1)
        assert cut is not None
        made = cut
    last = 180 - len(made.prefix)
    assert len(made.prefix) <= 3
    assert made.context() == (900, 901, *range(last - CONTEXT_TOKENS + 2, last))
    assert made.context(9) == (900, 901, *range(last - 9, last))


def test_restarted_begins_where_the_audio_ended() -> None:
    after = window([], start=0).restarted()
    assert after.start == after.heard == HEARD_S * SAMPLE_RATE_HZ
    assert (after.prefix, after.draft, after.context()) == ((), (), ())


@pytest.mark.parametrize(("at_s", "start_s"), [(19.0, 18.7), (12.0, 11.7), (3.0, 10.0)])
def test_restarted_keeps_what_is_not_committed_and_at_most_half_of_the_window(at_s: float, start_s: float) -> None:
    made = Window(SAMPLE_RATE_HZ, language="en")
    word = TimedWord(" w1", (Token(1, 0.9, round(at_s * FRAMES_PER_S)), Token(2, 0.9, round(19.5 * FRAMES_PER_S))))
    made.take([word], "en", (1 + HEARD_S) * SAMPLE_RATE_HZ)
    after = made.restarted()
    assert after.start == pytest.approx((1 + start_s) * SAMPLE_RATE_HZ, abs=FRAME_SAMPLES)
    assert after.draft == (1, 2) and after.heard == made.heard
    assert after.start + after.tentative[0].last_frame * FRAME_SAMPLES == (1 + 19.5) * SAMPLE_RATE_HZ


def test_restarted_goes_on_from_what_was_committed() -> None:
    made = Window(0, language=None)
    made.take(spoken(1, 2, 19), "de", HEARD_S * SAMPLE_RATE_HZ)
    made.commit(2)
    after = made.restarted()
    assert (after.context(), after.prefix, after.draft) == ((0, 1), (), (2,))
    assert after.language_to_ask() == "de"


def test_the_language_stays_open_where_nothing_was_committed() -> None:
    made = Window(0, language=None)
    made.take([], "nn", HEARD_S * SAMPLE_RATE_HZ)
    assert made.restarted().language_to_ask() is None


def test_the_language_is_open_until_a_word_is_committed() -> None:
    made = Window(0, language=None)
    assert made.language_to_ask() is None
    made.take(spoken(1, 6), "de", HEARD_S * SAMPLE_RATE_HZ)
    assert made.language_to_ask() is None
    made.commit(1)
    assert made.language_to_ask() == "de"
    after = made.cut(0.5)
    assert after is not None and after.language_to_ask() == "de"


def test_how_many_words_lie_behind() -> None:
    made = window(spoken(1, 5, 18.4, 18.6, 17))
    assert [made.count_behind(behind_s) for behind_s in (0.0, 1.5, 10, 30)] == [5, 3, 2, 0]
