"""The Whisper text decoder in PyTorch, with the cross-attention of the alignment heads kept.

Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
CTranslate2 hides its attention; the streaming policy needs it at every token.

Rows of several passes are decoded together: the weights are read once for all of them, which on a CPU is
most of a step. Each row keeps its own cache and its own attention, so rows may differ in length, come and go.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from appliance.pair.dimensions import Dimensions
from appliance.speech.linear import Linear, Precision, float_linear, int8_linear, int8_rows

Cross = list[tuple[Tensor, Tensor]]
"""Per layer the keys and values of a window's encoder states, each ``[heads, frames, width]``."""


@dataclass(slots=True)
class DecoderCache:
    """What one row remembers between steps; belongs to one thread at a time.

    ``own``: per layer the keys and values of the tokens so far, each ``[heads, tokens, width]``.
    """

    cross: Cross
    own: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    tokens: int = 0

    def fork(self) -> "DecoderCache":
        """One that goes on from here by itself; what there is so far is shared."""
        return DecoderCache(self.cross, list(self.own), self.tokens)

    def truncate(self, tokens: int) -> None:
        """Forget all but the first ``tokens`` tokens."""
        if tokens < self.tokens:
            self.own = [(keys[:, :tokens], values[:, :tokens]) for keys, values in self.own]
            self.tokens = tokens


@dataclass(frozen=True, slots=True)
class Row:
    """What one pass adds in a step.

    ``tokens``: those after the cached ones. ``project``: which of them (by position in ``tokens``) to project
    onto the vocabulary, the costliest product.
    """

    cache: DecoderCache
    tokens: Sequence[int]
    project: Sequence[int]


@dataclass(frozen=True, slots=True)
class Step:
    """What a row gets back.

    ``logits``: float32 ``[projected, vocabulary]``. ``attention``: the alignment heads' cross-attention
    weights, float32 ``[heads, tokens, frames]``, in (layer, head) order.
    """

    logits: Tensor
    attention: Tensor


class TextDecoder:
    """The decoder half of a pair; read-only after loading, so any number of threads may share it."""

    def __init__(
        self,
        dimensions: Dimensions,
        alignment_heads: Sequence[tuple[int, int]],
        weights: Mapping[str, Tensor],
        *,
        device: str = "cpu",
        precision: Precision = "float32",
    ) -> None:
        """Take over the weights of a pair.

        Args:
            weights: by the reference checkpoint's names without ``decoder.``, any float type, on the CPU.
            precision: of the products; int8 is for the CPU.
        """
        self.dimensions = dimensions
        self.device = torch.device(device)
        self._dtype = torch.float16 if precision == "float16" else torch.float32
        self._heads = dimensions.n_text_head
        scale = (dimensions.n_text_state // dimensions.n_text_head) ** -0.5
        make = _Maker(weights, self.device, self._dtype, is_int8=precision == "int8", scale=scale)
        wanted: list[list[int]] = [[] for _ in range(dimensions.n_text_layer)]
        for layer, head in sorted(alignment_heads):
            wanted[layer].append(head)
        self.alignment_heads = len(alignment_heads)
        self._layers = [_Layer(make, f"blocks.{index}.", wanted[index]) for index in range(dimensions.n_text_layer)]
        self._cross = make.cross(dimensions.n_text_layer)
        self._norm = make.norm("ln")
        self._embedding = make.rows("token_embedding.weight")
        self._positions = make.tensor("positional_embedding")
        self._vocabulary = make.linear("token_embedding")

    @torch.inference_mode()
    def start(self, states: Sequence[Tensor]) -> list[DecoderCache]:
        """Begin rows over encoder states, each ``[frames, state]`` (50 frames a second), any float type."""
        joined = torch.cat([rows.to(self.device, self._dtype) for rows in states])
        caches = [DecoderCache(cross=[]) for _ in states]
        lengths = [rows.shape[0] for rows in states]
        for project in self._cross:
            mixed = project(joined).view(joined.shape[0], 2, self._heads, -1).permute(1, 2, 0, 3)
            for cache, part in zip(caches, mixed.split_with_sizes(lengths, 2), strict=True):
                keys, values = part.contiguous()
                cache.cross.append((keys, values))
        return caches

    @torch.inference_mode()
    def step(self, rows: Sequence[Row]) -> list[Step]:
        """Decode tokens of several rows at once, each after those already in its cache.

        Raises:
            ValueError: a row has more tokens than the model's text context holds.
        """
        counts = [len(row.tokens) for row in rows]
        ids = torch.tensor([token for row in rows for token in row.tokens], device=self.device)
        x = self._embedding(ids) + torch.cat([self._positions_of(row) for row in rows])
        # Rows of one window attend to it together: its keys and values are much to read.
        groups = [list(same) for _, same in itertools.groupby(rows, lambda row: id(row.cache.cross))]
        sizes = [[len(row.tokens) for row in group] for group in groups]
        windows = [group[0].cache.cross for group in groups]
        attention: list[list[Tensor]] = [[] for _ in groups]
        for index, layer in enumerate(self._layers):
            x = layer.attend_own(x, rows, counts, index)
            x = layer.attend_cross(x, windows, [sum(of_rows) for of_rows in sizes], index, attention)
            x = x + layer.feed_forward(x)
        for row, count in zip(rows, counts, strict=True):
            row.cache.tokens += count
        starts = [sum(counts[:index]) for index in range(len(rows))]
        projected = [start + position for row, start in zip(rows, starts, strict=True) for position in row.project]
        logits = self._vocabulary(self._norm(x[projected])).float()
        parts = logits.split_with_sizes([len(row.project) for row in rows])
        heads = [
            part
            for kept, of_rows in zip(attention, sizes, strict=True)
            for part in torch.cat(kept).split_with_sizes(of_rows, 1)
        ]
        return [Step(*both) for both in zip(parts, heads, strict=True)]

    def _positions_of(self, row: Row) -> Tensor:
        first, last = row.cache.tokens, row.cache.tokens + len(row.tokens)
        if last > self.dimensions.n_text_ctx:
            raise ValueError(f"{last} tokens do not fit the text context of {self.dimensions.n_text_ctx}")
        return self._positions[first:last]


class _Maker:
    """Weights by name, in the form the decoder computes with."""

    def __init__(
        self, weights: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype, *, is_int8: bool, scale: float
    ) -> None:
        self._weights = weights
        self._device = device
        self._dtype = dtype
        self._is_int8 = is_int8
        self._scale = scale

    def tensor(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        return self._weights[name].to(self._device, dtype or self._dtype)

    def rows(self, name: str) -> Linear:
        """Rows of a weight by their numbers: a copy of its own, so that the file it was mapped from can go."""
        weight = self._weights[name]
        if self._is_int8:
            return int8_rows(weight)
        kept = weight.to(self._device, self._dtype, copy=True)
        return lambda ids: kept[ids]

    def linear(self, *names: str, scaled: bool = False) -> Linear:
        """One product for several that share their input; a bias that the model lacks is zero.

        ``scaled``: the first of them makes queries, which attention divides by the root of the head's width.
        """
        weights = [self._weights[f"{name}.weight"].float() for name in names]
        biases = [self._weights.get(f"{name}.bias") for name in names]
        parts = [
            torch.zeros(weight.shape[0]) if bias is None else bias.float()
            for weight, bias in zip(weights, biases, strict=True)
        ]
        if scaled:
            weights[0], parts[0] = weights[0] * self._scale, parts[0] * self._scale
        return self._finish(torch.cat(weights), None if biases == [None] else torch.cat(parts))

    def cross(self, layers: int) -> list[Linear]:
        """Per layer, encoder states to keys and values."""
        made = []
        for index in range(layers):
            name = f"blocks.{index}.cross_attn."
            weight = torch.cat([self._weights[name + part + ".weight"].float() for part in ("key", "value")])
            bias = self._weights[name + "value.bias"].float()
            made.append(self._finish(weight, torch.cat([torch.zeros_like(bias), bias]), many_rows=True))
        return made

    def norm(self, name: str) -> Linear:
        weight, bias = self.tensor(name + ".weight"), self.tensor(name + ".bias")
        return lambda x: F.layer_norm(x, weight.shape, weight, bias)

    def _finish(self, weight: Tensor, bias: Tensor | None, *, many_rows: bool = False) -> Linear:
        if self._is_int8:
            return int8_linear(weight, bias, many_rows=many_rows)
        return float_linear(
            weight.to(self._device, self._dtype), None if bias is None else bias.to(self._device, self._dtype)
        )


class _Layer:
    """One layer over the joined tokens of all rows ``[tokens, state]``; attention is done row by row."""

    def __init__(self, make: _Maker, name: str, wanted_heads: Sequence[int]) -> None:
        self._wanted = list(wanted_heads)
        self._own_norm = make.norm(name + "attn_ln")
        self._own_in = make.linear(*(f"{name}attn.{part}" for part in ("query", "key", "value")), scaled=True)
        self._own_out = make.linear(name + "attn.out")
        self._cross_norm = make.norm(name + "cross_attn_ln")
        self._cross_in = make.linear(name + "cross_attn.query", scaled=True)
        self._cross_out = make.linear(name + "cross_attn.out")
        self._mlp_norm = make.norm(name + "mlp_ln")
        self._mlp_in = make.linear(name + "mlp.0")
        self._mlp_out = make.linear(name + "mlp.2")

    def attend_own(self, x: Tensor, rows: Sequence[Row], counts: list[int], index: int) -> Tensor:
        joined = self._own_in(self._own_norm(x))
        mixed = []
        for row, part in zip(rows, joined.split_with_sizes(counts), strict=True):
            count = part.shape[0]
            heads = row.cache.cross[index][0].shape[0]
            query, keys, values = part.view(count, 3, heads, -1).permute(1, 2, 0, 3)
            if row.cache.tokens:
                past_keys, past_values = row.cache.own[index]
                keys, values = torch.cat([past_keys, keys], 1), torch.cat([past_values, values], 1)
            scores = query @ keys.transpose(1, 2)
            if count > 1:
                later = torch.ones(count, keys.shape[1], dtype=torch.bool, device=x.device).triu(row.cache.tokens + 1)
                scores.masked_fill_(later, -torch.inf)
            mixed.append((scores.softmax(-1) @ values).transpose(0, 1).flatten(1))
            row.cache.own[index : index + 1] = [(keys, values)]
        return x + self._own_out(_joined(mixed))

    def attend_cross(
        self, x: Tensor, windows: Sequence[Cross], counts: list[int], index: int, attention: list[list[Tensor]]
    ) -> Tensor:
        """Mix in the states of windows, each for its count of tokens.

        Adds the wanted heads' weights ``[wanted, tokens, frames]`` to ``attention``.
        """
        joined = self._cross_in(self._cross_norm(x))
        mixed = []
        for cross, part, kept in zip(windows, joined.split_with_sizes(counts), attention, strict=True):
            keys, values = cross[index]
            query = part.view(part.shape[0], keys.shape[0], -1).transpose(0, 1)
            weights = (query @ keys.transpose(1, 2)).softmax(-1, dtype=torch.float32)
            if self._wanted:
                kept.append(weights[self._wanted])
            mixed.append((weights.to(values.dtype) @ values).transpose(0, 1).flatten(1))
        return x + self._cross_out(_joined(mixed))

    def feed_forward(self, x: Tensor) -> Tensor:
        return self._mlp_out(F.gelu(self._mlp_in(self._mlp_norm(x))))


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
