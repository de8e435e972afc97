from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from appliance.speakers.diarizer import DiarizerStream, SpeakerTurn
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Speaker
from appliance.talks.errors import Spoken
from appliance.talks.measure import Talk, measure, table
from tests.speakers.loudness import LoudVad

LATE_S = 0.5


class Late:
    """Knows the two halves of a talk of 10 s, half a second late; takes the second speaker for the first for 3 s."""

    def __init__(self) -> None:
        self.fed = self.heard = 0
        self.finished = False

    pending = property(lambda self: self.heard < self.fed)
    done = property(lambda self: self.finished and not self.pending)
    names: Mapping[Speaker, str] = {}

    @property
    def decided_s(self) -> float:
        return max(0.0, self.heard / SAMPLE_RATE_HZ - LATE_S * (not self.finished))

    @property
    def turns(self) -> Sequence[SpeakerTurn]:
        second = Speaker(2 if self.decided_s > 8 else 1)
        turns = [SpeakerTurn(Speaker(1), 0, 5), SpeakerTurn(second, 5, 10)]
        return [
            SpeakerTurn(turn.speaker, turn.start_s, min(turn.end_s, self.decided_s))
            for turn in turns
            if turn.start_s < self.decided_s
        ]

    def feed(self, samples: Samples) -> None:
        self.fed += len(samples)

    def finish(self) -> None:
        self.finished = True


class LateDiarizer:
    batch = 1

    def enrol(self, name: str, samples: Samples) -> None:
        raise NotImplementedError

    def open_stream(self, max_speakers: int) -> DiarizerStream:
        return Late()

    def step(self, streams: Sequence[DiarizerStream]) -> None:
        for stream in streams:
            assert isinstance(stream, Late)
            stream.heard = stream.fed


def test_errors_delays_and_what_was_revised() -> None:
    samples = np.zeros(10 * SAMPLE_RATE_HZ, dtype=np.float32)
    talk = Talk("talk", "kind", samples, (Spoken("A", 0, 5), Spoken("B", 5, 10)))
    result = measure(talk, LateDiarizer(), LoudVad())
    assert result.error.rate == 0
    assert result.speakers == (2, 2)
    assert result.revised_s == pytest.approx(3.0, abs=0.11)
    assert max(result.delays_s) == pytest.approx(LATE_S + 0.1, abs=0.05)
    assert np.median(result.delays_s) == pytest.approx(LATE_S + 0.05, abs=0.03)
    row = table([result, result]).splitlines()[1].split()
    assert row[:5] == ["kind", "2", "0.3", "0.0", "%"]
