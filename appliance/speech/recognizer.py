"""One pass over one window of audio: encode, decode greedily from a forced prefix, stop where the audio ends.

Method: AlignAtt (see `appliance.speech.alignment`): a token is only taken while the audio it attends to is
safely inside the window; attention that jumps back, or text that repeats, ends the pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch

from appliance.speech.alignment import AttendedFrames
from appliance.speech.decoder import DecoderCache, TextDecoder
from appliance.speech.encoder import FRAME_SAMPLES, FRAMES_PER_S, FULL_WINDOW_SAMPLES, Encoder
from appliance.speech.text import TextCodec
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

MIN_WINDOW_SAMPLES = 10 * SAMPLE_RATE_HZ
"""Windows of words that may still change are padded to at least this: a quarter of the cost of the full 30 s."""

PADDING_SAMPLES = 4 * SAMPLE_RATE_HZ
"""Silence that follows the audio in such a window."""

EDGE_FRAMES = FRAMES_PER_S // 4
"""While more audio is to come, tokens that attend to the last 0.25 s are not taken."""

REWIND_FRAMES = 2 * FRAMES_PER_S
"""A token that attends this far (2 s) before the one before it ends the pass."""

TOKENS_PER_S = 14
"""More tokens than this per second of audio is no speech but a loop."""

CONTEXT_TOKENS = 100
"""How many tokens of earlier text are given as context."""

_MAX_PHRASE = 12
_REPEATS = 3


class End(Enum):
    """Why a pass stopped."""

    TEXT = "end-of-text token"
    AUDIO = "attention reached the end of the audio"
    REWIND = "attention jumped back"
    REPETITION = "text repeats itself"
    LENGTH = "too many tokens"


@dataclass(frozen=True, slots=True)
class Token:
    """A decoded token; ``frame`` is the most attended one, 20 ms each from the window's start."""

    id: int
    probability: float
    frame: int


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The tokens after the prefix, and what ended them."""

    tokens: tuple[Token, ...]
    end: End
    language: str
    no_speech_probability: float

    @property
    def mean_log_probability(self) -> float:
        if not self.tokens:
            return 0.0
        values = torch.tensor([token.probability for token in self.tokens]).clamp_min(1e-9)
        return float(values.log().mean())


@dataclass(frozen=True, slots=True)
class Request:
    """What to recognise.

    ``prefix``: committed tokens of this window, forced. ``context``: tokens spoken before the window.
    ``language``: a code, or None to detect it among ``languages`` of the model. ``is_final``: no audio
    follows, so the text runs to its end.
    """

    window: Samples
    prefix: tuple[int, ...] = ()
    context: tuple[int, ...] = ()
    language: str | None = None
    is_final: bool = False


class Recognizer:
    """Both halves of a pair; any number of threads may call `recognize` at once."""

    def __init__(self, encoder: Encoder, decoder: TextDecoder, codec: TextCodec) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.codec = codec
        self._device = decoder.positional_embedding.device
        suppressed = torch.zeros(decoder.dimensions.n_vocab, dtype=torch.bool, device=self._device)
        suppressed[list(codec.suppressed)] = True
        self._suppressed = suppressed
        self._blank = torch.tensor(codec.blank, device=self._device)

    def recognize(self, request: Request) -> Hypothesis:
        """Decode a window once. A final one is padded to the full 30 s, since its text will not be looked at again."""
        short = max(MIN_WINDOW_SAMPLES, len(request.window) + PADDING_SAMPLES)
        padded_samples = FULL_WINDOW_SAMPLES if request.is_final else short
        states = self.encoder.encode(request.window, padded_samples)
        cache = self.decoder.start(states)
        language = request.language or self._detect_language(cache)
        content_frames = min(states.shape[0], -(-len(request.window) // FRAME_SAMPLES))
        return _GreedyPass(self, cache, content_frames, request, language).run()

    def _detect_language(self, cache: DecoderCache) -> str:
        """The likeliest language token after start-of-transcript; leaves the cache as it was."""
        if not self.codec.language_tokens:
            return "en"
        logits, _ = self.decoder(self.tensor([self.codec.sot]), cache)
        cache.own = [None] * len(cache.own)
        cache.tokens = 0
        codes = list(self.codec.language_tokens)
        best = int(logits[-1, self.tensor(list(self.codec.language_tokens.values()))].argmax())
        return codes[best]

    def tensor(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor(ids, dtype=torch.long, device=self._device)

    def mask(self, logits: torch.Tensor, *, is_first: bool) -> torch.Tensor:
        """Logits ``[vocabulary]`` with what must not be said at minus infinity."""
        masked = logits.masked_fill(self._suppressed, -torch.inf)
        if is_first:
            masked[self._blank] = -torch.inf
        return masked


class _GreedyPass:
    """The token loop of one pass."""

    def __init__(
        self, recognizer: Recognizer, cache: DecoderCache, content_frames: int, request: Request, language: str
    ) -> None:
        self._r = recognizer
        self._cache = cache
        self._request = request
        self._language = language
        self._limit_frame = content_frames if request.is_final else content_frames - EDGE_FRAMES
        budget = int(content_frames / FRAMES_PER_S * TOKENS_PER_S) + 8
        dimensions = recognizer.decoder.dimensions
        self._context = request.context[-CONTEXT_TOKENS:]
        used = len(self._context) + len(request.prefix) + 8
        self._max_tokens = max(0, min(budget, dimensions.n_text_ctx - used))
        heads = sum(map(len, recognizer.decoder.wanted_heads))
        self._frames = AttendedFrames(heads, dimensions.n_text_ctx, content_frames, cache.cross[0][0].device)

    def run(self) -> Hypothesis:
        codec = self._r.codec
        before = [codec.sot_prev, *self._context, codec.sot] if self._context else [codec.sot]
        logits, _ = self._r.decoder(self._r.tensor(before), self._cache, slice(-1, None))
        no_speech = float(logits[-1].softmax(-1)[codec.no_speech])
        prompt = [*codec.after_sot(self._language), *self._request.prefix]
        logits, weights = self._r.decoder(self._r.tensor(prompt), self._cache, slice(-1, None))
        tokens: list[Token] = []
        end = self._loop(logits, weights, tokens)
        return Hypothesis(tuple(tokens), end, self._language, no_speech)

    def _loop(self, logits: torch.Tensor, weights: torch.Tensor, tokens: list[Token]) -> End:
        while True:
            frame = self._frames.push(weights)
            is_first = not tokens and not self._request.prefix
            masked = self._r.mask(logits[-1], is_first=is_first)
            best = int(masked.argmax())
            if best == self._r.codec.eot:
                return End.TEXT
            if not self._request.is_final and frame >= self._limit_frame:
                return End.AUDIO
            if tokens and frame < tokens[-1].frame - REWIND_FRAMES:
                return End.REWIND
            tokens.append(Token(best, float(masked.softmax(-1)[best]), frame))
            repeated = repeated_tail([token.id for token in tokens])
            if repeated:
                del tokens[-repeated:]
                return End.REPETITION
            if len(tokens) >= self._max_tokens:
                return End.LENGTH
            logits, weights = self._r.decoder(self._r.tensor([best]), self._cache)


def repeated_tail(ids: Sequence[int]) -> int:
    """How many ids at the end repeat what stands before them: 0 unless a phrase stands there three times in a row.

    A single token counts only when it stands six times in a row: people do say "no, no, no".
    """
    for size in range(1, _MAX_PHRASE + 1):
        repeats = _REPEATS if size > 2 else 2 * _REPEATS
        if len(ids) < size * repeats:
            continue
        phrase = list(ids[-size:])
        if all(list(ids[len(ids) - (k + 1) * size : len(ids) - k * size]) == phrase for k in range(repeats)):
            return size * (repeats - 1)
    return 0
