"""What a stream asks of its passes, language and prompt among it, and what it does not believe."""

from dataclasses import replace

import numpy as np
import pytest

from appliance.speech.commit import Doubt, Rule
from appliance.speech.hypothesis import (
    CONTEXT_TOKENS,
    FRAME_SAMPLES,
    FULL_WINDOW_SAMPLES,
    End,
    Hypothesis,
    Request,
    Token,
)
from appliance.speech.language import DOUBTFUL_S
from appliance.speech.profile import padded
from appliance.speech.session import MAX_PROMPT_TOKENS, STEP_CONTEXT_TOKENS, StreamOptions
from appliance.speech.types import Samples, Snapshot
from tests.speech.doubles import PLAIN, UNIT, Recognizer, options, said, session, silence, speech, stream, turn


class Guesses(Recognizer):
    """Takes the first words for Dutch while there is nothing else, and later ones for German and French."""

    def _hear(self, request: Request) -> Hypothesis:
        found = super()._hear(request)
        if request.language is not None:
            return found
        first = found.tokens[0].id if found.tokens else 0
        language = "nl" if len(found.tokens) < 2 else "de" if first < 4 else "fr"
        return replace(found, language=language, language_probability=0.9)


def test_the_language_is_asked_in_each_pass_until_a_word_is_committed_and_anew_in_each_utterance() -> None:
    recognizer = Guesses()
    one = session(StreamOptions(profile=replace(PLAIN, rules=())))
    audio = np.concatenate([speech(1, 3), silence(1.0), speech(4, 3), silence(1.0)])
    last = stream(one, recognizer, audio)[-1]
    assert {request.language for request in recognizer.requests} == {None}
    before = [request.previous_language for request in recognizer.requests]
    assert before == sorted(before, key=lambda code: code is not None)
    assert set(before) == {None, "de"}
    assert [line.language for line in last.lines] == ["de", "fr"]


def test_the_language_stays_open_no_longer_than_to_the_first_committed_word() -> None:
    recognizer = Guesses()
    stream(session(StreamOptions(profile=PLAIN)), recognizer, speech(1, 100))
    asked = [request.language for request in recognizer.requests]
    assert asked[0] is None and asked[-1] == "de"
    assert asked == sorted(asked, key=lambda code: code is not None)


@pytest.mark.parametrize(("doubt", "first_s"), [(0.31, DOUBTFUL_S), (0.29, 0.0)])
def test_no_word_is_sure_in_a_doubtful_language_until_much_was_heard(doubt: float, first_s: float) -> None:
    class Doubts(Recognizer):
        def _hear(self, request: Request) -> Hypothesis:
            return replace(super()._hear(request), language_probability=1 - doubt)

    one, recognizer = session(StreamOptions(profile=PLAIN)), Doubts()
    states = stream(one, recognizer, speech(1, 100))
    first = next(state for state in states if any(line.text for line in state.lines))
    assert first_s <= first.decided_s <= first_s + 2
    assert any(state.tentative for state in states[: states.index(first)])


def test_a_set_language_holds_from_the_next_utterance_on() -> None:
    one, recognizer = session(options()), Recognizer()
    one.feed(speech(1, 4))
    turn(one, recognizer)
    one.set_language("de")
    one.feed(np.concatenate([speech(5, 4), silence(1.0), speech(9, 4)]))
    turn(one, recognizer)
    one.finish()
    turn(one, recognizer)
    last = one.snapshot()
    assert last is not None
    assert [line.language for line in last.lines] == ["en", "de"]


def contexts(recognizer: Recognizer, first: int) -> set[tuple[int, ...]]:
    """The contexts of the passes over the utterance that begins with this word."""
    begun = next(i for i, request in enumerate(recognizer.requests) if round(request.window.max() / UNIT) >= first)
    return {request.context for request in recognizer.requests[begun:]}


def test_what_was_said_is_context_after_a_pause() -> None:
    recognizer = Recognizer()
    one = session(StreamOptions(language="en", profile=PLAIN, prompt="5000"))
    stream(one, recognizer, np.concatenate([speech(1, 4), silence(1.0), speech(5, 3), silence(9.0), speech(8, 2)]))
    assert contexts(recognizer, 1) == {(5000,), (5000, *range(1, 5)), (5000, *range(1, 8))}
    assert contexts(recognizer, 8) == {(5000, *range(1, 8))}


def test_context_over_pauses_is_bounded_and_shorter_for_passes_that_more_will_follow() -> None:
    recognizer = Recognizer()
    stream(session(options()), recognizer, np.concatenate([speech(1, 150), silence(1.0), speech(151, 9)]))
    for request in recognizer.requests:
        if round(request.window.max() / UNIT) > 150:
            length = CONTEXT_TOKENS if request.is_final else STEP_CONTEXT_TOKENS
            assert request.context == tuple(range(151 - length, 151))
    assert {len(context) for context in contexts(recognizer, 151)} == {STEP_CONTEXT_TOKENS, CONTEXT_TOKENS}


def test_an_utterance_whose_language_is_open_has_no_context() -> None:
    """It would draw the choice to the language of what was said before."""
    recognizer = Recognizer()
    one = session(StreamOptions(profile=PLAIN))
    stream(one, recognizer, np.concatenate([speech(1, 4), silence(1.0), speech(5, 4)]))
    assert {request.context for request in recognizer.requests} == {()}


def test_another_language_begins_without_context() -> None:
    one, recognizer = session(options()), Recognizer()
    one.feed(np.concatenate([speech(1, 4), silence(1.0), speech(5, 4)]))
    turn(one, recognizer)
    one.set_language("de")
    one.feed(np.concatenate([silence(1.0), speech(9, 4), silence(1.0), speech(13, 4), silence(1.0)]))
    turn(one, recognizer)
    assert contexts(recognizer, 5) == {(1, 2, 3, 4), (), (9, 10, 11, 12)}
    assert contexts(recognizer, 9) == {(), (9, 10, 11, 12)}
    assert contexts(recognizer, 13) == {(9, 10, 11, 12)}


def test_the_prompt_stands_before_every_window_and_is_bounded() -> None:
    prompt = " ".join(str(number) for number in range(5000, 5000 + 2 * MAX_PROMPT_TOKENS))
    recognizer = Recognizer()
    one = session(StreamOptions(language="en", prompt=prompt, profile=PLAIN))
    stream(one, recognizer, np.concatenate([speech(1, 100), silence(1.0), speech(101, 3)]))
    wanted = tuple(range(5000, 5000 + MAX_PROMPT_TOKENS))
    assert all(request.context[:MAX_PROMPT_TOKENS] == wanted for request in recognizer.requests)
    assert any(len(request.context) > MAX_PROMPT_TOKENS for request in recognizer.requests)


def test_passes_are_padded_as_the_profile_says() -> None:
    recognizer = Recognizer()
    stream(session(options(padded(PLAIN))), recognizer, speech(1, 30))
    assert {request.padded_samples for request in recognizer.requests} == {FULL_WINDOW_SAMPLES}
    recognizer = Recognizer()
    stream(session(options()), recognizer, speech(1, 30))
    for request in recognizer.requests:
        padding = PLAIN.end_padding if request.is_final else PLAIN.step_padding
        assert request.padded_samples == padding.length(len(request.window))


class Unsure(Recognizer):
    """Finds the fifth word unlikely, and hears it as another one unless it searches."""

    def _hear(self, request: Request) -> Hypothesis:
        found = super()._hear(request)
        tokens = [self._doubt(token) if token.id == 5 and request.beam == 1 else token for token in found.tokens]
        return replace(found, tokens=tuple(tokens))

    @staticmethod
    def _doubt(token: Token) -> Token:
        return replace(token, id=55, probability=0.2)


def open_states(states: list[Snapshot]) -> list[Snapshot]:
    """Those in which more was to come."""
    return [state for state in states if state.tentative]


def test_a_word_in_doubt_is_searched_once_and_committed() -> None:
    """With rules that would never commit it, while speech goes on."""
    profile = replace(PLAIN, rules=(Rule(2, 0.6, 0.5),), doubt=Doubt(2, 0.6, 0.5), beam=3)
    recognizer = Unsure()
    states = stream(session(options(profile)), recognizer, speech(1, 20))
    searched = [request for request in recognizer.requests if request.beam > 1 and not request.is_final]
    assert [request.beam for request in searched] == [3]
    assert searched[0].padded_samples == PLAIN.step_padding.length(len(searched[0].window))
    assert said(open_states(states)[-1])[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    without = stream(session(options(replace(profile, doubt=None))), Unsure(), speech(1, 20))
    assert said(open_states(without)[-1]) == [1, 2, 3, 4]


class Doubtful(Recognizer):
    """Hears the same unlikely word in everything, and says how likely there was no speech."""

    def __init__(self, no_speech: float, probability: float, end: End = End.TEXT) -> None:
        super().__init__()
        self._answer = (no_speech, probability, end)

    def _hear(self, request: Request) -> Hypothesis:
        no_speech, probability, end = self._answer
        frame = len(request.window) // FRAME_SAMPLES // 2
        return Hypothesis((Token(7, probability, frame),), end, "en", 1.0, no_speech)


@pytest.mark.parametrize(
    ("no_speech", "probability", "end", "expected"),
    [
        (0.9, 0.2, End.TEXT, []),
        (0.9, 0.9, End.REPETITION, []),
        (0.9, 0.9, End.TEXT, [7]),
        (0.3, 0.2, End.TEXT, [7]),
        (0.3, 0.2, End.REPETITION, [7]),
    ],
)
def test_unlikely_text_where_no_speech_is_likely_is_dropped(
    no_speech: float, probability: float, end: End, expected: list[int]
) -> None:
    noise: Samples = np.concatenate([speech(1, 2), silence(1.0)])
    last = stream(session(options()), Doubtful(no_speech, probability, end), noise)[-1]
    assert said(last) == expected
