"""Silence for hours: nothing is kept of it, nothing is made of it, and what is said afterwards is heard as ever."""

import numpy as np

from appliance.speech.transcript import RETAINED_LINES
from appliance.speech.types import SAMPLE_RATE_HZ
from tests.speech.doubles import Recognizer, options, said, session, silence, speech, turn

HOURS = 6
STEP_S = 5.0
KEPT_S = 2.0 * STEP_S
"""At most, beside what was just fed."""


def test_hours_of_silence_are_neither_kept_nor_decoded() -> None:
    one, recognizer = session(options()), Recognizer()
    states = 0
    for _ in range(round(HOURS * 3600 / STEP_S)):
        one.feed(silence(STEP_S))
        states += len(turn(one, recognizer))
        assert one._audio.size <= KEPT_S * SAMPLE_RATE_HZ and not one._inbox
    assert recognizer.requests == [] and states <= 1
    one.feed(np.concatenate([speech(1, 5), silence(1.0)]))
    last = turn(one, recognizer)[-1]
    assert said(last) == [1, 2, 3, 4, 5]
    pause, line = last.lines
    assert pause.text == "" and HOURS * 3600 <= line.start_s < HOURS * 3600 + 1


def test_a_word_now_and_then_for_hours() -> None:
    one, recognizer = session(options()), Recognizer()
    for number in range(1, HOURS * 60 + 1):
        one.feed(np.concatenate([speech(number, 1), silence(60.0)]))
        (*_, last) = turn(one, recognizer)
        assert one._audio.size <= 3 * SAMPLE_RATE_HZ and one._window is None
        assert said(last)[-1] == number
    assert len(last.lines) <= min(RETAINED_LINES, 2 * HOURS * 60)
    # A pass or a few for each word, all as short as the word: hours cost no more than what is said in them.
    assert len(recognizer.requests) <= 3 * HOURS * 60
    assert max(request.window.size for request in recognizer.requests) <= 3 * SAMPLE_RATE_HZ
