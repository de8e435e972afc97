"""Who says each segment of a file: the streams' diarizer, over the samples on their way to the recognizer."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from appliance.batch.job import Heard, Segment
from appliance.speakers.assign import NEAR_S, speakers_of
from appliance.speakers.diarizer import REVISION_S, Diarizer, DiarizerStream, SpeakerTurn
from appliance.speech.types import FIRST_SPEAKER, SAMPLE_RATE_HZ, Samples, Speaker, Word

_PORTION_SAMPLES = 4 * SAMPLE_RATE_HZ

Recognize = Callable[[Iterable[Samples]], Iterable[Segment | Heard]]


def told_apart(
    diarizer: Diarizer, max_speakers: int, samples: Iterable[Samples], recognize: Recognize
) -> Iterator[Segment | Heard]:
    """What ``recognize`` finds in the samples, its segments cut where the speaker changes.

    A segment without words is of whom most of it is. It waits until its turns are final, at the latest to the end.
    """
    speakers = _FileSpeakers(diarizer.open_stream(max_speakers))

    def step() -> None:
        diarizer.step([speakers.stream])

    waiting: deque[Segment] = deque()
    for answer in recognize(speakers.heard(samples, step)):
        if isinstance(answer, Segment):
            waiting.append(answer)
        else:
            speakers.finish(step)
        while waiting and waiting[0].end_s <= speakers.final_s:
            yield from speakers.cut(waiting.popleft())
        if isinstance(answer, Heard):
            yield answer


class _FileSpeakers:
    """The turns of a whole file: the diarizer itself keeps those of the last minute."""

    def __init__(self, stream: DiarizerStream) -> None:
        self.stream = stream
        self.final_s = 0.0
        """Up to where turns do not change any more."""
        self._turns: list[SpeakerTurn] = []
        self._before = FIRST_SPEAKER

    def heard(self, samples: Iterable[Samples], step: Callable[[], None]) -> Iterator[Samples]:
        """The same samples, diarized as they pass."""
        fed = 0
        for piece in samples:
            self.stream.feed(piece)
            fed += piece.size
            if fed >= _PORTION_SAMPLES:
                fed = 0
                self._go_on(step)
            yield piece

    def finish(self, step: Callable[[], None]) -> None:
        """No more samples will come."""
        self.stream.finish()
        self._go_on(step)
        self._keep(float("inf"))

    def cut(self, segment: Segment) -> Iterator[Segment]:
        """The segment, or its parts by speaker."""
        words = segment.words or (Word(segment.text, segment.start_s, segment.end_s, 1.0),)
        found = speakers_of(words, self._near(segment), self._before)
        self._before = found[-1]
        runs = [
            (speaker, [word for _, word in run])
            for speaker, run in itertools.groupby(zip(found, words, strict=True), key=lambda pair: pair[0])
        ]
        if len(runs) == 1:
            yield replace(segment, speaker=self._name(found[0]))
            return
        for number, (speaker, run) in enumerate(runs):
            yield replace(
                segment,
                text="".join(word.text for word in run),
                start_s=segment.start_s if number == 0 else run[0].start_s,
                end_s=segment.end_s if number == len(runs) - 1 else run[-1].end_s,
                words=tuple(run),
                speaker=self._name(speaker),
            )

    def _go_on(self, step: Callable[[], None]) -> None:
        while self.stream.pending:
            step()
            self._keep(self.stream.decided_s - REVISION_S)

    def _keep(self, until_s: float) -> None:
        """Take over turns, as far as they are final."""
        for turn in self.stream.turns:
            start_s, end_s = max(turn.start_s, self.final_s), min(turn.end_s, until_s)
            if end_s > start_s:
                self._turns.append(replace(turn, start_s=start_s, end_s=end_s))
        self.final_s = max(self.final_s, until_s)

    def _near(self, segment: Segment) -> list[SpeakerTurn]:
        """The turns that may be of a segment: segments come in order, so earlier ones are let go of."""
        self._turns = [turn for turn in self._turns if turn.end_s > segment.start_s - NEAR_S]
        return sorted(self._turns, key=lambda turn: turn.start_s)

    def _name(self, speaker: Speaker) -> str:
        """As WhisperX names speakers; an enrolled one has their name."""
        return self.stream.names.get(speaker) or f"SPEAKER_{speaker - 1:02d}"
