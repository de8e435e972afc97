"""Passes over windows of audio: encode them, decode them together, mend what Whisper gets wrong."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from appliance.speech.decoder import TextDecoder
from appliance.speech.encoder import Encoder
from appliance.speech.hypothesis import FULL_WINDOW_SAMPLES, End, Hypothesis, Request
from appliance.speech.loops import is_echo
from appliance.speech.text import TextCodec
from appliance.speech.window_pass import Vocabulary, WindowPass
from appliance.words import normalise


class Recognizer:
    """Both halves of a pair; any number of threads may call `recognize` at once."""

    def __init__(self, encoder: Encoder, decoder: TextDecoder, codec: TextCodec) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.codec = codec
        self._vocabulary = Vocabulary.of(codec, decoder)

    @torch.inference_mode()
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
        passes = [
            WindowPass(self.decoder, self._vocabulary, request, cache)
            for request, cache in zip(requests, caches, strict=True)
        ]
        self._decode(passes)
        searched = [one.searched() or one for one in passes]
        self._decode([one for one, before in zip(searched, passes, strict=True) if one is not before])
        return [one.hypothesis() for one in searched]

    def _decode(self, running: Sequence[WindowPass]) -> None:
        while running:
            steps = self.decoder.step([one.row() for one in running])
            running = [one for one, step in zip(running, steps, strict=True) if one.take(step)]
