import pytest
import torch

from appliance.pair.dimensions import Dimensions
from appliance.speech.decoder import TextDecoder

TINY = Dimensions(
    n_mels=80, n_audio_ctx=1500, n_audio_state=128, n_audio_head=2, n_audio_layer=2,
    n_vocab=97, n_text_ctx=16, n_text_state=128, n_text_head=2, n_text_layer=2,
)  # fmt: skip


@pytest.fixture
def decoder() -> TextDecoder:
    torch.manual_seed(1)
    made = TextDecoder(TINY, [(1, 1), (0, 0), (1, 0)])
    torch.nn.init.normal_(made.positional_embedding)
    return made.eval()


@pytest.fixture
def states() -> torch.Tensor:
    return torch.randn(40, 128, generator=torch.Generator().manual_seed(2))


def test_token_by_token_equals_all_at_once(decoder: TextDecoder, states: torch.Tensor) -> None:
    tokens = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    whole, attention = decoder(tokens, decoder.start(states))
    cache = decoder.start(states)
    pieces = [decoder(part, cache) for part in (tokens[:3], tokens[3:4], tokens[4:8])]
    torch.testing.assert_close(torch.cat([logits for logits, _ in pieces]), whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.cat([weights for _, weights in pieces], 1), attention, atol=1e-5, rtol=1e-4)


def test_a_token_does_not_see_those_after_it(decoder: TextDecoder, states: torch.Tensor) -> None:
    one, _ = decoder(torch.tensor([3, 1, 4]), decoder.start(states))
    other, _ = decoder(torch.tensor([3, 1, 90]), decoder.start(states))
    torch.testing.assert_close(one[:2], other[:2])
    assert not torch.allclose(one[2], other[2])


def test_attention_rows_are_weights_over_the_frames(decoder: TextDecoder, states: torch.Tensor) -> None:
    _, attention = decoder(torch.tensor([3, 1, 4]), decoder.start(states))
    assert attention.shape == (3, 3, 40)
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, 3))


def test_only_the_wanted_rows_are_projected(decoder: TextDecoder, states: torch.Tensor) -> None:
    tokens = torch.tensor([3, 1, 4])
    whole, _ = decoder(tokens, decoder.start(states))
    last, attention = decoder(tokens, decoder.start(states), slice(-1, None))
    torch.testing.assert_close(last, whole[-1:])
    assert attention.shape[1] == 3


def test_more_tokens_than_the_context_are_refused(decoder: TextDecoder, states: torch.Tensor) -> None:
    cache = decoder.start(states)
    decoder(torch.zeros(16, dtype=torch.long), cache)
    with pytest.raises(ValueError, match="17 tokens"):
        decoder(torch.zeros(1, dtype=torch.long), cache)
