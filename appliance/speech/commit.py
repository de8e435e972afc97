"""When a word is sure: how long successive passes have said it, how likely it is, how much was heard after it.

Method: LocalAgreement (Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by
Partial Hypothesis Selection", Interspeech 2020) on words, with the committed ones forced as a prefix, and with
AlignAtt's measure of how far from the end of the audio a word was spoken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from appliance.speech.hypothesis import FRAMES_PER_S, Token


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word of a hypothesis with its tokens; the text keeps its leading space.

    ``passes``: how many passes in a row said it at this place.
    """

    text: str
    tokens: tuple[Token, ...]
    passes: int = 1

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    @property
    def probability(self) -> float:
        """Of the least likely token."""
        return min(token.probability for token in self.tokens)

    @property
    def first_frame(self) -> int:
        return self.tokens[0].frame

    @property
    def last_frame(self) -> int:
        return self.tokens[-1].frame

    def followed_s(self, heard_frames: int) -> float:
        """Seconds of audio after it, of all that was heard (20 ms a frame)."""
        return (heard_frames - self.last_frame) / FRAMES_PER_S

    def moved(self, frames: int) -> "TimedWord":
        """The same word, in a window that begins ``frames`` earlier."""
        tokens = tuple(replace(token, frame=max(0, token.frame + frames)) for token in self.tokens)
        return replace(self, tokens=tokens)


@dataclass(frozen=True, slots=True)
class Rule:
    """One way for a word to be sure: all three must hold.

    ``passes`` said it in a row, its ``probability`` is at least this, ``behind_s`` seconds of audio follow it.
    """

    passes: int
    probability: float
    behind_s: float


@dataclass(frozen=True, slots=True)
class Doubt:
    """When a word in doubt is settled by a search: it is less likely than ``probability``, although as many ``passes``
    in a row said it and ``behind_s`` seconds of audio follow it.
    """

    passes: int
    probability: float
    behind_s: float

    def holds(self, words: Sequence[TimedWord], heard_frames: int) -> bool:
        """Whether the first of the words, which keeps the others waiting, is in such doubt."""
        if not words:
            return False
        first = words[0]
        is_due = first.passes >= self.passes and first.followed_s(heard_frames) >= self.behind_s
        return is_due and first.probability < self.probability


def counted(previous: Sequence[TimedWord], current: Sequence[TimedWord]) -> list[TimedWord]:
    """The words of this pass, with how often each has been said in a row."""
    words = []
    same = True
    for index, word in enumerate(current):
        same = same and index < len(previous) and previous[index].ids == word.ids
        words.append(replace(word, passes=previous[index].passes + 1) if same else word)
    return words


def sure(words: Sequence[TimedWord], heard_frames: int, rules: Sequence[Rule], *, ends_word: bool = False) -> int:
    """How many words at the front satisfy one of the rules.

    Args:
        heard_frames: the audio the words were recognised from, 20 ms each.
        ends_word: whether the last word is known to be whole; else it is never sure, for the audio may cut it short.
    """
    count = 0
    for word in words if ends_word else words[:-1]:
        followed_s = word.followed_s(heard_frames)
        if not any(
            word.passes >= rule.passes and word.probability >= rule.probability and followed_s >= rule.behind_s
            for rule in rules
        ):
            break
        count += 1
    return count
