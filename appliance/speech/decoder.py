"""The Whisper text decoder in PyTorch, with the cross-attention of the alignment heads kept.

Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
CTranslate2 decodes faster but hides its attention; the streaming policy needs it at every token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from appliance.pair.dimensions import Dimensions


@dataclass(slots=True)
class DecoderCache:
    """What one decoding pass remembers between calls; belongs to one thread at a time.

    ``cross``: per layer the keys and values of the encoder states, each ``[heads, frames, 64]``.
    ``own``: per layer the keys and values of the tokens so far, each ``[heads, tokens, 64]``.
    """

    cross: list[tuple[Tensor, Tensor]]
    own: list[tuple[Tensor, Tensor] | None]
    tokens: int = field(default=0)


class _Attention(nn.Module):
    def __init__(self, state: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(state, state)
        self.key = nn.Linear(state, state, bias=False)
        self.value = nn.Linear(state, state)
        self.out = nn.Linear(state, state)

    def split(self, x: Tensor) -> Tensor:
        """``[n, state]`` to ``[heads, n, head width]``."""
        return x.view(x.shape[0], self.heads, -1).transpose(0, 1)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.split(self.key(x)), self.split(self.value(x))

    def merge(self, x: Tensor) -> Tensor:
        merged: Tensor = self.out(x.transpose(0, 1).flatten(1))
        return merged


class _Block(nn.Module):
    def __init__(self, state: int, heads: int) -> None:
        super().__init__()
        self.attn = _Attention(state, heads)
        self.attn_ln = nn.LayerNorm(state)
        self.cross_attn = _Attention(state, heads)
        self.cross_attn_ln = nn.LayerNorm(state)
        self.mlp = nn.Sequential(nn.Linear(state, 4 * state), nn.GELU(), nn.Linear(4 * state, state))
        self.mlp_ln = nn.LayerNorm(state)

    def attend_own(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        normed = self.attn_ln(x)
        keys, values = self.attn.keys_values(normed)
        offset = 0
        if past is not None:
            offset = past[0].shape[1]
            keys, values = torch.cat([past[0], keys], 1), torch.cat([past[1], values], 1)
        count = x.shape[0]
        mask = None
        if count > 1:
            mask = torch.ones(count, offset + count, dtype=torch.bool, device=x.device).tril(offset)
        mixed = F.scaled_dot_product_attention(self.attn.split(self.attn.query(normed)), keys, values, attn_mask=mask)
        return x + self.attn.merge(mixed), (keys, values)

    def attend_cross(
        self, x: Tensor, keys: Tensor, values: Tensor, wanted_heads: Sequence[int]
    ) -> tuple[Tensor, Tensor | None]:
        """Mix in the encoder states; with ``wanted_heads`` also their weights ``[wanted, n, frames]`` in float32."""
        query = self.cross_attn.split(self.cross_attn.query(self.cross_attn_ln(x)))
        if not wanted_heads:
            return x + self.cross_attn.merge(F.scaled_dot_product_attention(query, keys, values)), None
        scores = query @ keys.transpose(1, 2) * query.shape[-1] ** -0.5
        weights = scores.float().softmax(-1)
        mixed = weights.to(values.dtype) @ values
        return x + self.cross_attn.merge(mixed), weights[list(wanted_heads)]


class TextDecoder(nn.Module):
    """The decoder half of a pair; read-only after loading, so any number of threads may share it.

    ``load_state_dict`` takes the keys of ``decoder.safetensors`` (the reference checkpoint's, without
    the ``decoder.`` prefix).
    """

    def __init__(self, dimensions: Dimensions, alignment_heads: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.dimensions = dimensions
        state, heads = dimensions.n_text_state, dimensions.n_text_head
        self.token_embedding = nn.Embedding(dimensions.n_vocab, state)
        self.positional_embedding = nn.Parameter(torch.empty(dimensions.n_text_ctx, state))
        self.blocks = nn.ModuleList(_Block(state, heads) for _ in range(dimensions.n_text_layer))
        self.ln = nn.LayerNorm(state)
        self.wanted_heads: list[list[int]] = [[] for _ in range(dimensions.n_text_layer)]
        for layer, head in sorted(alignment_heads):
            self.wanted_heads[layer].append(head)

    @torch.inference_mode()
    def start(self, encoder_states: Tensor) -> DecoderCache:
        """Begin a pass over ``encoder_states`` ``[frames, state]`` (50 frames a second), any float dtype."""
        states = encoder_states.to(self.positional_embedding)
        cross = []
        for block in self.blocks:
            assert isinstance(block, _Block)
            cross.append(block.cross_attn.keys_values(states))
        return DecoderCache(cross=cross, own=[None] * len(cross))

    @torch.inference_mode()
    def forward(self, tokens: Tensor, cache: DecoderCache, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Decode ``tokens`` after those already in ``cache``.

        Args:
            tokens: int64 ``[n]``.
            rows: which of the ``n`` positions to project onto the vocabulary (the costliest part).

        Returns:
            Logits float32 ``[rows, vocabulary]``, and the alignment heads' cross-attention weights
            float32 ``[heads, n, frames]``, in (layer, head) order.

        Raises:
            ValueError: more tokens than the model's text context holds.
        """
        first, last = cache.tokens, cache.tokens + tokens.shape[0]
        if last > self.dimensions.n_text_ctx:
            raise ValueError(f"{last} tokens do not fit the text context of {self.dimensions.n_text_ctx}")
        x = self.token_embedding(tokens) + self.positional_embedding[first:last]
        attention = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            x, cache.own[index] = block.attend_own(x, cache.own[index])
            x, weights = block.attend_cross(x, *cache.cross[index], self.wanted_heads[index])
            if weights is not None:
                attention.append(weights)
            x = x + block.mlp(block.mlp_ln(x))
        cache.tokens = last
        logits = F.linear(self.ln(x[rows]), self.token_embedding.weight).float()
        return logits, torch.cat(attention)
