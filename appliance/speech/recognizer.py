"""Passes over windows of audio: encode, decode greedily from a forced prefix, stop where the audio ends.

Method: AlignAtt (see `appliance.speech.alignment`): a token is only taken while the audio it attends to is
safely inside the window; attention that jumps back, or text that repeats, ends the pass.

The text of the pass before is a *draft*: all of it is decoded in one step, and kept as far as greedy decoding
would have chosen the same tokens (speculative decoding, Leviathan et al., arXiv 2211.17192, with the last
hypothesis for the draft model). The result is that of decoding token by token; only tokens that changed cost a step.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from appliance.speech.alignment import AttendedFrames
from appliance.speech.beam import Beam, beam_search
from appliance.speech.decoder import DecoderCache, Row, Step, TextDecoder
from appliance.speech.encoder import Encoder
from appliance.speech.hypothesis import (
    CONTEXT_TOKENS,
    FRAME_SAMPLES,
    FRAMES_PER_S,
    FULL_WINDOW_SAMPLES,
    End,
    Hypothesis,
    Request,
    Token,
    token_budget,
)
from appliance.speech.language import choose
from appliance.speech.loops import is_echo, repeated_tail
from appliance.speech.text import TextCodec
from appliance.words import normalise

EDGE_FRAMES = FRAMES_PER_S // 4
"""While more audio is to come, tokens that attend to the last 0.25 s are not taken."""

REWIND_FRAMES = 2 * FRAMES_PER_S
"""A token that attends this far (2 s) before both tokens in front of it ends the pass. Before one only, it
is as likely that one that strayed: speech says the same words again ("It was here that ... It was here that ...")."""

LIKELY = 0.7
"""A search begins at the first token less probable than this: before it, it would find the same."""


class Recognizer:
    """Both halves of a pair; any number of threads may call `recognize` at once."""

    def __init__(self, encoder: Encoder, decoder: TextDecoder, codec: TextCodec) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.codec = codec
        suppressed = torch.zeros(decoder.dimensions.n_vocab, dtype=torch.bool, device=decoder.device)
        suppressed[list(codec.suppressed)] = True
        self.suppressed = suppressed
        self.blank = torch.tensor(codec.blank, device=decoder.device)
        self.continuations = torch.tensor(sorted(codec.continuations), device=decoder.device)
        self.nothing = torch.tensor([], dtype=torch.long, device=decoder.device)
        self.language_codes = list(codec.language_tokens)
        self.language_tokens = torch.tensor(list(codec.language_tokens.values()), device=decoder.device)

    def recognize(self, requests: Sequence[Request]) -> list[Hypothesis]:
        """Decode each window; their steps are done together.

        Two faults of Whisper are seen and mended, by another pass: it says again what stands in its context instead of
        what it hears; and in a short window it may miss its end-of-text token.
        """
        asked = list(requests)
        found = self._recognize(asked)
        for remedy in (self._without_context, self._with_full_window):
            better = {index: remedy(*both) for index, both in enumerate(zip(asked, found, strict=True))}
            again = {index: request for index, request in better.items() if request}
            if not again:
                continue
            for (index, request), hypothesis in zip(again.items(), self._recognize([*again.values()]), strict=True):
                asked[index], found[index] = request, hypothesis
        return found

    def _without_context(self, request: Request, found: Hypothesis) -> Request | None:
        """What to ask instead, where the text of the window is an echo of its context."""
        if not request.context:
            return None
        ids = (*request.prefix, *(token.id for token in found.tokens))
        text, before = (
            "".join(word for word, _ in self.codec.words(part, found.language)) for part in (ids, request.context)
        )
        if not is_echo(normalise(text, found.language), normalise(before, found.language)):
            return None
        return replace(request, context=(), draft=(), firm=0)

    @staticmethod
    def _with_full_window(request: Request, found: Hypothesis) -> Request | None:
        """What to ask instead, where a final text did not come to its end: the window Whisper was trained on."""
        if not request.is_final or found.end is End.TEXT or request.padded_samples >= FULL_WINDOW_SAMPLES:
            return None
        return replace(request, padded_samples=FULL_WINDOW_SAMPLES)

    def _recognize(self, requests: Sequence[Request]) -> list[Hypothesis]:
        states = self.encoder.encode([(request.window, request.padded_samples) for request in requests])
        caches = self.decoder.start(states)
        passes = [_Pass(self, request, cache) for request, cache in zip(requests, caches, strict=True)]
        self._decode(passes)
        searched = [one.searched() or one for one in passes]
        self._decode([one for one, before in zip(searched, passes, strict=True) if one is not before])
        return [one.hypothesis() for one in searched]

    def _decode(self, running: Sequence["_Pass"]) -> None:
        while running:
            steps = self.decoder.step([one.row() for one in running])
            running = [one for one, step in zip(running, steps, strict=True) if one.take(step)]


class _Pass:
    """The token loop of one window: `row` says what to decode next, `take` what came of it."""

    def __init__(self, recognizer: Recognizer, request: Request, cache: DecoderCache) -> None:
        self._r = recognizer
        self._request = request
        self._cache = cache
        frames = min(cache.cross[0][0].shape[1], -(-len(request.window) // FRAME_SAMPLES))
        self._limit_frame = frames if request.is_final else frames - EDGE_FRAMES
        self._attended = AttendedFrames(frames)
        codec = recognizer.codec
        context = request.context[-CONTEXT_TOKENS:]
        self._before = [codec.sot_prev, *context, codec.sot] if context else [codec.sot]
        used = len(self._before) + len(request.prefix) + 8
        budget = token_budget(frames)
        self._max_tokens = max(0, min(budget, recognizer.decoder.dimensions.n_text_ctx - used))
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
        after = self._r.codec.after_sot(self._language, self._request.task)
        self._prompt = [*self._before, *after, *self._request.prefix]
        tokens = [*self._prompt, *self._draft]
        project = list(range(len(self._prompt) - 1, len(tokens)))
        if not self._knows_start:
            return Row(self._cache, tokens, [len(self._before) - 1, *project])
        known = self._cache.tokens
        return Row(self._cache, tokens[known:], [position - known for position in project])

    def searched(self) -> "_Pass | None":
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
            self._r.decoder,
            Beam(cache, kept[-1:]),
            width=self._request.beam,
            limit=self._max_tokens - self._sure if self._request.is_final else len(found) - self._sure + 2,
            end=self._r.codec.eot,
            suppressed=self._r.suppressed,
            forbidden_first=self._r.nothing if self._sure else self._forbidden_first(),
        )
        same = likelier if self._request.is_final else likelier[: len(found) - self._sure]
        if same == found[self._sure :]:
            return None
        draft = (*found[: self._sure], *likelier, self._r.codec.eot)
        request = replace(self._request, draft=draft, firm=len(draft), margin=math.inf, language=self._language)
        made = _Pass(self._r, request, DecoderCache(self._cache.cross))
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
        codec = self._r.codec
        self._no_speech = float(logits.softmax(-1)[codec.no_speech])
        if not self._asks_language:
            return
        if not self._r.language_codes:
            self._language = "en"
            return
        values = logits[self._r.language_tokens].softmax(-1).tolist()
        probabilities = dict(zip(self._r.language_codes, values, strict=True))
        self._language, self._language_probability = choose(
            probabilities, self._request.languages, self._request.previous_language
        )

    def _take_text(self, logits: Tensor, attention: Tensor) -> bool:
        """Choose a token for each projected position, as far as the draft said the same."""
        draft = self._draft if not self._tokens else []
        logits = logits.masked_fill(self._r.suppressed, -torch.inf)
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
        best = logits.argmax(-1)
        firm = min(self._request.firm, len(draft))
        drafted = torch.tensor(draft[:firm], dtype=torch.long, device=best.device)
        values = logits[:firm].gather(-1, drafted[:, None])[:, 0]
        is_kept = values >= logits[:firm].amax(-1) - self._request.margin
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
            return self._r.blank
        assert self._language is not None
        return self._r.continuations if self._r.codec.has_spaces(self._language) else self._r.nothing

    def _judge(self, token: int, frame: int) -> End | None:
        """Whether this token ends the pass instead of being taken."""
        if token == self._r.codec.eot:
            return End.TEXT
        if not self._request.is_final and frame >= self._limit_frame:
            return End.AUDIO
        if len(self._tokens) > 1 and frame < min(last.frame for last in self._tokens[-2:]) - REWIND_FRAMES:
            return End.REWIND
        return None

    def _begins_word(self, token: int) -> bool:
        assert self._language is not None
        return not self._r.codec.has_spaces(self._language) or token not in self._r.codec.continuations

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
