from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.pair.locate import Pair
from appliance.speech.engine import Engine, EngineConfig


@pytest.fixture(scope="session")
def engine(base_pair: Pair, vad_file: Path) -> Iterator[Engine]:
    loaded = Engine.load(EngineConfig(pair=base_pair, vad_file=vad_file))
    yield loaded
    loaded.close()
