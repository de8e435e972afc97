"""Conversations joined from recordings of single speakers, so that it is known who speaks when.

The speakers never met, and never talk at the same time. A turn is 3 to 15 s of one recording, between pauses; turns are
0.3 to 1 s apart. What counts as speech comes from the VAD on each recording by itself: pauses over 0.3 s are none.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream
from appliance.talks.errors import Spoken

SHORTEST_TURN_S = 3.0
LONGEST_TURN_S = 15.0
PAUSES_S = (0.3, 1.0)

_PAUSE_WINDOWS = 10
"""0.32 s."""
_SPEECH = 0.5
_PAD_S = 0.06

_Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says at a stretch: ``speech`` are the spans of it, in seconds."""

    samples: Samples
    speech: tuple[_Span, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Conversation:
    samples: Samples
    turns: tuple[Spoken, ...]


def cut_turns(samples: Samples, vad: VadModel) -> list[Turn]:
    """Turns of a recording of one speaker, one after the other; what is left at its end is dropped if it is short."""
    turns: list[Turn] = []
    group: list[_Span] = []
    for span in [*_speech(samples, vad), None]:
        if group and (span is None or span[1] - group[0][0] > LONGEST_TURN_S):
            if group[-1][1] - group[0][0] >= SHORTEST_TURN_S:
                turns.append(_turn(samples, group))
            group = []
        if span and span[1] - span[0] <= LONGEST_TURN_S:
            group.append(span)
    return turns


def join(turns: Mapping[str, Sequence[Turn]], longest_s: float, seed: int) -> Conversation:
    """Turns of two speakers or more, in an order by chance; who has said all begins again."""
    chance = random.Random(seed)
    left: dict[str, list[Turn]] = {speaker: [] for speaker in turns}
    pieces: list[Samples] = []
    spoken: list[Spoken] = []
    at = 0
    last = ""
    while at < longest_s * SAMPLE_RATE_HZ:
        last = chance.choice([speaker for speaker in turns if speaker != last])
        left[last] = left[last] or chance.sample(turns[last], len(turns[last]))
        turn = left[last].pop()
        start_s = at / SAMPLE_RATE_HZ
        spoken += [Spoken(last, start_s + start, start_s + end) for start, end in turn.speech]
        pause = np.zeros(int(chance.uniform(*PAUSES_S) * SAMPLE_RATE_HZ), dtype=np.float32)
        pieces += [turn.samples, pause]
        at += len(turn.samples) + len(pause)
    return Conversation(np.concatenate(pieces), tuple(spoken))


def _turn(samples: Samples, spans: Sequence[_Span]) -> Turn:
    start, end = spans[0][0], spans[-1][1]
    return Turn(
        samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)],
        tuple((one - start, other - start) for one, other in spans),
    )


def _speech(samples: Samples, vad: VadModel) -> list[_Span]:
    stream = VadStream(vad)
    windows = len(samples) // WINDOW_SAMPLES
    heard = [
        index
        for index, window in enumerate(samples[: windows * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES))
        if stream.probability(window) >= _SPEECH
    ]
    spans: list[list[int]] = []
    for index in heard:
        if spans and index - spans[-1][1] <= _PAUSE_WINDOWS:
            spans[-1][1] = index + 1
        else:
            spans.append([index, index + 1])
    window_s = WINDOW_SAMPLES / SAMPLE_RATE_HZ
    length_s = len(samples) / SAMPLE_RATE_HZ
    return [(max(0.0, one * window_s - _PAD_S), min(length_s, other * window_s + _PAD_S)) for one, other in spans]
