"""What an engine is made of."""

import os
from dataclasses import dataclass
from pathlib import Path

from appliance.pair.locate import Pair
from appliance.speech.profile import DecodingPolicy

LONGEST_TURN_S = 150.0
"""Less than what those wait for who watch a server: a turn that hangs is mended before they take down all of it."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What to load, and on what to run it.

    ``compute_type``: the encoder's. ``workers``: turns that may run at once, each on its own core; 0 chooses.
    ``step_timeout_s``: a turn that takes no longer is never taken for one that hangs.
    """

    pair: Pair
    vad_file: Path
    device: str = "cpu"
    compute_type: str = "int8"
    workers: int = 0
    policy: DecodingPolicy = "alignatt"
    step_timeout_s: float = 30.0

    @property
    def turns(self) -> int:
        """How many turns may run at once."""
        return self.workers or (len(os.sched_getaffinity(0)) if self.device == "cpu" else 1)
