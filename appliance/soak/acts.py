"""What a client does next: which recording, in which form and language, and what happens to it. Chosen by a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from appliance.soak.sounds import EXACT, FORMS, Form

Trouble = Literal["none", "pause", "silence", "stop", "drop", "leave", "slow", "broken"]

TROUBLES: dict[Trouble, int] = {
    "none": 4,
    "drop": 3,
    "pause": 2,
    "stop": 2,
    "slow": 2,
    "silence": 1,
    "leave": 1,
    "broken": 1,
}
"""How often each happens, and of these:

``drop``: the network is cut, and the client comes back; ``leave``: it is cut, and it does not. ``pause``: the client
sends nothing for some seconds; ``silence``: silence before and after what is said. ``stop``: it ends in the middle.
``slow``: it takes nothing for some seconds. ``broken``: what it sends is no sound any more, to its end; only
of what has a form that can be broken, for raw numbers are always some sound.
"""

_FORM_WEIGHTS: dict[Form, int] = {"s16le": 4, "wav": 2, "webm": 3, "ogg": 1, "flac": 1, "mp3": 1}
_LONGEST_PAUSE_S = 6.0
_LONGEST_REST_S = 2.0


@dataclass(frozen=True, slots=True)
class Act:
    """``play``: number of what is played. ``auto``: the server is to find out its language. ``at``: the part of the
    audio, from 0 to 1, at which trouble comes; ``seconds``: how long it lasts.
    """

    play: int
    form: Form
    auto: bool
    mode: Literal["diff", "full"]
    trouble: Trouble
    at: float
    seconds: float


def acts(seed: int, client: int, plays: int, forms: Sequence[Form] = FORMS) -> Iterator[tuple[Act, float]]:
    """What a client does, without end, and how many seconds it rests after each."""
    chance = random.Random(f"{seed} {client}")
    while True:
        yield choose(chance, plays, forms), chance.uniform(0, _LONGEST_REST_S)


def choose(chance: random.Random, plays: int, forms: Sequence[Form] = FORMS) -> Act:
    """The next act of a client."""
    (form,) = chance.choices(forms, [_FORM_WEIGHTS[form] for form in forms])
    (trouble,) = chance.choices(list(TROUBLES), list(TROUBLES.values()))
    if trouble == "broken" and form in EXACT:
        trouble = "none"
    return Act(
        play=chance.randrange(plays),
        form=form,
        auto=chance.random() < 0.4,
        mode="diff" if chance.random() < 0.6 else "full",
        trouble=trouble,
        at=chance.uniform(0.2, 0.9),
        seconds=chance.uniform(1.0, _LONGEST_PAUSE_S),
    )
