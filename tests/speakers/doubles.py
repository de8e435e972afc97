"""A diarizer that knows its turns beforehand: for all that needs no real voices."""

from collections.abc import Mapping, Sequence

from appliance.speakers.diarizer import SpeakerTurn
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Speaker, Word

ANNA, BERT, CLEO = Speaker(1), Speaker(2), Speaker(3)
CHUNK_S = 1.0


def turns(*given: tuple[int, float, float]) -> list[SpeakerTurn]:
    """(speaker, start, end) each."""
    return [SpeakerTurn(Speaker(speaker), start_s, end_s) for speaker, start_s, end_s in given]


def words(text: str, start_s: float = 0.0, each_s: float = 1.0) -> list[Word]:
    """One word after the other, without gaps."""
    return [
        Word(f" {word}", start_s + at * each_s, start_s + (at + 1) * each_s, 0.9)
        for at, word in enumerate(text.split())
    ]


class ScriptedStream:
    """Decides second by second; turns of the script are known as far as that."""

    def __init__(self, script: Sequence[SpeakerTurn], names: Mapping[Speaker, str]) -> None:
        self.script = script
        self.fed_s = 0.0
        self.decided_s = 0.0
        self.finished = False
        self._names = names

    @property
    def pending(self) -> bool:
        return self.fed_s - self.decided_s >= CHUNK_S or (self.finished and not self.done)

    @property
    def done(self) -> bool:
        return self.finished and self.decided_s >= self.fed_s

    @property
    def turns(self) -> Sequence[SpeakerTurn]:
        known = [turn for turn in self.script if turn.start_s < self.decided_s]
        return [SpeakerTurn(turn.speaker, turn.start_s, min(turn.end_s, self.decided_s)) for turn in known]

    @property
    def names(self) -> Mapping[Speaker, str]:
        spoken = {turn.speaker for turn in self.turns}
        return {speaker: name for speaker, name in self._names.items() if speaker in spoken}

    def feed(self, samples: Samples) -> None:
        self.fed_s += len(samples) / SAMPLE_RATE_HZ

    def finish(self) -> None:
        self.finished = True


class Scripted:
    """The diarizer: each stream gets the next script, the last one again and again."""

    def __init__(
        self,
        *scripts: Sequence[SpeakerTurn],
        batch: int = 4,
        names: Mapping[Speaker, str] | None = None,
        costs: float = 0.01,
    ) -> None:
        self.costs = costs
        self.batch = batch
        self.steps: list[list[int]] = []
        """The numbers of the streams of each."""
        self.streams: list[ScriptedStream] = []
        self.most: list[int] = []
        self._scripts = scripts or ([],)
        self._names = names or {}

    def cost(self) -> float:
        return self.costs

    def enrol(self, name: str, samples: Samples) -> None:
        raise NotImplementedError

    def open_stream(self, max_speakers: int) -> ScriptedStream:
        self.most.append(max_speakers)
        script = self._scripts[min(len(self.streams), len(self._scripts) - 1)]
        self.streams.append(ScriptedStream(script, self._names))
        return self.streams[-1]

    def step(self, streams: Sequence[ScriptedStream]) -> None:  # type: ignore[override]
        self.steps.append([self.streams.index(stream) for stream in streams])
        for stream in streams:
            assert stream.pending
            stream.decided_s = min(stream.decided_s + CHUNK_S, stream.fed_s)
