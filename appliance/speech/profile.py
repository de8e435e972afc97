"""How a stream trades latency, accuracy and work: when passes are made, over how much audio, when words are sure."""

from dataclasses import dataclass, replace
from typing import Literal

from appliance.speech.commit import Rule
from appliance.speech.types import SAMPLE_RATE_HZ

CommitMode = Literal["fast", "balanced", "accurate"]


@dataclass(frozen=True, slots=True)
class Padding:
    """Silence after a window: at least ``after_s``, and as much as makes the whole at least ``least_s``."""

    least_s: float
    after_s: float

    def length(self, samples: int) -> int:
        """Padded length of a window in samples, whole seconds."""
        least = max(round(self.least_s * SAMPLE_RATE_HZ), samples + round(self.after_s * SAMPLE_RATE_HZ))
        return least + -least % SAMPLE_RATE_HZ


FULL = Padding(30, 0)


@dataclass(frozen=True, slots=True)
class Profile:
    """``step_s``: new audio between two passes. ``settle_s``: silence after which the text is decoded to its end.
    ``cut_s``: a longer window is cut after a committed word. ``longest_s``: a longer one is cut anywhere.
    """

    rules: tuple[Rule, ...]
    step_s: float = 0.7
    settle_s: float = 0.3
    commits_when_settled: bool = False
    step_padding: Padding = Padding(5, 2)
    end_padding: Padding = Padding(10, 4)
    cut_s: float = 12.0
    longest_s: float = 22.0
    full_behind_s: float = 1.5
    margin: float = 0.0

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


BALANCED = Profile(rules=(Rule(2, 0.0, 1.5),))
FAST = replace(BALANCED, rules=(Rule(2, 0.0, 0.3),), commits_when_settled=True)
ACCURATE = replace(BALANCED, rules=())


def padded(profile: Profile) -> Profile:
    """The same with every window padded to the 30 s that the model was trained on, to compare by."""
    return replace(profile, step_padding=FULL, end_padding=FULL)


def agreeing(profile: Profile) -> Profile:
    """The same for passes that know no attention: words are sure when two in a row said them."""
    rules = (Rule(passes=2, probability=0.0, behind_s=0.0),) if profile.rules else ()
    return replace(profile, rules=rules, margin=0.0)


def translating(profile: Profile) -> Profile:
    """The same for translation, whose words do not follow the order of speech: they are sure at a pause."""
    return replace(profile, rules=())


PROFILES: dict[CommitMode, Profile] = {"fast": FAST, "balanced": BALANCED, "accurate": ACCURATE}
