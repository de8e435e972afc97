"""Beam search, against trying every text there is."""

import itertools
from collections.abc import Sequence

import pytest
import torch

from appliance.speech.beam import Beam, beam_search
from appliance.speech.decoder import DecoderCache, Row, TextDecoder
from tests.pair.models import SMALL
from tests.speech.test_decoder import decode, make, states

PROMPT = (3, 1, 4)
END = 20
TEXT = (10, 11, 12)
LIMIT = 3
NOTHING = torch.tensor([], dtype=torch.long)


@pytest.fixture(scope="module")
def decoder() -> TextDecoder:
    return make()


def all_but(*possible: int) -> torch.Tensor:
    return torch.tensor([token for token in range(SMALL.n_vocab) if token not in possible])


SUPPRESSED = all_but(*TEXT, END)


def cache_of(decoder: TextDecoder, seed: int) -> DecoderCache:
    [cache] = decoder.start([states(seed=seed)])
    decoder.step([Row(cache, PROMPT[:-1], [])])
    return cache


def search(decoder: TextDecoder, start: Beam, width: int, forbidden: torch.Tensor = NOTHING) -> tuple[int, ...]:
    return beam_search(
        decoder, start, width=width, limit=LIMIT, end=END, suppressed=SUPPRESSED, forbidden_first=forbidden
    )


def score(decoder: TextDecoder, text: Sequence[int], seed: int) -> float:
    """Natural logarithm of the probability of these tokens after the prompt, among those that may come."""
    logits = decode(decoder, [*PROMPT, *text], states(seed=seed)).logits[len(PROMPT) - 1 : -1]
    likely = logits.index_fill(1, SUPPRESSED, -torch.inf).log_softmax(-1)
    return sum(float(row[token]) for row, token in zip(likely, text, strict=True))


def texts() -> list[tuple[int, ...]]:
    return [text for length in range(LIMIT) for text in itertools.product(TEXT, repeat=length)]


@pytest.mark.parametrize("seed", range(8))
def test_a_search_wide_enough_finds_the_likeliest_text(decoder: TextDecoder, seed: int) -> None:
    def per_token(text: tuple[int, ...]) -> float:
        return score(decoder, (*text, END), seed) / (len(text) + 1)

    found = search(decoder, Beam(cache_of(decoder, seed), PROMPT[-1:]), width=27)
    assert per_token(found) == pytest.approx(max(map(per_token, texts())), abs=1e-4)


def test_a_wider_search_finds_likelier_texts_than_the_greedy_one(decoder: TextDecoder) -> None:
    def found(seed: int, width: int) -> tuple[int, ...]:
        return search(decoder, Beam(cache_of(decoder, seed), PROMPT[-1:]), width)

    pairs = [(found(seed, 1), found(seed, 5), seed) for seed in range(40)]
    gains = [
        score(decoder, (*wide, END), seed) / (len(wide) + 1) - score(decoder, (*greedy, END), seed) / (len(greedy) + 1)
        for greedy, wide, seed in pairs
        if wide != greedy and max(len(wide), len(greedy)) < LIMIT
    ]
    assert sum(gain > 0 for gain in gains) > len(gains) / 2 > 0


@pytest.mark.parametrize("width", [1, 5])
def test_what_may_not_come_does_not(decoder: TextDecoder, width: int) -> None:
    for seed in range(8):
        forbidden = torch.tensor([END, TEXT[0]])
        found = search(decoder, Beam(cache_of(decoder, seed), PROMPT[-1:]), width, forbidden)
        assert 1 <= len(found) <= LIMIT and set(found) <= set(TEXT) and found[0] != TEXT[0]


def test_a_text_that_does_not_end_is_cut_at_the_limit(decoder: TextDecoder) -> None:
    for possible, length in ((TEXT, 5), ((), 0)):
        suppressed = all_but(*possible)
        start = Beam(cache_of(decoder, 0), PROMPT[-1:])
        found = beam_search(decoder, start, width=3, limit=5, end=END, suppressed=suppressed, forbidden_first=NOTHING)
        assert len(found) == length
