"""A ready server, one for all tests of a process, and the flags of one's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.pair.locate import Pair
from tests.server.running import Running, model_flags, running


@pytest.fixture(scope="session")
def flags(base_pair: Pair, vad_file: Path) -> list[str]:
    """Flags that name the real models."""
    return model_flags(base_pair, vad_file)


@pytest.fixture(scope="session")
def server(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A ready server with the real base model and TLS, shared by tests that leave it as it is."""
    with running(["--max-sessions", "3", *flags], tmp_path_factory.mktemp("state")) as started:
        started.wait_for("ready: base")
        yield started
