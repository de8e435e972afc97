"""Which voices are one speaker: online clustering that revises what is recent and never what is older.

Method: average-linkage agglomerative clustering of the recent stretches of speech together with the voices known by
then, each of which stands for all that was heard of it. The likeness of two clusters is the mean cosine similarity
between their stretches, over the (geometric) mean of that within each: in a noisy room all are less alike, over one
microphone all are more. A cluster without a known voice becomes a speaker when there is
enough speech in it; until then its stretches go to the nearest speaker, and what is left of it is kept as a candidate.
Voices, candidates and recent stretches are bounded, however long the stream is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, count

import numpy as np
from numpy.typing import NDArray

from appliance.speech.types import FIRST_SPEAKER, Speaker

SAME = 0.6
"""Likeness of two clusters from which on they are one speaker."""

SAME_SPEAKERS = 0.75
"""The same for two speakers that are known already: their turns of old stay apart, so it takes more."""

NEW_SPEAKER_S = 2.0
"""Speech that a cluster needs to count as a new speaker."""

_USUALLY_ALIKE = 0.45
"""Mean cosine similarity between stretches of one voice, to begin with."""

_BEGINNING = 0.5
"""How much that counts, against what is heard: as two stretches of half a second, each with the other."""

_LEAST_ALIKE = 0.2

TRUSTED_S = 0.8
"""A stretch heard for less than this goes to the nearest speaker: too uncertain to make or change one."""

REMEMBERED_S = 120.0
"""A known voice is the mean of about as much of its last speech: voices drift."""

MOST_SPEAKERS = 16
MOST_CANDIDATES = 8

Vector = NDArray[np.float32]
"""A voice: a unit vector, or a sum or mean of such, ``(192,)``."""


@dataclass(slots=True, eq=False)
class Stretch:
    """A stretch of speech, with its voice as heard in ``heard_s`` of audio in and around it."""

    start_s: float
    end_s: float
    voice: Vector
    heard_s: float
    speaker: Speaker = FIRST_SPEAKER
    fits: bool = False
    """Whether it is in its speaker's cluster; else that speaker is only the nearest."""

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def trusted(self) -> bool:
        return self.heard_s >= TRUSTED_S


@dataclass(slots=True, eq=False)
class Voice:
    """What is known of one voice: the sum of its stretches' vectors, each times its length."""

    total: Vector
    speech_s: float
    squares: float
    speaker: Speaker | None = None
    name: str | None = None

    @property
    def centre(self) -> Vector:
        """The mean of its stretches over the root of how alike they are."""
        pairs = self.speech_s**2 - self.squares
        alike = float(self.total @ self.total) - self.squares
        cohesion = max(_LEAST_ALIKE, (alike + _BEGINNING * _USUALLY_ALIKE) / (pairs + _BEGINNING))
        return self.total / np.float32(self.speech_s * cohesion**0.5)

    def hear(self, other: "Voice") -> None:
        self.total = self.total + other.total
        self.speech_s += other.speech_s
        self.squares += other.squares
        if self.speech_s > REMEMBERED_S:
            left = REMEMBERED_S / self.speech_s
            self.total *= np.float32(left)
            self.squares *= left**2
            self.speech_s = REMEMBERED_S

    @classmethod
    def of(cls, stretch: Stretch) -> "Voice":
        length_s = stretch.length_s
        return cls(stretch.voice * np.float32(length_s), length_s, length_s**2)


@dataclass(slots=True, eq=False)
class _Cluster:
    voice: Voice
    known: Voice | None = None
    stretches: list[Stretch] = field(default_factory=list)

    def take(self, other: "_Cluster") -> None:
        one, another = self.voice, other.voice
        self.voice = Voice(one.total + another.total, one.speech_s + another.speech_s, one.squares + another.squares)
        self.known = self.known or other.known
        self.stretches += other.stretches

    @property
    def start_s(self) -> float:
        return min(stretch.start_s for stretch in self.stretches)

    def spoken_as(self, taken: Iterable[Speaker] = ()) -> dict[Speaker, float]:
        """Seconds of it that each speaker had so far."""
        seconds: dict[Speaker, float] = {}
        for stretch in self.stretches:
            if stretch.fits and stretch.speaker not in taken:
                seconds[stretch.speaker] = seconds.get(stretch.speaker, 0.0) + stretch.length_s
        return seconds


class Clustering:
    """The speakers of one stream. For one thread at a time."""

    def __init__(self, max_speakers: int, enrolled: Mapping[str, Vector]) -> None:
        """``max_speakers``: 0 for as many as there are, 16 at most. ``enrolled``: names with mean voices."""
        self.recent: list[Stretch] = []
        """By their start; their speakers may still change."""
        self._limit = min(max_speakers or MOST_SPEAKERS, MOST_SPEAKERS)
        self._known = [
            Voice(mean * np.float32(REMEMBERED_S), REMEMBERED_S, 0.5 * REMEMBERED_S, name=name)
            for name, mean in enrolled.items()
        ]
        self._candidates: list[Voice] = []
        self._speaking: dict[Speaker, _Cluster] = {}

    @property
    def names(self) -> dict[Speaker, str]:
        """Of the enrolled that have spoken."""
        return {
            speaker: cluster.known.name
            for speaker, cluster in self._speaking.items()
            if cluster.known and cluster.known.name
        }

    def add(self, stretches: Sequence[Stretch]) -> None:
        """Take the next stretches, and say anew whose each recent one is."""
        self.recent += stretches
        nodes = [_Cluster(voice, known=voice) for voice in self._known]
        nodes += [_Cluster(voice) for voice in self._candidates]
        nodes += [_Cluster(Voice.of(stretch), stretches=[stretch]) for stretch in self.recent if stretch.trusted]
        clusters = _agglomerated(nodes)
        self._speaking = self._numbered(clusters)
        for stretch in self.recent:
            stretch.fits = False
            stretch.speaker = self._nearest(stretch)
        for speaker, cluster in self._speaking.items():
            for stretch in cluster.stretches:
                stretch.fits, stretch.speaker = True, speaker

    def settle(self, before_s: float) -> list[Stretch]:
        """Give up those that ended before: their speakers are final, and what they tell of the voices is kept."""
        settled = [stretch for stretch in self.recent if stretch.end_s <= before_s]
        self.recent = [stretch for stretch in self.recent if stretch.end_s > before_s]
        for stretch in settled:
            if stretch.fits:
                self._learn(stretch)
            elif stretch.trusted:
                self._keep(Voice.of(stretch))
        if settled:
            self._unite()
        return settled

    def _numbered(self, clusters: Sequence[_Cluster]) -> dict[Speaker, _Cluster]:
        """Which clusters are speakers, by their numbers: those that had one keep it."""
        speaking = {cluster.known.speaker: cluster for cluster in clusters if cluster.known and cluster.known.speaker}
        new = [cluster for cluster in clusters if cluster.stretches and cluster not in speaking.values()]
        enough = [cluster for cluster in new if cluster.known or cluster.voice.speech_s >= NEW_SPEAKER_S]
        if not speaking and not enough and new:
            enough = [max(new, key=lambda cluster: cluster.voice.speech_s)]
        for cluster in sorted(enough, key=lambda one: (-max(one.spoken_as().values(), default=0.0), one.start_s)):
            if len(speaking) == self._limit:
                break
            so_far = cluster.spoken_as(taken=speaking)
            number = max(so_far, key=so_far.__getitem__) if so_far else _next_number(speaking)
            speaking[number] = cluster
        return speaking

    def _nearest(self, stretch: Stretch) -> Speaker:
        def likeness(speaker: Speaker) -> float:
            mean = self._speaking[speaker].voice.centre
            return float(mean @ stretch.voice / np.linalg.norm(mean))

        return max(self._speaking, key=likeness, default=FIRST_SPEAKER)

    def _learn(self, stretch: Stretch) -> None:
        heard = Voice.of(stretch)
        cluster = self._speaking[stretch.speaker]
        if cluster.known is None:
            cluster.known = Voice(np.zeros_like(heard.total), 0.0, 0.0)
            self._known.append(cluster.known)
        cluster.known.speaker = cluster.known.speaker or stretch.speaker
        cluster.known.hear(heard)

    def _keep(self, voice: Voice) -> None:
        like = max(self._candidates, key=lambda one: _likeness(one, voice), default=None)
        if like and _likeness(like, voice) >= SAME:
            like.hear(voice)
        else:
            self._candidates = [*self._candidates, voice][-MOST_CANDIDATES:]

    def _unite(self) -> None:
        """Known voices that turned out to be one go by the older number from now on; candidates may be known by now."""
        for one, other in combinations(sorted(self._known, key=lambda voice: voice.speaker or MOST_SPEAKERS + 1), 2):
            both = one in self._known and other in self._known and one.speaker and not (one.name and other.name)
            if both and _likeness(one, other) >= SAME_SPEAKERS:
                one.hear(other)
                one.name = one.name or other.name
                self._known.remove(other)
                for cluster in self._speaking.values():
                    if cluster.known is other:
                        cluster.known = one
        for candidate in tuple(self._candidates):
            like = max(self._known, key=lambda voice: _likeness(voice, candidate), default=None)
            if like and _likeness(like, candidate) >= SAME:
                like.hear(candidate)
                self._candidates.remove(candidate)


def _agglomerated(clusters: list[_Cluster]) -> list[_Cluster]:
    """Merge the two that are most alike for as long as they are `SAME`; known voices stay apart."""
    if not clusters:
        return []
    means = np.stack([cluster.voice.centre for cluster in clusters])
    known = np.array([cluster.known is not None for cluster in clusters])
    alike = means @ means.T
    np.fill_diagonal(alike, -1)
    alike[np.ix_(known, known)] = -1
    left = np.ones(len(clusters), dtype=bool)
    while True:
        one, other = sorted(map(int, divmod(int(alike.argmax()), len(clusters))))
        if alike[one, other] < SAME:
            return [cluster for cluster, stays in zip(clusters, left, strict=True) if stays]
        clusters[one].take(clusters[other])
        left[other] = False
        known[one] |= known[other]
        means[one] = clusters[one].voice.centre
        alike[one] = np.where(left & ~(known & known[one]), means @ means[one], -1)
        alike[one, one] = -1
        alike[:, one] = alike[one]
        alike[other] = alike[:, other] = -1


def _likeness(one: Voice, other: Voice) -> float:
    return float(one.centre @ other.centre)


def _next_number(taken: Iterable[Speaker]) -> Speaker:
    used = set(taken)
    return next(Speaker(number) for number in count(FIRST_SPEAKER) if number not in used)
