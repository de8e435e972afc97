"""One stream: samples in, snapshots out. Knows neither sockets nor event loops.

`feed` and `finish` may be called from any thread; `advance` from one thread at a time.
"""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from appliance.speech.commit import TimedWord, agreed
from appliance.speech.encoder import FRAME_SAMPLES, FULL_WINDOW_SAMPLES
from appliance.speech.recognizer import CONTEXT_TOKENS, End, Hypothesis, Recognizer, Request, Token
from appliance.speech.transcript import Transcript
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot, Word
from appliance.speech.utterance import LEAD_SAMPLES, Boundary, UtteranceTracker
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream

STEP_SAMPLES = SAMPLE_RATE_HZ
"""New audio between two passes over an utterance: 1 s."""

CUT_SAMPLES = 16 * SAMPLE_RATE_HZ
"""A window longer than this is cut after its last committed word, which becomes context."""

FORCED_CUT_SAMPLES = FULL_WINDOW_SAMPLES - 4 * SAMPLE_RATE_HZ
"""A window longer than this (26 s) is finished as it is, for lack of anything committed."""

NO_SPEECH_PROBABILITY = 0.6
NO_SPEECH_LOG_PROBABILITY = -1.0
"""Text less likely than this (mean natural log), where no-speech is likely, is not speech: the reference's rule."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """``language``: a code of the model's, or "auto" to detect it for each utterance."""

    language: str = "auto"


class Session:
    """The state of one stream. Make it with `Engine.open_session`."""

    def __init__(self, recognizer: Recognizer, vad: VadModel, options: SessionOptions) -> None:
        self._recognizer = recognizer
        self._language = None if options.language == "auto" else options.language
        self._vad = VadStream(vad)
        self._tracker = UtteranceTracker()
        self._transcript = Transcript()
        self._lock = threading.Lock()
        self._inbox: deque[Samples] = deque()
        self._received = 0
        self._finished = False
        self._done = False
        self._audio: Samples = np.zeros(0, dtype=np.float32)
        self._audio_start = 0
        self._decided = 0
        self._window: _Window | None = None
        self._last: Snapshot | None = None

    @property
    def done(self) -> bool:
        """Whether the stream was finished and all its text is committed."""
        return self._done

    @property
    def backlog_s(self) -> float:
        """Seconds of audio fed but not yet heard."""
        return max(0, self._received - self._tracker.position) / SAMPLE_RATE_HZ

    @property
    def pending(self) -> bool:
        """Whether `advance` has something to do now."""
        return not self._done and (self._finished or self._received - self._tracker.position >= WINDOW_SAMPLES)

    def feed(self, samples: Samples) -> None:
        """Add samples of the stream. Cheap; the caller bounds the backlog (see `backlog_s`)."""
        with self._lock:
            if self._finished:
                return
            self._inbox.append(samples)
            self._received += len(samples)

    def finish(self) -> None:
        """No more audio will come; `advance` until `done`."""
        with self._lock:
            if not self._finished:
                self._finished = True
                self._inbox.append(np.zeros(-self._received % WINDOW_SAMPLES, dtype=np.float32))

    def set_language(self, language: str) -> None:
        """Change the language from the next utterance on; "auto" detects it."""
        self._language = None if language == "auto" else language

    def advance(self) -> Snapshot | None:
        """Hear what came in, with at most one pass of the model.

        Returns:
            The new state, or None when no text changed since the last call; the call that ends the stream
            always returns it. Blocks for the time of a pass.
        """
        finished = self._take_inbox()
        boundary = self._hear()
        if boundary is None and finished and self._tracker.position >= self._received:
            boundary = self._tracker.stop()
            self._done = True
        if boundary is Boundary.BEGIN:
            self._begin()
        elif boundary is Boundary.END:
            self._end()
        elif self._window is not None:
            self._step(self._window)
        else:
            self._decided = self._tracker.position
        if self._done:
            self._decided = self._received
        return self._changed()

    def _take_inbox(self) -> bool:
        with self._lock:
            parts, finished = list(self._inbox), self._finished
            self._inbox.clear()
        if parts:
            self._audio = np.concatenate([self._audio, *parts])
        return finished

    def _hear(self) -> Boundary | None:
        """Judge windows up to the next boundary, the next step, or the end of what came in."""
        boundary = None
        while boundary is None:
            at = self._tracker.position - self._audio_start
            if at + WINDOW_SAMPLES > len(self._audio):
                break
            if self._window is not None and self._window.is_due(self._tracker.position):
                break
            boundary = self._tracker.push(self._vad.probability(self._audio[at : at + WINDOW_SAMPLES]))
        self._forget()
        return boundary

    def _forget(self) -> None:
        """Drop audio that no pass will need again."""
        keep_from = self._tracker.position - LEAD_SAMPLES - 4 * WINDOW_SAMPLES
        if self._window is not None:
            keep_from = min(keep_from, self._window.start)
        drop = keep_from - self._audio_start
        if drop > 0:
            self._audio = self._audio[drop:]
            self._audio_start += drop

    def _begin(self) -> None:
        start = max(self._tracker.start, self._audio_start)
        self._window = _Window(start, language=self._language, last_step=start)

    def _slice(self, start: int, end: int) -> Samples:
        return self._audio[start - self._audio_start : end - self._audio_start]

    def _step(self, window: "_Window") -> None:
        """A pass over an utterance that goes on."""
        position = self._tracker.position
        if not window.is_due(position):
            return
        window.last_step = position
        if position - window.start > FORCED_CUT_SAMPLES:
            self._finish_window(window, position)
            self._window = window.after(position)
            return
        hypothesis = self._recognize(window, position, is_final=False)
        words = self._words(hypothesis)
        sure = 0 if self._is_noise(window, hypothesis) else agreed(window.tentative, words)
        self._commit(window, words[:sure], hypothesis.language)
        window.tentative = words[sure:]
        self._decided = position
        if position - window.start > CUT_SAMPLES:
            self._cut(window)

    def _end(self) -> None:
        """The last pass over an utterance that a pause or the stream's end closed."""
        window, self._window = self._window, None
        # A window that a cut began just before the pause may hold less than one window of sound.
        if window is not None and self._tracker.end - window.start >= WINDOW_SAMPLES:
            self._finish_window(window, self._tracker.end)
        self._transcript.close_line()
        self._decided = self._tracker.position

    def _finish_window(self, window: "_Window", end: int) -> None:
        hypothesis = self._recognize(window, end, is_final=True)
        words = self._words(hypothesis)
        if not self._is_noise(window, hypothesis):
            self._commit(window, words, hypothesis.language)
        window.tentative = []

    def _recognize(self, window: "_Window", end: int, *, is_final: bool) -> Hypothesis:
        request = Request(
            window=self._slice(window.start, end),
            prefix=tuple(window.committed),
            context=tuple(window.context),
            language=window.language,
            is_final=is_final,
        )
        return self._recognizer.recognize(request)

    def _words(self, hypothesis: Hypothesis) -> list[TimedWord]:
        tokens = iter(hypothesis.tokens)
        split = self._recognizer.codec.words([token.id for token in hypothesis.tokens], hypothesis.language)
        return [TimedWord(text, tuple(next(tokens) for _ in ids)) for text, ids in split]

    @staticmethod
    def _is_noise(window: "_Window", hypothesis: Hypothesis) -> bool:
        return (
            not window.committed
            and hypothesis.no_speech_probability > NO_SPEECH_PROBABILITY
            and (hypothesis.mean_log_probability < NO_SPEECH_LOG_PROBABILITY or hypothesis.end is End.REPETITION)
        )

    def _commit(self, window: "_Window", words: list[TimedWord], language: str) -> None:
        if not words:
            return
        window.language = language
        window.committed.extend(token.id for word in words for token in word.tokens)
        timed = [window.time(word) for word in words]
        window.committed_end = max(window.committed_end, round(timed[-1].end_s * SAMPLE_RATE_HZ))
        self._transcript.append(timed, language)

    def _cut(self, window: "_Window") -> None:
        """Begin the next window after the last committed word, with the text so far as its context."""
        cut = window.committed_end
        if cut - window.start < CUT_SAMPLES // 3:
            return
        following = window.after(cut)
        following.last_step = window.last_step
        self._window = following

    def _changed(self) -> Snapshot | None:
        tentative = ""
        if self._window is not None:
            tentative = "".join(word.text for word in self._window.tentative)
        snapshot = self._transcript.snapshot(tentative, self._received / SAMPLE_RATE_HZ, self._decided / SAMPLE_RATE_HZ)
        last = self._last
        if last is not None and not self._done and (snapshot.lines, snapshot.tentative) == (last.lines, last.tentative):
            return None
        self._last = snapshot
        return snapshot


class _Window:
    """The audio of an utterance (or of its latest part) and what is known of its text."""

    def __init__(self, start: int, *, language: str | None, last_step: int, context: tuple[int, ...] = ()) -> None:
        self.start = start
        self.language = language
        self.last_step = last_step
        self.context = context
        self.committed: list[int] = []
        self.committed_end = start
        self.tentative: list[TimedWord] = []
        self._last_end_s = start / SAMPLE_RATE_HZ

    def is_due(self, position: int) -> bool:
        return position - self.last_step >= STEP_SAMPLES

    def after(self, start: int) -> "_Window":
        """The window that continues this utterance at ``start``."""
        context = (*self.context, *self.committed)[-CONTEXT_TOKENS:]
        return _Window(start, language=self.language, last_step=start, context=context)

    def time(self, word: TimedWord) -> Word:
        """The word with times in the stream; never before the word in front of it."""
        first, last = _seconds(self.start, word.tokens[0]), _seconds(self.start, word.tokens[-1])
        start_s = max(first, self._last_end_s)
        self._last_end_s = max(start_s, last)
        return Word(word.text, start_s, self._last_end_s, word.probability)


def _seconds(window_start: int, token: Token) -> float:
    return round((window_start + token.frame * FRAME_SAMPLES) / SAMPLE_RATE_HZ, 2)
