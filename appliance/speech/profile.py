"""How a stream trades latency, accuracy and work: when passes are made, over how much audio, when words are sure."""

from dataclasses import dataclass, replace
from typing import Literal

from appliance.speech.commit import Doubt, Rule
from appliance.speech.types import SAMPLE_RATE_HZ

CommitMode = Literal["fast", "balanced", "accurate"]
DecodingPolicy = Literal["alignatt", "localagreement"]

_GRAIN_SAMPLES = SAMPLE_RATE_HZ // 2
"""So that windows of several streams have a length in common, which a GPU encodes together."""


@dataclass(frozen=True, slots=True)
class Padding:
    """Silence after a window: at least ``after_s``, and as much as makes the whole at least ``least_s``."""

    least_s: float
    after_s: float

    def length(self, samples: int) -> int:
        """Padded length of a window in samples, in steps of half a second."""
        least = max(round(self.least_s * SAMPLE_RATE_HZ), samples + round(self.after_s * SAMPLE_RATE_HZ))
        return least + -least % _GRAIN_SAMPLES


FULL = Padding(30, 0)


@dataclass(frozen=True, slots=True)
class Profile:
    """When passes are made, and what they hear.

    ``rules``: when a word is sure. ``doubt``: when one that is not is searched, with those after it, and committed.
    ``first_s``: audio before the first pass of an utterance, its lead included; ``step_s``: new audio between two
    passes. ``settle_s``: silence after which the text is decoded to its end, to be committed when the pause is long
    enough (with ``commits_when_settled`` at once). ``margin``: how much likelier (natural log) another token must be to
    change one that was shown. ``cut_s``: a longer window is cut after a committed word; ``longest_s``: a longer one
    is cut in any case, after words that end ``full_behind_s`` before its end. ``beam``: hypotheses followed at
    once where a word is in doubt, and where the text runs to its end.
    """

    rules: tuple[Rule, ...]
    doubt: Doubt | None = None
    first_s: float = 0.8
    step_s: float = 0.6
    settle_s: float = 0.3
    commits_when_settled: bool = False
    step_padding: Padding = Padding(5, 2.5)
    end_padding: Padding = Padding(12, 4)
    cut_s: float = 8.0
    longest_s: float = 22.0
    full_behind_s: float = 1.5
    margin: float = 1.0
    beam: int = 5

    @property
    def first_samples(self) -> int:
        return round(self.first_s * SAMPLE_RATE_HZ)

    @property
    def step_samples(self) -> int:
        return round(self.step_s * SAMPLE_RATE_HZ)

    @property
    def settle_samples(self) -> int:
        return round(self.settle_s * SAMPLE_RATE_HZ)

    @property
    def cut_samples(self) -> int:
        return round(self.cut_s * SAMPLE_RATE_HZ)

    @property
    def longest_samples(self) -> int:
        return round(self.longest_s * SAMPLE_RATE_HZ)


BALANCED = Profile(rules=(Rule(2, 0.6, 0.8),), doubt=Doubt(2, 0.6, 0.8))
FAST = Profile(
    rules=(Rule(1, 0.8, 0.2), Rule(2, 0.0, 0.3)),
    step_s=0.55,
    commits_when_settled=True,
    step_padding=Padding(8, 4),
)
ACCURATE = Profile(rules=(), step_padding=Padding(5, 2), end_padding=Padding(20, 8))


def padded(profile: Profile) -> Profile:
    """The same with every window padded to the 30 s that the model was trained on, to compare by."""
    return replace(profile, step_padding=FULL, end_padding=FULL)


def agreeing(profile: Profile) -> Profile:
    """The same for passes that know no attention: words are sure when two in a row said them."""
    rules = (Rule(passes=2, probability=0.0, behind_s=0.0),) if profile.rules else ()
    return replace(profile, rules=rules, doubt=None, margin=0.0)


def translating(profile: Profile) -> Profile:
    """The same for translation, whose words do not follow the order of speech: they are sure at a pause."""
    return replace(profile, rules=(), doubt=None, commits_when_settled=False)


PROFILES: dict[CommitMode, Profile] = {"fast": FAST, "balanced": BALANCED, "accurate": ACCURATE}
