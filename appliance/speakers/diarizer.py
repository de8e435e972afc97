"""What a diarizer is to the rest: a model loaded once, a state for each stream, steps of several streams together.

A backend is a module with a class of each kind; it knows neither words nor lines, which `assign` brings together with
its turns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from appliance.speech.types import Samples, Speaker

Backend = Literal["embedding", "sortformer"]
Choice = Literal["auto", "embedding", "sortformer"]

REVISION_S = 10.0
"""A turn that ended this long before `DiarizerStream.decided_s` never changes again."""


@dataclass(frozen=True, slots=True)
class SpeakerTurn:
    """One speaker, speaking. Speakers are numbered from 1 as they first appear; times are seconds of the stream."""

    speaker: Speaker
    start_s: float
    end_s: float


class DiarizerStream(Protocol):
    """The state of one stream, bounded however long it is.

    `feed` and `finish` may be called from any thread and return at once; all else is for one thread at a time.
    """

    @property
    def pending(self) -> bool:
        """Whether `Diarizer.step` has something to do for it now."""

    @property
    def done(self) -> bool:
        """Whether it was finished and all of it is diarized."""

    @property
    def decided_s(self) -> float:
        """Seconds of the stream up to which it is known who speaks."""

    @property
    def turns(self) -> Sequence[SpeakerTurn]:
        """By their start, ended by `decided_s`; they may overlap. At least those of its last minute."""

    @property
    def names(self) -> Mapping[Speaker, str]:
        """Names of those that were enrolled and have spoken."""

    def feed(self, samples: Samples) -> None:
        """Add samples of the stream."""

    def finish(self) -> None:
        """No more audio will come: the last, shorter piece is diarized too."""


class Diarizer(Protocol):
    """The loaded model, shared by all streams. Not for several threads at once."""

    @property
    def batch(self) -> int:
        """Streams of a step, at most."""

    def enrol(self, name: str, samples: Samples) -> None:
        """Know a voice by a name, in streams opened from now on.

        Raises:
            ApplianceError: there is too little speech in it.
        """

    def open_stream(self, max_speakers: int) -> DiarizerStream:
        """A new stream's state; ``max_speakers``: 0 for as many as the model can tell apart."""

    def cost(self) -> float:
        """Seconds that a second of a stream takes in which somebody speaks, in steps of many; measured now."""

    def step(self, streams: Sequence[DiarizerStream]) -> None:
        """Go on with each of these, which are `pending`, together. Takes its time: never on an event loop."""
