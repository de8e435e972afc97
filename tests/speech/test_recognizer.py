"""Passes of the real `base` over real speech: what the words are does not hang on how they were come by."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from appliance.manifest import Manifest
from appliance.pair.decoder_weights import load_decoder_weights
from appliance.pair.locate import Pair
from appliance.speech.audio.file import decode_file
from appliance.speech.beam import Beam, beam_search
from appliance.speech.ct2_recognizer import Ct2Recognizer
from appliance.speech.decoder import DecoderCache, Row, Step, TextDecoder
from appliance.speech.hypothesis import FRAME_SAMPLES, FULL_WINDOW_SAMPLES, End, Hypothesis, Request
from appliance.speech.linear import int8_available
from appliance.speech.recognizer import Recognizer
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.speech.window_pass import LIKELY
from appliance.store import Store
from tests.conftest import fetched

pytestmark = pytest.mark.model

CONTEXT = "His will was read, and like almost every other will gave as much disappointment as pleasure."


def final(window: Samples, seconds: int = 12) -> Request:
    return Request(window, seconds * SAMPLE_RATE_HZ, language="en", is_final=True)


def ids(hypothesis: Hypothesis) -> tuple[int, ...]:
    return tuple(token.id for token in hypothesis.tokens)


def one(recognizer: Recognizer | Ct2Recognizer, request: Request) -> Hypothesis:
    [found] = recognizer.recognize([request])
    return found


def drafts(right: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    middle = len(right) // 2
    return {
        "right": right,
        "its beginning": right[:3],
        "wrong in the middle": (*right[:middle], 500, *right[middle + 1 :]),
        "wrong from the first token on": tuple(range(1000, 1000 + len(right))),
        "too long": (*right, 300, 301, 302),
        "far too long": right * 20,
    }


@pytest.fixture(scope="module")
def rounded(recognizer: Recognizer, base_pair: Pair) -> Recognizer:
    """The same with the decoder that serves."""
    weights = load_decoder_weights(base_pair)
    decoder = TextDecoder(base_pair.dimensions, base_pair.alignment_heads, weights, precision="int8")
    return Recognizer(recognizer.encoder, decoder, recognizer.codec)


def test_a_draft_changes_nothing_but_the_work(recognizer: Recognizer, speech: list[Samples]) -> None:
    for window in speech[:3]:
        request = final(window)
        plain = one(recognizer, request)
        assert len(plain.tokens) > 5
        for name, draft in drafts(ids(plain)).items():
            drafted = one(recognizer, replace(request, draft=draft))
            assert (ids(drafted), drafted.end) == (ids(plain), plain.end), name
            for first, second in zip(plain.tokens, drafted.tokens, strict=True):
                assert first.probability == pytest.approx(second.probability, abs=1e-3)


def test_a_draft_saves_steps(recognizer: Recognizer, speech: list[Samples], monkeypatch: pytest.MonkeyPatch) -> None:
    request = final(speech[0])
    rows = watched(recognizer, monkeypatch)
    plain = one(recognizer, request)
    assert len(rows) == len(plain.tokens) + 1
    rows.clear()
    one(recognizer, replace(request, draft=ids(plain)))
    assert len(rows) == 1


def test_passes_decoded_together_find_what_each_finds_alone(recognizer: Recognizer, speech: list[Samples]) -> None:
    """Of different lengths, languages to choose, drafts and ends."""
    requests = [final(window) for window in speech[:3]]
    requests.append(replace(requests[0], language=None, is_final=False, window=speech[0][:40_000]))
    requests.append(replace(requests[1], draft=ids(one(recognizer, requests[1]))))
    together = recognizer.recognize(requests)
    for request, found in zip(requests, together, strict=True):
        alone = one(recognizer, request)
        assert (ids(found), found.end, found.language) == (ids(alone), alone.end, alone.language)


@pytest.mark.skipif(not int8_available(), reason="this PyTorch has no int8 kernels for this CPU")
def test_int8_finds_nearly_the_same(recognizer: Recognizer, rounded: Recognizer, speech: list[Samples]) -> None:
    same = total = 0
    for window in speech:
        exact, close = ids(one(recognizer, final(window))), ids(one(rounded, final(window)))
        same += len(set(exact) & set(close))
        total += len(set(exact))
    assert same > 0.85 * total


def test_a_margin_keeps_a_draft_that_is_nearly_as_likely(recognizer: Recognizer, speech: list[Samples]) -> None:
    request = final(speech[0])
    right = ids(one(recognizer, request))
    wrong = (*right[:4], 500, *right[5:])
    kept = replace(request, draft=wrong, firm=len(wrong), margin=1000.0)
    assert ids(one(recognizer, kept)) == wrong
    assert ids(one(recognizer, replace(kept, firm=4))) == right, "only what is firm is kept"
    assert ids(one(recognizer, replace(kept, margin=0.01))) == right


def test_a_search_that_begins_in_doubt_loses_no_sentence(
    recognizer: Recognizer, manifest: Manifest, store: Store
) -> None:
    """The same was said before, so the first token has a dozen rivals that would end after a word or two."""
    said = np.concatenate(list(decode_file(fetched(manifest.recording("es-pangrama"), store))))
    before = recognizer.codec.encode(" el veloz murciélago indúcomia feliz cardillo y kiwi con la mundo")
    for lead in (800, 2400, 4000):
        window = np.pad(said, (lead, 4800))
        request = replace(final(window), language="es", context=before, beam=5)
        words = recognizer.codec.words(ids(one(recognizer, request)), "es")
        assert len(words) >= 7, (lead, words)


def test_text_runs_to_the_edge_only_when_no_audio_follows(recognizer: Recognizer, speech: list[Samples]) -> None:
    window = speech[0][: 3 * SAMPLE_RATE_HZ]
    open_end = one(recognizer, replace(final(window, 6), is_final=False))
    assert open_end.end is End.AUDIO
    assert len(open_end.tokens) < len(one(recognizer, final(window, 6)).tokens)


def test_a_final_pass_that_went_astray_is_made_again_over_thirty_seconds(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise leads decoding astray soon; which noise does is not known beforehand, so some are tried."""
    asked: list[list[tuple[int, End]]] = []
    make = recognizer._recognize

    def watch(requests: Sequence[Request]) -> list[Hypothesis]:
        found = make(requests)
        asked.append([(each.padded_samples, one.end) for each, one in zip(requests, found, strict=True)])
        return found

    monkeypatch.setattr(recognizer, "_recognize", watch)
    short = 5 * SAMPLE_RATE_HZ
    noises = [
        np.random.default_rng(seed).normal(0, level, 4 * SAMPLE_RATE_HZ).astype(np.float32)
        for seed in range(3)
        for level in (0.001, 0.01, 0.2)
    ]
    found = recognizer.recognize([Request(noise, short, language="en", is_final=True) for noise in noises])
    first, *again = asked
    astray = [end for padded, end in first if end is not End.TEXT]
    assert {padded for padded, _ in first} == {short} and astray
    assert [len(second) for second in again] == [len(astray)]
    assert {padded for padded, _ in again[0]} == {FULL_WINDOW_SAMPLES}
    assert len(found) == len(noises)
    asked.clear()
    recognizer.recognize([Request(noise, short, language="en") for noise in noises])
    assert len(asked) == 1, "a step is not made again: the next one comes anyway"


def test_a_committed_word_is_never_lengthened(recognizer: Recognizer, speech: list[Samples]) -> None:
    """What was committed as a word stays one, also where the model now hears more of it."""
    request = final(speech[2])
    right = ids(one(recognizer, request))
    continuations = set(recognizer.codec.continuations)
    inside = [count for count in range(1, len(right)) if right[count] in continuations]
    assert inside, "a word of several tokens"
    for count in inside:
        found = one(recognizer, replace(request, prefix=right[:count]))
        assert found.tokens and found.tokens[0].id not in continuations


def test_where_words_have_no_spaces_any_token_may_follow(recognizer: Recognizer, speech: list[Samples]) -> None:
    request = final(speech[2])
    right = ids(one(recognizer, request))
    inside = next(count for count in range(1, len(right)) if right[count] in recognizer.codec.continuations)
    found = one(recognizer, replace(request, prefix=right[:inside], language="zh"))
    assert found.tokens[0].id in recognizer.codec.continuations


@pytest.mark.parametrize("beam", [1, 5])
def test_text_goes_on_after_the_prefix(recognizer: Recognizer, speech: list[Samples], beam: int) -> None:
    request = replace(final(speech[0]), beam=beam)
    right = ids(one(recognizer, request))
    for count in (4, 9):
        for context in ((), recognizer.codec.encode(CONTEXT)):
            found = one(recognizer, replace(request, prefix=right[:count], context=context))
            assert (*right[:count], *ids(found)) == right


def test_a_search_begins_where_the_text_is_not_likely(
    recognizer: Recognizer, speech: list[Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it finds is likelier per token, is timed like any text, and what stood before it stays."""
    starts: list[int] = []

    def watch(decoder: TextDecoder, start: Beam, **options: Any) -> tuple[int, ...]:
        starts.append(start.cache.tokens)
        return beam_search(decoder, start, **options)

    monkeypatch.setattr("appliance.speech.window_pass.beam_search", watch)
    changed = 0
    prompt = 1 + len(recognizer.codec.after_sot("en"))
    for window in speech[:4]:
        for seconds in (1.3, 2, 4, 7):
            request = final(window[: round(seconds * SAMPLE_RATE_HZ)])
            greedy = one(recognizer, request)
            assert not starts
            searched = one(recognizer, replace(request, beam=5))
            assert greedy.end is searched.end is End.TEXT
            certain = [token.probability >= LIKELY for token in greedy.tokens]
            first = (*certain, False).index(False)
            assert starts == [prompt + first - 1] or (starts == [] and all(certain))
            assert ids(searched)[:first] == ids(greedy)[:first]
            assert max(token.frame for token in searched.tokens) <= len(request.window) // FRAME_SAMPLES
            changed += ids(searched) != ids(greedy)
            starts.clear()
    assert changed


def test_agreement_goes_on_after_the_prefix_too(recognizer: Recognizer, speech: list[Samples]) -> None:
    by_search = Ct2Recognizer(recognizer.encoder, recognizer.codec)
    request = final(speech[0])
    whole = one(by_search, request)
    right = ids(whole)
    assert whole.end is End.TEXT and len(right) > 15
    frames = [token.frame for token in whole.tokens]
    assert frames == sorted(frames) and frames[-1] <= len(speech[0]) // 320
    for count in (4, 9):
        found = one(by_search, replace(request, prefix=right[:count]))
        assert (*right[:count], *ids(found)) == right
        assert all(abs(token.frame - frame) <= 5 for token, frame in zip(found.tokens, frames[count:], strict=True))


def test_the_language_is_chosen_among_those_allowed(recognizer: Recognizer, speech: list[Samples]) -> None:
    request = replace(final(speech[0]), language=None)
    by_search = Ct2Recognizer(recognizer.encoder, recognizer.codec)
    for each in (recognizer, by_search):
        free = one(each, request)
        assert free.language == "en" and free.language_probability > 0.9
        assert one(each, replace(request, languages=("de", "fr"))).language in ("de", "fr")
        assert one(each, replace(request, languages=("de",))).language_probability == pytest.approx(1.0)


def watched(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The rows that the decoder is given from now on, with their tokens as they were."""
    rows: list[Row] = []
    step = recognizer.decoder.step

    def watch(given: Sequence[Row]) -> list[Step]:
        rows.extend(Row(DecoderCache([]), list(row.tokens), list(row.project)) for row in given)
        return step(given)

    monkeypatch.setattr(recognizer.decoder, "step", watch)
    return rows


@pytest.mark.parametrize("language", ["en", None])
@pytest.mark.parametrize("context", ["", CONTEXT])
def test_no_speech_is_read_at_the_start_of_the_transcript(
    recognizer: Recognizer, speech: list[Samples], monkeypatch: pytest.MonkeyPatch, language: str | None, context: str
) -> None:
    rows = watched(recognizer, monkeypatch)
    codec = recognizer.codec
    noise = np.random.default_rng(0).normal(0, 1e-3, 3 * SAMPLE_RATE_HZ).astype(np.float32)
    found = []
    for window in (noise, speech[2]):
        rows.clear()
        request = replace(final(window, 8), language=language, context=codec.encode(context) if context else ())
        found.append(one(recognizer, request).no_speech_probability)
        assert rows[0].tokens[rows[0].project[0]] == codec.sot
    assert found[0] > 0.6 and found[1] < 0.1


def test_an_echo_of_the_context_is_heard_again_without_it(
    recognizer: Recognizer, speech: list[Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who does say something twice is still understood."""
    rows = watched(recognizer, monkeypatch)
    request = final(speech[0])
    once = one(recognizer, request)
    echo, other = replace(request, context=ids(once)), replace(request, context=recognizer.codec.encode(CONTEXT))
    for asked, begins in ((other, 1), (echo, 2)):
        rows.clear()
        found = one(recognizer, asked)
        assert ids(found) == ids(once)
        assert sum(recognizer.codec.sot in row.tokens for row in rows) == begins
    assert found == once, "the context had no part in it"


def test_no_more_tokens_than_fit(recognizer: Recognizer, speech: list[Samples]) -> None:
    """A long context and a long prefix leave room for what there is room for."""
    context = recognizer.codec.encode(CONTEXT * 20)
    request = replace(final(speech[0], 30), context=context, prefix=context[:330])
    assert len(one(recognizer, request).tokens) < recognizer.decoder.dimensions.n_text_ctx - 430
