"""How many streams this machine carries, from the time of one pass measured at start."""

import math
import time
from collections.abc import Callable

LONGEST_STEP_S = 1.4
"""At capacity each stream gets a pass this often: shown words then stay well under 2.5 s behind."""

UTILISATION = 0.8
"""Share of the threads' time that passes may fill; the rest is for audio, updates and the end of utterances."""

_ROUNDS = 3


def measured(one_pass: Callable[[], object]) -> float:
    """Seconds that a pass takes: the median of a few."""
    taken = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        one_pass()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[_ROUNDS // 2]


def streams(pass_s: float, workers: int) -> int:
    """Streams at once for which ``workers`` threads keep up with a pass every `LONGEST_STEP_S`; at least one."""
    return max(1, math.floor(workers * UTILISATION * LONGEST_STEP_S / pass_s))
