"""The token loop of one window: decode greedily from a forced prefix, stop where the audio ends.

Method: AlignAtt (see `appliance.speech.alignment`): a token is only taken while the audio it attends to is
safely inside the window; attention that jumps back, or text that repeats, ends the pass.

The text of the pass before is a *draft*: all of it is decoded in one step, and kept as far as greedy decoding
would have chosen the same tokens (speculative decoding, Leviathan et al., arXiv 2211.17192, with the last
hypothesis for the draft model). The result is that of decoding token by token; only tokens that changed cost a step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from appliance.speech.alignment import AttendedFrames
from appliance.speech.beam import Beam, beam_search
from appliance.speech.decoder import DecoderCache, Row, Step, TextDecoder
from appliance.speech.hypothesis import (
    CONTEXT_TOKENS,
    FRAME_SAMPLES,
    FRAMES_PER_S,
    End,
    Hypothesis,
    Request,
    Token,
    token_budget,
)
from appliance.speech.language import choose
from appliance.speech.loops import repeated_tail
from appliance.speech.text import TextCodec

EDGE_FRAMES = FRAMES_PER_S // 4
"""While more audio is to come, tokens that attend to the last 0.25 s are not taken."""

REWIND_FRAMES = 2 * FRAMES_PER_S
"""A token that attends this far (2 s) before both tokens in front of it ends the pass. Before one only, it
is as likely that one that strayed: speech says the same words again ("It was here that ... It was here that ...")."""

LIKELY = 0.7
"""A search begins at the first token less probable than this: before it, it would find the same."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The codec, and what of it is looked up in every step, on the decoder's device.

    Of token ids, in int64: ``suppressed``, those that never come; ``blank``, what may not come first;
    ``continuations``, what goes on with a word; ``language_tokens``, what names a language (of ``language_codes``).
    """

    codec: TextCodec
    suppressed: Tensor
    blank: Tensor
    continuations: Tensor
    nothing: Tensor
    language_codes: tuple[str, ...]
    language_tokens: Tensor

    @classmethod
    def of(cls, codec: TextCodec, decoder: TextDecoder) -> Self:
        device = decoder.device
        return cls(
            codec=codec,
            suppressed=torch.tensor(codec.suppressed, device=device),
            blank=torch.tensor(codec.blank, device=device),
            continuations=torch.tensor(sorted(codec.continuations), device=device),
            nothing=torch.tensor([], dtype=torch.long, device=device),
            language_codes=tuple(codec.language_tokens),
            language_tokens=torch.tensor(list(codec.language_tokens.values()), device=device),
        )


class WindowPass:
    """The token loop of one window: `row` says what to decode next, `take` what came of it."""

    def __init__(self, decoder: TextDecoder, vocabulary: Vocabulary, request: Request, cache: DecoderCache) -> None:
        self._decoder = decoder
        self._vocabulary = vocabulary
        self._request = request
        self._cache = cache
        frames = min(cache.cross[0][0].shape[1], -(-len(request.window) // FRAME_SAMPLES))
        self._limit_frame = frames if request.is_final else frames - EDGE_FRAMES
        self._attended = AttendedFrames(frames)
        codec = vocabulary.codec
        context = request.context[-CONTEXT_TOKENS:]
        self._before = [codec.sot_prev, *context, codec.sot] if context else [codec.sot]
        used = len(self._before) + len(request.prefix) + 8
        budget = token_budget(frames)
        self._max_tokens = max(0, min(budget, decoder.dimensions.n_text_ctx - used))
        self._draft = list(request.draft[: self._max_tokens])
        self._language = request.language
        self._language_probability = 1.0
        self._no_speech = 0.0
        self._asks_language = request.language is None
        self._knows_start = False
        self._tokens: list[Token] = []
        self._next: list[int] = []
        self._end = End.TEXT
        self._ends_word = False
        self._prompt: list[int] = []
        self._sure = 0
        """How many tokens at the front were likely enough to need no search, the end counted."""

    def row(self) -> Row:
        if self._asks_language:
            return Row(self._cache, self._before, [len(self._before) - 1])
        if not self._tokens:
            return self._first_row()
        return Row(self._cache, self._next, [0])

    def _first_row(self) -> Row:
        assert self._language is not None
        after = self._vocabulary.codec.after_sot(self._language, self._request.task)
        self._prompt = [*self._before, *after, *self._request.prefix]
        tokens = [*self._prompt, *self._draft]
        project = list(range(len(self._prompt) - 1, len(tokens)))
        if not self._knows_start:
            return Row(self._cache, tokens, [len(self._before) - 1, *project])
        known = self._cache.tokens
        return Row(self._cache, tokens[known:], [position - known for position in project])

    def searched(self) -> "WindowPass | None":
        """A pass whose text is that of a beam search, from the first token on that was not likely.

        None where all were, or the search finds the same text.
        """
        if self._request.beam == 1 or self._sure > len(self._tokens):
            return None
        found = tuple(token.id for token in self._tokens)
        kept = (*self._prompt, *found[: self._sure])
        cache = self._cache.fork()
        cache.truncate(len(kept) - 1)
        likelier = beam_search(
            self._decoder,
            Beam(cache, kept[-1:]),
            width=self._request.beam,
            limit=self._max_tokens - self._sure if self._request.is_final else len(found) - self._sure + 2,
            end=self._vocabulary.codec.eot,
            suppressed=self._vocabulary.suppressed,
            forbidden_first=self._vocabulary.nothing if self._sure else self._forbidden_first(),
        )
        same = likelier if self._request.is_final else likelier[: len(found) - self._sure]
        if same == found[self._sure :]:
            return None
        draft = (*found[: self._sure], *likelier, self._vocabulary.codec.eot)
        request = replace(self._request, draft=draft, firm=len(draft), margin=math.inf, language=self._language)
        made = WindowPass(self._decoder, self._vocabulary, request, DecoderCache(self._cache.cross))
        made._language_probability = self._language_probability
        return made

    def take(self, step: Step) -> bool:
        """Take over what a step found.

        Returns:
            Whether the pass goes on.
        """
        logits = step.logits
        if not self._knows_start:
            self._read_start(logits[0])
            logits = logits[1:]
        if self._asks_language:
            self._asks_language = False
            self._attended.push(step.attention)
            return True
        return self._take_text(logits, step.attention)

    def _read_start(self, logits: Tensor) -> None:
        """No-speech probability and language, from the position of start-of-transcript."""
        self._knows_start = True
        codec = self._vocabulary.codec
        self._no_speech = float(logits.softmax(-1)[codec.no_speech])
        if not self._asks_language:
            return
        if not self._vocabulary.language_codes:
            self._language = "en"
            return
        values = logits[self._vocabulary.language_tokens].softmax(-1).tolist()
        probabilities = dict(zip(self._vocabulary.language_codes, values, strict=True))
        self._language, self._language_probability = choose(
            probabilities, self._request.languages, self._request.previous_language
        )

    def _take_text(self, logits: Tensor, attention: Tensor) -> bool:
        """Choose a token for each projected position, as far as the draft said the same."""
        draft = self._draft if not self._tokens else []
        logits.index_fill_(-1, self._vocabulary.suppressed, -torch.inf)
        if not self._tokens:
            logits[0, self._forbidden_first()] = -torch.inf
        best = self._chosen(logits, draft)
        agreed = next((index for index, token in enumerate(draft) if best[index] != token), len(draft))
        count = agreed + 1
        unused = logits.shape[0] - count
        frames = self._attended.push(attention[:, : attention.shape[1] - unused], count)
        values = logits[:count].gather(-1, torch.tensor(best[:count], device=logits.device)[:, None])[:, 0]
        probabilities = (values - logits[:count].logsumexp(-1)).exp().tolist()
        for token, probability, frame in zip(best, probabilities, frames, strict=False):
            if not self._take_token(Token(token, probability, frame)):
                return False
        self._cache.truncate(self._cache.tokens - unused)
        self._next = [best[agreed]]
        return True

    def _chosen(self, logits: Tensor, draft: Sequence[int]) -> list[int]:
        """The best tokens ``[n]``, or those at the front of the draft that are not much worse."""
        highest, best = logits.max(-1)  # both at once, for argmax alone takes three times as long
        firm = min(self._request.firm, len(draft))
        drafted = torch.tensor(draft[:firm], dtype=torch.long, device=best.device)
        values = logits[:firm].gather(-1, drafted[:, None])[:, 0]
        is_kept = values >= highest[:firm] - self._request.margin
        chosen: list[int] = torch.cat([torch.where(is_kept, drafted, best[:firm]), best[firm:]]).tolist()
        return chosen

    def _take_token(self, token: Token) -> bool:
        """Take a token over, unless it ends the pass; whether the pass goes on."""
        if token.probability >= LIKELY and self._sure == len(self._tokens):
            self._sure += 1
        end = self._judge(token.id, token.frame)
        if end is not None:
            self._end = end
            self._ends_word = end is End.AUDIO and self._begins_word(token.id)
            return False
        self._tokens.append(token)
        if self._is_loop():
            self._end = End.REPETITION
            return False
        if len(self._tokens) >= self._max_tokens:
            self._end = End.LENGTH
            return False
        return True

    def _forbidden_first(self) -> Tensor:
        """What may not come first: nothing, or more of a word that is committed already."""
        if not self._request.prefix:
            return self._vocabulary.blank
        assert self._language is not None
        return (
            self._vocabulary.continuations
            if self._vocabulary.codec.has_spaces(self._language)
            else self._vocabulary.nothing
        )

    def _judge(self, token: int, frame: int) -> End | None:
        """Whether this token ends the pass instead of being taken."""
        if token == self._vocabulary.codec.eot:
            return End.TEXT
        if not self._request.is_final and frame >= self._limit_frame:
            return End.AUDIO
        if len(self._tokens) > 1 and frame < min(last.frame for last in self._tokens[-2:]) - REWIND_FRAMES:
            return End.REWIND
        return None

    def _begins_word(self, token: int) -> bool:
        assert self._language is not None
        return (
            not self._vocabulary.codec.has_spaces(self._language) or token not in self._vocabulary.codec.continuations
        )

    def _is_loop(self) -> bool:
        repeated = repeated_tail([token.id for token in self._tokens])
        if repeated:
            del self._tokens[-repeated:]
        return bool(repeated)

    def hypothesis(self) -> Hypothesis:
        assert self._language is not None
        return Hypothesis(
            tuple(self._tokens),
            self._end,
            self._language,
            self._language_probability,
            self._no_speech,
            self._ends_word,
        )
