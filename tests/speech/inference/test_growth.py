"""What the real worker holds after many turns, no two of which have a window of the same length."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from appliance.pair.locate import Pair
from appliance.speech.audio.file import decode_file
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import Request
from appliance.speech.inference.keeper import Keeper
from appliance.speech.inference.turns import Turns
from appliance.speech.types import SAMPLE_RATE_HZ
from tests.conftest import Spoken

pytestmark = pytest.mark.model

MOST_GROWTH_MB = 25
"""With the caches of oneDNN as large as they come it was 54 for each hundred turns, for as long as was looked."""


def held_mb(pid: int) -> float:
    """The least that the process has for itself within some seconds, in which it gives back what is free."""
    least = float("inf")
    for _ in range(120):
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
        [kilobytes] = [int(row.split()[1]) for row in rows if row.startswith("RssAnon")]
        least = min(least, kilobytes / 1000)
        time.sleep(0.1)
    return least


def test_new_lengths_of_windows_take_no_more_memory(
    base_pair: Pair, vad_file: Path, librivox: tuple[Spoken, ...]
) -> None:
    chance = random.Random(1)
    speech = [np.concatenate([*decode_file(spoken.path)]) for spoken in librivox]
    keeper = Keeper(EngineConfig(base_pair, vad_file, workers=2))
    turns = Turns(keeper)

    def request() -> Request:
        sound = chance.choice(speech)
        length = int(chance.uniform(0.6, 7.0) * SAMPLE_RATE_HZ)
        start = chance.randrange(max(1, len(sound) - length))
        window = sound[start : start + length]
        padded = len(window) + chance.randrange(SAMPLE_RATE_HZ // 2, 2 * SAMPLE_RATE_HZ)
        return Request(window, padded, language="en", is_final=chance.random() < 0.3, beam=chance.choice([1, 1, 1, 5]))

    def take(count: int) -> None:
        with ThreadPoolExecutor(2) as pool:
            asked = [[request() for _ in range(chance.randint(1, 4))] for _ in range(count)]
            for found in pool.map(turns.recognize, asked):
                assert found

    try:
        keeper.wait_loaded()
        take(40)
        before = held_mb(keeper.pid)
        take(100)
        assert held_mb(keeper.pid) - before < MOST_GROWTH_MB
    finally:
        keeper.close()
