"""When a word is sure: the agreement of successive passes.

Method: LocalAgreement-2 (Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and Translation
by Partial Hypothesis Selection", Interspeech 2020) on words, with the committed ones forced as a prefix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.speech.recognizer import Token


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word of a hypothesis with its tokens; the text keeps its leading space."""

    text: str
    tokens: tuple[Token, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def probability(self) -> float:
        """Of the least likely token."""
        return min(token.probability for token in self.tokens)


def agreed(previous: Sequence[TimedWord], current: Sequence[TimedWord]) -> int:
    """How many words at the front of ``current`` are sure.

    Those that the pass before said too; never the last word of either pass, since a word that the
    audio cuts short can read as another word in full.
    """
    limit = min(len(previous), len(current)) - 1
    count = 0
    while count < limit and previous[count].ids == current[count].ids:
        count += 1
    return count
