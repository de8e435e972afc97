"""A language of numbered words, and doubles of the models that know it: for all that needs no real speech.

A word is a stretch of audio whose samples all hold its number; silence is zero. What a pass should find is
therefore known exactly, and a prefix that does not fit its window is noticed.
"""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.speech.commit import Rule
from appliance.speech.hypothesis import FRAME_SAMPLES, FRAMES_PER_S, End, Hypothesis, Request, Token
from appliance.speech.profile import Padding, Profile
from appliance.speech.session import Session, StreamOptions
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot

UNIT = 2.0**-20
WORD_S = 0.32
GAP_S = 0.16
EDGE_FRAMES = FRAMES_PER_S // 4


PLAIN = Profile(
    rules=(Rule(2, 0.0, 0.5),),
    first_s=0.6,
    step_s=0.6,
    settle_s=0.3,
    step_padding=Padding(5, 2),
    end_padding=Padding(10, 4),
    cut_s=8.0,
    longest_s=22.0,
    full_behind_s=1.5,
)
"""Fixed here, so that tuning the real ones changes no test of the rules."""


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)


def speech(first: int, count: int, word_s: float = WORD_S, gap_s: float = GAP_S) -> Samples:
    """Words ``first`` to ``first + count - 1``, each after a gap that is too short for a pause."""
    gap = silence(gap_s)
    parts = [part for number in range(first, first + count) for part in (gap, word(number, word_s))]
    return np.concatenate(parts)


def word(number: int, seconds: float = WORD_S) -> Samples:
    return np.full(round(seconds * SAMPLE_RATE_HZ), number * UNIT, dtype=np.float32)


def said(snapshot: Snapshot) -> list[int]:
    """The numbers of the committed words, in order."""
    return [int(text.removeprefix("w")) for line in snapshot.lines for text in line.text.split()]


class Codec:
    """One token a word: its number."""

    def words(self, ids: Sequence[int], language: str) -> list[tuple[str, list[int]]]:
        return [(f" w{number}", [number]) for number in ids]

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split())


class Vad:
    """Whatever is not zero is speech."""

    def probability(self, window: Samples, state: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        return (0.9 if window[-1] or window[64] else 0.0), state


class Recognizer:
    """Hears every word of a window whose middle lies in it, after the forced ones; keeps what it was asked.

    ``flaw``: how many words at the end of a pass that is not final are heard wrongly.
    """

    def __init__(self, flaw: int = 0) -> None:
        self.requests: list[Request] = []
        self.batches: list[int] = []
        self._flaw = flaw
        self._lock = threading.Lock()

    def recognize(self, requests: Sequence[Request]) -> list[Hypothesis]:
        with self._lock:
            self.batches.append(len(requests))
            self.requests += requests
        return [self._hear(request) for request in requests]

    def _hear(self, request: Request) -> Hypothesis:
        heard = heard_in(request.window)
        known = [token.id for token in heard[: len(request.prefix)]]
        assert known == list(request.prefix), "the prefix is not what the window begins with"
        tokens = heard[len(request.prefix) :]
        end = End.TEXT
        if not request.is_final:
            limit = len(request.window) // FRAME_SAMPLES - EDGE_FRAMES
            inside = [token for token in tokens if token.frame < limit]
            end = End.AUDIO if len(inside) < len(tokens) else End.TEXT
            wrong = inside[max(0, len(inside) - self._flaw) :]
            tokens = inside[: len(inside) - len(wrong)]
            tokens += [Token(900_000 + len(request.window) % 1000, 0.4, token.frame) for token in wrong]
        return Hypothesis(tuple(tokens), end, request.language or "en", 1.0, 0.0)


def heard_in(window: Samples) -> list[Token]:
    """The words of a window with the frame of their middle; those cut by its start in half or more are not heard."""
    coarse = np.rint(window[::FRAME_SAMPLES] / UNIT).astype(int)
    starts = np.flatnonzero(np.diff(coarse, prepend=0) != 0)
    tokens = []
    for at, start in enumerate(starts):
        end = int(starts[at + 1]) if at + 1 < len(starts) else len(coarse)
        number = int(coarse[start])
        is_whole = start > 0 or end - start > WORD_S * FRAMES_PER_S / 2
        if number and is_whole and end - start > 2:
            tokens.append(Token(number, 0.95, (int(start) + end) // 2))
    return tokens


def session(options: StreamOptions | None = None) -> Session:
    """A session in the language of numbered words."""
    return Session(Codec(), Vad(), options or StreamOptions(language="en"))  # type: ignore[arg-type]


def options(profile: Profile = PLAIN) -> StreamOptions:
    return StreamOptions(language="en", profile=profile)


def turn(one: Session, recognizer: Recognizer) -> list[Snapshot]:
    """Everything a session has to do now."""
    snapshots = []
    while True:
        request = one.next_request()
        if request is not None:
            one.absorb(*recognizer.recognize([request]))
        snapshot = one.snapshot()
        snapshots += [snapshot] if snapshot else []
        if request is None:
            return snapshots


def stream(one: Session, recognizer: Recognizer, samples: Samples, chunk_s: float = 0.1) -> list[Snapshot]:
    """Feed as a live client would, with every pass made as soon as it is due; all states, the last one included."""
    snapshots = []
    step = round(chunk_s * SAMPLE_RATE_HZ)
    for start in range(0, len(samples), step):
        one.feed(samples[start : start + step])
        snapshots += turn(one, recognizer)
    one.finish()
    return snapshots + turn(one, recognizer)
