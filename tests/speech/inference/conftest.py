import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.speech.inference import deadly
from tests.speech.inference.kept import Kept


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """What a worker needs, there; and what breaks it, not there."""
    (tmp_path / "needed").touch()
    return tmp_path / "needed", tmp_path / "broken"


@pytest.fixture
def command(files: tuple[Path, Path]) -> list[str]:
    return [sys.executable, "-m", deadly.__name__, *map(str, files)]


@pytest.fixture
def keeps(command: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Kept]]:
    monkeypatch.chdir(ROOT)
    made: list[Kept] = []

    def keep(**options: float) -> Kept:
        made.append(Kept(command, **options))
        made[-1].wait_loaded()
        return made[-1]

    yield keep
    for one in made:
        one.close()
