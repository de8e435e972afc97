"""A module for each thing that reads what others wrote.

Each has ``seeds()``, real inputs that are taken, and ``one(data)``: whether this one was taken, or else refused as
documented; it raises on anything else. Some have ``words()``, bytes that mean something there; ``strategy()``,
well-formed inputs with odd contents; ``clock``, where not all of the process's work is for the input; and ``step_s``.
"""

import importlib
import pkgutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis.strategies import SearchStrategy

from tests.fuzz.mutation import mutated
from tests.fuzz.watch import STEP_S, watched

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@dataclass(frozen=True)
class Target:
    """One of the modules here, loaded; its seeds are made once."""

    name: str
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    strategies: tuple[SearchStrategy[bytes], ...]
    one: Callable[[bytes], bool]
    clock: Callable[[], float]
    step_s: float

    def attempt(self, data: bytes, slower: float = 1.0) -> tuple[bool, float]:
        """Whether this input was taken, and how long that took; see `watched`. ``slower``: than `step_s` asks for."""
        return watched(self.one, data, clock=self.clock, step_s=self.step_s * slower)


def load(name: str) -> Target:
    module = importlib.import_module(f"{__name__}.{name}")
    seeds = tuple(module.seeds())
    words = tuple(module.words()) if hasattr(module, "words") else ()
    own = (module.strategy(),) if hasattr(module, "strategy") else ()
    return Target(
        name,
        seeds,
        words,
        (mutated(seeds, words), *own),
        module.one,
        getattr(module, "clock", time.process_time),
        getattr(module, "step_s", STEP_S),
    )
