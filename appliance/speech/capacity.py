"""How many streams this machine carries, from the times of passes measured at start."""

import math
import time
from collections.abc import Callable

LONGEST_STEP_S = 1.4
"""At capacity each stream gets a pass this often: shown words then stay well under 2.5 s behind."""

UTTERANCE_S = 4.0
"""A text runs to its end, with a search, this often: about every fourth second in read speech."""

SERVING = 0.015
"""Share of a thread that a stream takes beside its passes: audio in, voice activity, updates out (measured)."""

UTILISATION = 0.65
"""Share of the threads' time that streams may fill: hard speech without pauses takes a quarter more (measured)."""

_ROUNDS = 3


def measured(one_pass: Callable[[], object]) -> float:
    """Seconds that a pass takes: the median of a few."""
    taken = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        one_pass()
        taken.append(time.perf_counter() - started)
    return sorted(taken)[_ROUNDS // 2]


def share(step_s: float, end_s: float) -> float:
    """The share of a thread that a stream takes, in passes and beside them.

    Args:
        step_s: seconds of a pass while speech goes on.
        end_s: of one in which a text runs to its end.
    """
    return step_s / LONGEST_STEP_S + end_s / UTTERANCE_S + SERVING


def streams(each: float, workers: int) -> int:
    """Streams at once with which ``workers`` threads keep up, where each takes such a share of one; at least one."""
    return max(1, math.floor(workers * UTILISATION / each))
