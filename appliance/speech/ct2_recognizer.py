"""Passes done by CTranslate2 alone: no attention at hand, so agreement of passes decides what is sure.

Method: LocalAgreement-2 (Liu et al. 2020) as whisper_streaming uses it (Macháček et al., arXiv 2307.14743): a word is
sure when two successive hypotheses begin with it. When words were spoken is found afterwards by
dynamic time warping over the alignment heads, inside CTranslate2.
"""

import math
from collections.abc import Sequence

import ctranslate2

from appliance.speech.encoder import Encoder
from appliance.speech.hypothesis import (
    CONTEXT_TOKENS,
    FRAME_SAMPLES,
    End,
    Hypothesis,
    Request,
    Token,
    token_budget,
)
from appliance.speech.language import choose
from appliance.speech.loops import repeated_tail
from appliance.speech.text import TextCodec

BEAM = 5

_MEL_PER_FRAME = 2
_TEXT_POSITIONS = 448


class Ct2Recognizer:
    """One CTranslate2 model; any number of threads may call `recognize` at once."""

    def __init__(self, encoder: Encoder, codec: TextCodec) -> None:
        """Take a model that was loaded to decode too."""
        if not encoder.decodes:
            raise ValueError("CTranslate2's decoder is not loaded")
        self._encoder = encoder
        self.codec = codec

    def recognize(self, requests: Sequence[Request]) -> list[Hypothesis]:
        """Decode each window once, by beam search, after its prefix."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Hypothesis:
        states = self._encoder.encode_view(request.window, request.padded_samples)
        language, probability = self._language(request, states)
        codec = self.codec
        context = request.context[-CONTEXT_TOKENS:]
        start = [codec.sot, *codec.after_sot(language, request.task)]
        before = [codec.sot_prev, *context] if context else []
        prompt = [*before, *start]
        frames = -(-len(request.window) // FRAME_SAMPLES)
        budget = token_budget(frames)
        ids, no_speech = self._encoder.search(
            states,
            prompt,
            request.prefix,
            beam=BEAM,
            limit=min(len(prompt) + len(request.prefix) + budget, _TEXT_POSITIONS),
            suppressed=codec.suppressed,
        )
        end = End.LENGTH if len(ids) >= budget else End.TEXT
        if repeated := repeated_tail(ids):
            ids, end = ids[:-repeated], End.REPETITION
        tokens = self._timed(states, start[:-1], request.prefix, ids, frames)
        return Hypothesis(tokens, end, language, probability, no_speech)

    def _language(self, request: Request, states: ctranslate2.StorageView) -> tuple[str, float]:
        if request.language is not None:
            return request.language, 1.0
        if not self.codec.language_tokens:
            return "en", 1.0
        [found] = self._encoder.model.detect_language(states)
        probabilities = {token[2:-2]: value for token, value in found}
        return choose(probabilities, request.languages, request.previous_language)

    def _timed(
        self,
        states: ctranslate2.StorageView,
        start: Sequence[int],
        prefix: Sequence[int],
        ids: Sequence[int],
        frames: int,
    ) -> tuple[Token, ...]:
        """Probabilities of the tokens, and the last frame that each is aligned with."""
        if not ids:
            return ()
        [aligned] = self._encoder.model.align(
            states, list(start), [[*prefix, *ids]], frames * _MEL_PER_FRAME, median_filter_width=7
        )
        last = dict(aligned.alignments)
        shift = len(prefix)
        tokens = []
        frame = 0
        for index, token in enumerate(ids):
            frame = max(frame, min(frames - 1, last.get(shift + index, frame)))
            likelihood = aligned.text_token_probs[shift + index]
            tokens.append(Token(token, likelihood if math.isfinite(likelihood) else 0.0, frame))
        return tuple(tokens)
