"""Beam search: several hypotheses of one window followed at once, for what is final and for words in doubt.

Method: Sutskever et al., "Sequence to Sequence Learning with Neural Networks" (2014). Whisper's reference goes on until
as many hypotheses have ended as were followed, and takes the one likeliest per token. But where the first token is in
doubt, as many may end after a word or two, and all that was said would be lost. The reference takes such a text for a
failure; here, as long as all that have ended are `UNLIKELY`, a likelier one is followed on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from appliance.speech.decoder import DecoderCache, Row, TextDecoder
from appliance.speech.hypothesis import UNLIKELY


@dataclass(frozen=True, slots=True)
class Beam:
    """A hypothesis so far: ``last`` comes after what is in ``cache``, which belongs to it.

    ``score``: natural logarithm of the probability of the ``tokens`` found.
    """

    cache: DecoderCache
    last: Sequence[int]
    score: float = 0.0
    tokens: tuple[int, ...] = ()


def beam_search(
    decoder: TextDecoder,
    start: Beam,
    *,
    width: int,
    limit: int,
    end: int,
    suppressed: Tensor,
    forbidden_first: Tensor,
) -> tuple[int, ...]:
    """The text that follows ``start``.

    Args:
        width: hypotheses followed at once.
        limit: the most tokens.
        end: the token that ends a text; not part of it.
        suppressed, forbidden_first: numbers of the tokens that never come, and of those that do not come first.

    Returns:
        The likeliest per token of those that ended, else of those that had not when ``limit`` was reached.
    """
    beams = [start]  # the likeliest first
    ended: list[tuple[float, tuple[int, ...]]] = []
    for count in range(limit):
        rows = [Row(beam.cache, beam.last, [len(beam.last) - 1]) for beam in beams]
        logits = torch.cat([step.logits for step in decoder.step(rows)])
        logits.index_fill_(1, suppressed, -torch.inf)
        if count == 0:
            logits.index_fill_(1, forbidden_first, -torch.inf)
        before = torch.tensor([[beam.score] for beam in beams], device=logits.device)
        best = (logits.log_softmax(-1) + before).flatten().topk(2 * width)
        beams, parents = [], beams
        for rank, (score, place) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            parent, token = parents[place // logits.shape[1]], place % logits.shape[1]
            if token == end and rank < width:
                ended.append((score / (len(parent.tokens) + 1), parent.tokens))
            elif token != end and len(beams) < width and score > -math.inf:
                beams.append(Beam(parent.cache.fork(), [token], score, (*parent.tokens, token)))
        if not beams or (len(ended) >= width and max(ended)[0] >= min(UNLIKELY, beams[0].score / (count + 1))):
            break
    if ended:
        return max(ended)[1]
    return beams[0].tokens if beams else ()
