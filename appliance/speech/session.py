"""One stream: samples in, requests for passes out, hypotheses in, snapshots out. Knows neither sockets nor models.

`feed` and `finish` may be called from any thread; all else from one thread at a time.
"""

import threading
from collections import deque
from dataclasses import dataclass
from enum import Enum

import numpy as np

from appliance.speech.commit import Rule, TimedWord, sure
from appliance.speech.hypothesis import CONTEXT_TOKENS, FULL_WINDOW_SAMPLES, UNLIKELY, End, Hypothesis, Request, Task
from appliance.speech.language import DOUBTFUL_S, SWITCH_PROBABILITY
from appliance.speech.profile import BALANCED, Profile
from appliance.speech.text import TextCodec
from appliance.speech.transcript import Transcript
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot
from appliance.speech.utterance import LEAD_SAMPLES, Boundary, UtteranceTracker
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream
from appliance.speech.window import Window

NO_SPEECH_PROBABILITY = 0.6
"""Text that is `UNLIKELY`, where no-speech is likelier than this, is not speech: the reference's rule."""

MAX_PROMPT_TOKENS = CONTEXT_TOKENS // 2
"""A longer prompt is cut, so that the text of a long utterance still has room behind it."""

STEP_CONTEXT_TOKENS = CONTEXT_TOKENS // 2
"""Of what was said before, for a pass that more will follow: its context is most of what it decodes. With half of it
no more errors were made (measured, on recordings of a minute)."""


class _Pass(Enum):
    """Why a pass is made."""

    STEP = "more was said"
    SEARCH = "more was said, and the first word is in doubt"
    SETTLE = "a short silence: perhaps all is said"
    END = "a pause, or the end of the stream"
    FULL = "the window can't grow further"


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What one stream wants.

    ``language``: a code of the model's, or "auto" to choose for each utterance among ``languages`` (empty: all).
    ``prompt``: text that stands before the transcript, for names and spelling.
    """

    language: str = "auto"
    languages: tuple[str, ...] = ()
    task: Task = "transcribe"
    prompt: str = ""
    profile: Profile = BALANCED


class Session:
    """The state of one stream. Make it with `Engine.open_stream`."""

    def __init__(self, codec: TextCodec, vad: VadModel, options: StreamOptions) -> None:
        self._codec = codec
        self._profile = options.profile
        self._options = options
        self._language = None if options.language == "auto" else options.language
        self._previous_language: str | None = None
        self._spoken: tuple[int, ...] = ()
        self._prompt = codec.encode(options.prompt)[:MAX_PROMPT_TOKENS] if options.prompt else ()
        self._vad = VadStream(vad)
        self._tracker = UtteranceTracker()
        self._transcript = Transcript()
        self._lock = threading.Lock()
        self._inbox: deque[Samples] = deque()
        self._received = 0
        self._finished = False
        self._done = False
        # Before the stream there is silence: words at its very beginning have a lead too.
        self._audio: Samples = np.zeros(LEAD_SAMPLES, dtype=np.float32)
        self._audio_start = -LEAD_SAMPLES
        self._decided = 0
        self._committed = 0
        self._window: Window | None = None
        self._asked: tuple[_Pass, int] | None = None
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
    def heard_s(self) -> float:
        """Seconds of audio heard."""
        return self._tracker.position / SAMPLE_RATE_HZ

    @property
    def committed(self) -> int:
        """How many words were committed."""
        return self._committed

    @property
    def pending(self) -> bool:
        """Whether `next_request` has something to do now."""
        return not self._done and (self._finished or self._received - self._tracker.position >= WINDOW_SAMPLES)

    def feed(self, samples: Samples) -> None:
        """Add samples of the stream. Cheap; the caller bounds the backlog (see `backlog_s`)."""
        with self._lock:
            if self._finished:
                return
            self._inbox.append(samples)
            self._received += len(samples)

    def finish(self) -> None:
        """No more audio will come; go on until `done`."""
        with self._lock:
            if not self._finished:
                self._finished = True
                self._inbox.append(np.zeros(-self._received % WINDOW_SAMPLES, dtype=np.float32))

    def set_language(self, language: str) -> None:
        """Change the language from the next utterance on; "auto" detects it."""
        chosen = None if language == "auto" else language
        if chosen != self._language:
            self._language, self._spoken = chosen, ()

    def next_request(self) -> Request | None:
        """Hear what came in, up to where a pass is wanted.

        Returns:
            The pass, whose hypothesis `absorb` must be given before the next call; None when more audio must come
            first, or all is said (`done`).
        """
        assert self._asked is None
        finished = self._take_inbox()
        while True:
            at = self._tracker.position - self._audio_start
            if at + WINDOW_SAMPLES > len(self._audio):
                break
            boundary = self._tracker.push(self._vad.probability(self._audio[at : at + WINDOW_SAMPLES]))
            request = self._boundary(boundary)
            if request:
                return request
        self._forget()
        if not finished:
            return self._due()
        request = self._boundary(self._tracker.stop())
        if request is None:
            self._done = True
            self._decided = self._received
        return request

    def _boundary(self, boundary: Boundary | None) -> Request | None:
        """The pass that one more window of voice activity calls for, however much audio waits behind it."""
        position = self._tracker.position
        if boundary is Boundary.BEGIN:
            start = max(self._tracker.start, self._audio_start)
            self._window = Window(start, language=self._language, prompt=self._prompt, spoken=self._spoken)
        window = self._window
        if window is None:
            self._decided = position
            return None
        if boundary is Boundary.END:
            if window.settled == self._tracker.last_speech or self._tracker.end - window.start < WINDOW_SAMPLES:
                self._close(window)
                return None
            return self._ask(_Pass.END, window, self._tracker.end)
        if position - window.start >= self._profile.longest_samples:
            return self._ask(_Pass.FULL, window, position)
        return None

    def _due(self) -> Request | None:
        """The pass that is due now that all audio is heard."""
        window, position = self._window, self._tracker.position
        if window is None or window.settled == self._tracker.last_speech:
            return None
        if self._tracker.silence >= self._profile.settle_samples:
            return self._ask(_Pass.SETTLE, window, self._tracker.speech_end)
        if self._tracker.silence:
            return None  # perhaps all is said: a little later it is known, and a step now would be one for nothing
        step = self._profile.first_samples if window.heard == window.start else self._profile.step_samples
        if position - window.heard >= step:
            doubt = self._profile.doubt
            is_doubtful = doubt is not None and doubt.holds(window.tentative, window.frames)
            return self._ask(_Pass.SEARCH if is_doubtful else _Pass.STEP, window, position)
        return None

    def _ask(self, kind: _Pass, window: Window, end: int) -> Request:
        end = min(end, self._received)  # at the end of the stream the last window of voice activity is filled up
        self._asked = kind, end
        audio = self._audio[window.start - self._audio_start : end - self._audio_start]
        goes_on = kind in (_Pass.STEP, _Pass.SEARCH)
        padding = self._profile.step_padding if goes_on else self._profile.end_padding
        return Request(
            window=audio,
            padded_samples=min(FULL_WINDOW_SAMPLES, padding.length(len(audio))),
            prefix=window.prefix,
            draft=window.draft,
            firm=sum(len(word.tokens) for word in window.tentative[:-1]) if goes_on else 0,
            margin=self._profile.margin,
            context=window.context(STEP_CONTEXT_TOKENS if goes_on else CONTEXT_TOKENS),
            language=window.language_to_ask(),
            languages=self._options.languages,
            previous_language=self._previous_language,
            task=self._options.task,
            is_final=not goes_on,
            beam=1 if kind is _Pass.STEP else self._profile.beam,
        )

    def absorb(self, hypothesis: Hypothesis) -> None:
        """Take over what the pass of the last request found."""
        assert self._asked is not None
        assert self._window is not None
        (kind, end), self._asked = self._asked, None
        window = self._window
        doubtful = window.language_to_ask() is None and hypothesis.language_probability < SWITCH_PROBABILITY
        words = [] if self._is_noise(window, hypothesis) else self._words(hypothesis)
        window.take(words, hypothesis.language, end)
        window.settled = self._tracker.last_speech if kind is _Pass.SETTLE else None
        self._decided = end
        if kind is _Pass.END:
            self._close(window)
        elif kind is _Pass.FULL:
            self._commit(window, window.count_behind(self._profile.full_behind_s))
            self._window = window.cut(self._profile.longest_s / 2) or window.restarted()
        elif doubtful and end - window.start < DOUBTFUL_S * SAMPLE_RATE_HZ:
            return  # in another language the same sounds are other words: more must be heard before any is sure
        elif kind is _Pass.SETTLE and self._profile.commits_when_settled:
            self._commit(window, len(window.tentative))
        else:
            rules = self._profile.rules
            if kind is _Pass.SEARCH and self._profile.doubt:
                rules = (*rules, Rule(1, 0.0, self._profile.doubt.behind_s))
            self._commit(window, sure(window.tentative, window.frames, rules, ends_word=hypothesis.ends_word))
            if end - window.start >= self._profile.cut_samples:
                self._window = window.cut(self._profile.cut_s / 2) or window

    def _close(self, window: Window) -> None:
        """The utterance is over: what is still tentative is its text."""
        self._commit(window, len(window.tentative))
        self._window = None
        # What was said before draws the next utterance to its language: only where that is settled is it of help.
        self._spoken = window.spoken if window.language == self._language else ()
        self._transcript.close_line()
        self._decided = self._tracker.position

    def _commit(self, window: Window, count: int) -> None:
        if count:
            self._previous_language = window.language
            self._committed += count
            self._transcript.append(window.commit(count), window.language or "en")

    def _words(self, hypothesis: Hypothesis) -> list[TimedWord]:
        tokens = iter(hypothesis.tokens)
        split = self._codec.words([token.id for token in hypothesis.tokens], hypothesis.language)
        return [TimedWord(text, tuple(next(tokens) for _ in ids)) for text, ids in split]

    @staticmethod
    def _is_noise(window: Window, hypothesis: Hypothesis) -> bool:
        return (
            not window.committed
            and hypothesis.no_speech_probability > NO_SPEECH_PROBABILITY
            and (hypothesis.mean_log_probability < UNLIKELY or hypothesis.end is End.REPETITION)
        )

    def _take_inbox(self) -> bool:
        with self._lock:
            parts, finished = list(self._inbox), self._finished
            self._inbox.clear()
        if parts:
            self._audio = np.concatenate([self._audio, *parts])
        return finished

    def _forget(self) -> None:
        """Drop audio that no pass will need again, a second and more at a time."""
        keep_from = self._tracker.position - LEAD_SAMPLES - 4 * WINDOW_SAMPLES
        if self._window is not None:
            keep_from = min(keep_from, self._window.start)
        drop = keep_from - self._audio_start
        if drop >= SAMPLE_RATE_HZ:
            self._audio = self._audio[drop:]
            self._audio_start += drop

    def snapshot(self) -> Snapshot | None:
        """The new state, or None when no text changed since the last call; once the stream is done always a state."""
        tentative = "".join(word.text for word in self._window.tentative) if self._window else ""
        made = self._transcript.snapshot(tentative, self._received / SAMPLE_RATE_HZ, self._decided / SAMPLE_RATE_HZ)
        last = self._last
        if last is not None and not self._done and (made.lines, made.tentative) == (last.lines, last.tentative):
            return None
        self._last = made
        return made
