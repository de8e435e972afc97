"""The audio of an utterance (or of its latest part) and what is known of its text."""

from collections.abc import Sequence

from appliance.speech.commit import TimedWord, counted
from appliance.speech.hypothesis import CONTEXT_TOKENS, FRAME_SAMPLES, FRAMES_PER_S
from appliance.speech.types import SAMPLE_RATE_HZ, SENTENCE_ENDS, Word

MAX_REACH_S = 0.3
"""A word is taken to begin and end at most this far from where it was attended, and halfway to its neighbours."""

_SENTENCE_GAP_FRAMES = 25


class Window:
    """From ``start`` (samples of the stream) to wherever the utterance has come."""

    def __init__(
        self, start: int, *, language: str | None, prompt: tuple[int, ...] = (), spoken: tuple[int, ...] = ()
    ) -> None:
        """Begin an utterance in ``language`` (None: to be chosen).

        Before its text stand the tokens of a prompt, and of what was ``spoken`` in this language until then.
        """
        self.start = start
        self.language = language
        self._prompt = prompt
        self._spoken = spoken
        self.committed: list[TimedWord] = []
        self.tentative: list[TimedWord] = []
        self.heard = start
        """End of the audio of the last pass."""
        self.settled: int | None = None
        """Where the speech ended that the last pass took for all of it."""
        self._chooses_language = language is None
        self._last_end_s = max(0, start) / SAMPLE_RATE_HZ

    def context(self, spoken: int = CONTEXT_TOKENS) -> tuple[int, ...]:
        """What stands before the window: the prompt, and of what was said until then at most so many tokens."""
        room = min(spoken, CONTEXT_TOKENS - len(self._prompt))
        return (*self._prompt, *self._spoken[-room:])

    @property
    def prefix(self) -> tuple[int, ...]:
        return tuple(token.id for word in self.committed for token in word.tokens)

    @property
    def spoken(self) -> tuple[int, ...]:
        """What was said up to the last committed word, at most `CONTEXT_TOKENS`."""
        return (*self._spoken, *self.prefix)[-CONTEXT_TOKENS:]

    @property
    def draft(self) -> tuple[int, ...]:
        return tuple(token.id for word in self.tentative for token in word.tokens)

    @property
    def frames(self) -> int:
        """Length of the audio of the last pass, 20 ms each."""
        return (self.heard - self.start) // FRAME_SAMPLES

    def take(self, words: Sequence[TimedWord], language: str, heard: int) -> None:
        """Take over the words that a pass found after the committed ones, in the audio up to ``heard``."""
        self.tentative = counted(self.tentative, words)
        self.language = language
        self.heard = heard

    def language_to_ask(self) -> str | None:
        """None as long as the language is open: it is settled by the first committed word."""
        return None if self._chooses_language and not self.committed and not self._spoken else self.language

    def count_behind(self, behind_s: float) -> int:
        """How many tentative words at the front end at least ``behind_s`` before the end of the audio."""
        limit = self.frames - behind_s * FRAMES_PER_S
        late = (index for index, word in enumerate(self.tentative) if word.last_frame > limit)
        return next(late, len(self.tentative))

    def commit(self, count: int) -> list[Word]:
        """Move the first ``count`` tentative words to the committed ones; with their times in the stream."""
        timed = [self._time(index) for index in range(count)]
        self.committed += self.tentative[:count]
        del self.tentative[:count]
        return timed

    def _time(self, index: int) -> Word:
        """A tentative word with its times: never before the end of the word in front of it."""
        word = self.tentative[index]
        before = self.tentative[index - 1] if index else (self.committed[-1] if self.committed else None)
        after = self.tentative[index + 1] if index + 1 < len(self.tentative) else None
        first, last = self._seconds(word.first_frame), self._seconds(word.last_frame)
        start_s, end_s = first - MAX_REACH_S, last + MAX_REACH_S
        if before:
            start_s = max(start_s, (first + self._seconds(before.last_frame)) / 2)
        if after:
            end_s = min(end_s, (last + self._seconds(after.first_frame)) / 2)
        start_s = max(start_s, self._last_end_s)
        self._last_end_s = end_s = max(start_s, min(end_s, self.heard / SAMPLE_RATE_HZ))
        return Word(word.text, round(start_s, 2), round(end_s, 2), word.probability)

    def _seconds(self, frame: int) -> float:
        return (self.start + frame * FRAME_SAMPLES) / SAMPLE_RATE_HZ

    def cut(self, earliest_s: float) -> "Window | None":
        """The window that goes on after a committed word, at the widest gap at least ``earliest_s`` into this one.

        What was committed before the cut becomes context, the rest stays a prefix. None where nothing was
        committed that late.
        """
        words = [*self.committed, *self.tentative[:1]]
        best, best_gap = -1, -1
        for index in range(len(self.committed)):
            word = words[index]
            if word.last_frame * FRAME_SAMPLES < earliest_s * SAMPLE_RATE_HZ:
                continue
            following = words[index + 1].first_frame if index + 1 < len(words) else word.last_frame
            gap = following - word.last_frame
            if word.text.rstrip().endswith(SENTENCE_ENDS):
                gap += _SENTENCE_GAP_FRAMES
            if gap >= best_gap:
                best, best_gap = index, gap
        if best < 0:
            return None
        return self._after(best, words)

    def restarted(self) -> "Window":
        """The window that goes on where `cut` finds no place: with the words not committed, or empty at the end."""
        if not self.tentative:
            made = self._next(self.heard)
        else:
            frame = max(self.frames // 2, self.tentative[0].first_frame - round(MAX_REACH_S * FRAMES_PER_S))
            made = self._next(self.start + frame * FRAME_SAMPLES)
            made.tentative = [word.moved(-frame) for word in self.tentative]
        made._spoken = self.spoken
        return made

    def _next(self, start: int) -> "Window":
        made = Window(start, language=self.language, prompt=self._prompt)
        made._spoken = self._spoken
        made._chooses_language = self._chooses_language
        made._last_end_s = self._last_end_s
        made.heard = self.heard
        return made

    def _after(self, index: int, words: Sequence[TimedWord]) -> "Window":
        last = words[index].last_frame
        following = words[index + 1].first_frame if index + 1 < len(words) else last
        frame = max(last, (last + following) // 2)
        made = self._next(self.start + frame * FRAME_SAMPLES)
        spoken = (*self._spoken, *(token.id for word in words[: index + 1] for token in word.tokens))
        made._spoken = spoken[-CONTEXT_TOKENS:]
        made.committed = [word.moved(-frame) for word in self.committed[index + 1 :]]
        made.tentative = [word.moved(-frame) for word in self.tentative]
        return made
