from collections.abc import Sequence

import pytest
import torch

from appliance.speech.decoder import Row, Step, TextDecoder
from appliance.speech.linear import Precision, int8_available
from tests.pair.models import HEADS, SMALL, make_weights

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


def make(precision: Precision = "float32") -> TextDecoder:
    weights = {
        name.removeprefix("decoder."): torch.from_numpy(half)
        for name, half in make_weights(SMALL, seed=1).items()
        if name.startswith("decoder.")
    }
    return TextDecoder(SMALL, HEADS[::-1], weights, precision=precision)


@pytest.fixture(scope="module")
def decoder() -> TextDecoder:
    return make()


def states(frames: int = 40, seed: int = 2) -> torch.Tensor:
    return torch.randn(frames, SMALL.n_text_state, generator=torch.Generator().manual_seed(seed))


def decode(decoder: TextDecoder, tokens: Sequence[int], heard: torch.Tensor) -> Step:
    """All tokens at once, all of them projected."""
    [cache] = decoder.start([heard])
    [step] = decoder.step([Row(cache, tokens, range(len(tokens)))])
    return step


def same(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_token_by_token_equals_all_at_once(decoder: TextDecoder) -> None:
    whole = decode(decoder, TOKENS, states())
    [cache] = decoder.start([states()])
    pieces = []
    for part in (TOKENS[:3], TOKENS[3:4], TOKENS[4:]):
        pieces += decoder.step([Row(cache, part, range(len(part)))])
    same(torch.cat([piece.logits for piece in pieces]), whole.logits)
    same(torch.cat([piece.attention for piece in pieces], 1), whole.attention)
    assert cache.tokens == len(TOKENS)


def test_rows_of_different_lengths_equal_rows_alone(decoder: TextDecoder) -> None:
    """Other windows, other numbers of tokens, a row that joins later and one that leaves."""
    heard = [states(40, 2), states(25, 3), states(60, 4)]
    firsts, seconds = [TOKENS, TOKENS[:1], TOKENS[2:5]], [[7], [8, 9, 10], [11]]
    one, two, three = decoder.start(heard)
    first = decoder.step([Row(one, firsts[0], range(8)), Row(two, firsts[1], [0])])
    second = decoder.step([Row(two, seconds[1], range(3)), Row(three, firsts[2], range(3)), Row(one, seconds[0], [0])])
    last = decoder.step([Row(three, seconds[2], [0])])
    joined = [(first[0], second[2]), (first[1], second[0]), (second[1], last[0])]
    for index, steps in enumerate(joined):
        alone = decode(decoder, [*firsts[index], *seconds[index]], heard[index])
        same(torch.cat([step.logits for step in steps]), alone.logits)
        same(torch.cat([step.attention for step in steps], 1), alone.attention)


def test_truncating_and_going_on_equals_a_fresh_start(decoder: TextDecoder) -> None:
    [cache] = decoder.start([states()])
    decoder.step([Row(cache, [*TOKENS[:3], 90, 91, 92], [0])])
    cache.truncate(3)
    [step] = decoder.step([Row(cache, TOKENS[3:], range(5))])
    fresh = decode(decoder, TOKENS, states())
    same(step.logits, fresh.logits[3:])
    same(step.attention, fresh.attention[:, 3:])
    cache.truncate(20)
    assert cache.tokens == len(TOKENS)


def test_forks_of_a_window_equal_rows_alone(decoder: TextDecoder) -> None:
    """They go different ways, beside a row of another window, and the one forked from goes on too."""
    one, other = decoder.start([states(), states(25, 3)])
    decoder.step([Row(one, TOKENS[:3], [])])
    forks = [one.fork(), one.fork()]
    rests = [[7, 8], [9], [10, 11, 12]]
    rows = [Row(cache, rest, range(len(rest))) for cache, rest in zip([one, *forks], rests, strict=True)]
    steps = decoder.step([*rows, Row(other, TOKENS, range(8))])
    for rest, step in zip(rests, steps, strict=False):
        alone = decode(decoder, [*TOKENS[:3], *rest], states())
        same(step.logits, alone.logits[3:])
        same(step.attention, alone.attention[:, 3:])
    same(steps[-1].attention, decode(decoder, TOKENS, states(25, 3)).attention)


def test_a_token_does_not_see_those_after_it(decoder: TextDecoder) -> None:
    one, other = decode(decoder, [3, 1, 4], states()), decode(decoder, [3, 1, 90], states())
    same(one.logits[:2], other.logits[:2])
    assert not torch.allclose(one.logits[2], other.logits[2], atol=1e-2)


def test_attention_rows_are_weights_over_the_frames(decoder: TextDecoder) -> None:
    attention = decode(decoder, [3, 1, 4], states()).attention
    assert attention.shape == (len(HEADS), 3, 40)
    torch.testing.assert_close(attention.sum(-1), torch.ones(len(HEADS), 3))


def test_only_the_wanted_tokens_are_projected(decoder: TextDecoder) -> None:
    [cache] = decoder.start([states()])
    [step] = decoder.step([Row(cache, [3, 1, 4], [0, 2])])
    same(step.logits, decode(decoder, [3, 1, 4], states()).logits[[0, 2]])
    assert step.attention.shape[1] == 3


def test_more_tokens_than_the_context_are_refused(decoder: TextDecoder) -> None:
    [cache] = decoder.start([states()])
    decoder.step([Row(cache, [0] * SMALL.n_text_ctx, [0])])
    with pytest.raises(ValueError, match=f"{SMALL.n_text_ctx + 1} tokens"):
        decoder.step([Row(cache, [0], [0])])


@pytest.mark.skipif(not int8_available(), reason="this PyTorch has no int8 kernels for this CPU")
def test_int8_is_close_to_float() -> None:
    """Weights and activations of 7 bits are wrong by some 1.5 % in each of the products that follow one another."""
    exact, rounded = make(), make("int8")
    for seed in range(5):
        tokens = torch.randint(0, SMALL.n_vocab, (24,), generator=torch.Generator().manual_seed(seed)).tolist()
        one, other = decode(exact, tokens, states(seed=seed)), decode(rounded, tokens, states(seed=seed))
        assert (one.logits - other.logits).norm() < 0.1 * one.logits.norm()
        assert (one.attention - other.attention).abs().max() < 0.1 * one.attention.max()
        best = one.logits.argmax(-1)
        close = other.logits.gather(-1, best[:, None])[:, 0] >= other.logits.amax(-1) - 0.1 * one.logits.std(-1)
        assert close.float().mean() > 0.8
