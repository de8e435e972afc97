"""What all tests share: real models and recordings, got through the manifest's pinned sources and nothing else.

A missing requirement (no engine, no browser, no index) skips a test with the reason, except where
`CI` or `WLK_REQUIRE` is set: there it fails, so that nothing is skipped in silence.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from appliance.baking.bake import bake
from appliance.errors import ApplianceError
from appliance.fetch import fetch_item
from appliance.manifest import Item, Manifest, load_manifest
from appliance.pair.locate import Pair
from appliance.store import Store

pytest_plugins = ["tests.pair.fixtures", "tests.speakers.sortformers", "tests.translation.fixtures"]

ROOT = Path(__file__).parent.parent
LIBRIVOX = ("librivox-0870", "librivox-0880", "librivox-0890", "librivox-0920", "librivox-0930")


class _ThreeRows(LoadScopeScheduling):
    """Three rows of tests, each one by one in a process: those of boxes and of the server wait more than they work."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        return folder if folder in ("boot", "server") else "all else"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """For `make test`, which asks for ``--dist loadscope``."""
    return _ThreeRows(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_report_header() -> str:
    return f"free disk: {shutil.disk_usage(ROOT).free / 1e9:.0f} GB"


def missing(reason: str) -> NoReturn:
    """Skip the running test, or fail it where everything is required."""
    if os.environ.get("CI") or os.environ.get("WLK_REQUIRE"):
        pytest.fail(f"required here, and missing: {reason}", pytrace=False)
    pytest.skip(reason)


@dataclass(frozen=True)
class Spoken:
    """A recording and what is said in it."""

    name: str
    path: Path
    language: str
    transcript: str


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A command run inside a test sets logging up for the process: what the test's stderr was is gone afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return load_manifest(ROOT / "models" / "manifest.yaml")


@pytest.fixture(scope="session")
def store() -> Store:
    return Store(Path(os.environ.get("WLK_STORE") or ROOT / "build" / "store"))


def fetched(item: Item, store: Store) -> Path:
    try:
        return fetch_item(item, store, offline=False).path
    except ApplianceError as error:
        missing(f"{item.name} can't be fetched: {error}")


@pytest.fixture(scope="session")
def librivox(manifest: Manifest, store: Store) -> tuple[Spoken, ...]:
    """The five transcribed LibriVox utterances: 71 words, 25.6 s."""
    items = [manifest.recording(name) for name in LIBRIVOX]
    return tuple(Spoken(item.name, fetched(item, store), item.language, item.transcript) for item in items)


@pytest.fixture(scope="session")
def vad_file(manifest: Manifest, store: Store) -> Path:
    return fetched(manifest.asset("silero-vad"), store)


@pytest.fixture(scope="session")
def voices_file(manifest: Manifest, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of the diarizer that needs no GPU, under the name that images give them."""
    file = tmp_path_factory.mktemp("diarizer") / "campplus.pt"
    file.symlink_to(fetched(manifest.asset("campplus"), store))
    return file


@pytest.fixture(scope="session")
def base_pair(manifest: Manifest, store: Store, librivox: tuple[Spoken, ...]) -> Pair:
    """The real `base`, fetched and baked; what an earlier run baked is used again."""
    model = manifest.model("base")
    try:
        weights = fetch_item(model, store, offline=False)
    except ApplianceError as error:
        missing(f"base can't be fetched: {error}")
    ranks = fetched(manifest.tokenizer(model.tokenizer), store)
    return bake(model, weights, ranks, librivox[0].path, ROOT / "build" / "pairs").pair


@pytest.fixture(scope="session")
def french(manifest: Manifest, store: Store) -> Spoken:
    """A French sentence whose beginning `base` surely translates, "this old whisky"; its end needs a larger model."""
    item = manifest.recording("fr-pangrama")
    return Spoken(item.name, fetched(item, store), item.language, item.transcript)
