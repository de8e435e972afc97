"""Which language an utterance is in: the model's guess, held against the languages allowed and the one before.

A short utterance is often guessed wrongly, and a wrong guess comes out translated. So the language stays what it
was unless another is clearly likelier, and may be limited to those spoken at a site.
"""

from collections.abc import Mapping, Sequence

SWITCH_PROBABILITY = 0.7
"""A language this likely is taken without a look at the one before: 44 of 54 utterances of 2 s had one, all right."""

DOUBTFUL_S = 4.0
"""Where none is as likely as that, nothing is sure until so much of the utterance was heard."""

SWITCH_RATIO = 4.0
"""Below that, another language must be so many times as likely as the one before."""


def choose(
    probabilities: Mapping[str, float], allowed: Sequence[str] = (), previous: str | None = None
) -> tuple[str, float]:
    """The language of an utterance, and its probability among all: 1 where only one is allowed.

    What the languages that are not allowed would have had is doubt: 1.4 s of Portuguese were 59 % English among all,
    and 83 % among five that were allowed.

    Args:
        probabilities: of each language the model knows.
        allowed: languages to choose among; empty: all.
        previous: language of the utterance before.
    """
    among = {code: value for code, value in probabilities.items() if not allowed or code in allowed}
    total = sum(among.values()) or 1.0
    best = max(among, key=lambda code: among[code])
    if previous in among and among[best] <= min(SWITCH_PROBABILITY * total, SWITCH_RATIO * among[previous]):
        best = previous
    return best, 1.0 if len(among) == 1 else among[best]
