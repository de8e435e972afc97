"""What all tests share: real models and recordings, got through the manifest's pinned sources and nothing else.

A missing requirement (no engine, no browser, no index) skips a test with the reason, except where
`CI` or `WLK_REQUIRE` is set: there it fails, so that nothing is skipped in silence.
"""

import gc
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

pytest_plugins = [
    "tests.container.fixtures",
    "tests.delivery.fixtures",
    "tests.pair.fixtures",
    "tests.server.fixtures",
    "tests.speakers.sortformers",
    "tests.translation.fixtures",
]

ROOT = Path(__file__).parent.parent
LIBRIVOX = ("librivox-0870", "librivox-0880", "librivox-0890", "librivox-0920", "librivox-0930")


_LONG = ("releases", "boxes", "server", "images", "pages", "soak")
"""Rows that take long begin first."""


def _row(nodeid: str) -> str:
    """Tests that run one by one in one process: a folder's, or those of folders that share what takes long to make."""
    _, folder, *rest = nodeid.split("::")[0].split("/")
    if folder in ("container", "scripts"):
        return "images"
    if folder == "server":
        return "pages" if rest[0].startswith("test_page") else "server"
    if folder == "boot" and rest[0] in ("test_box.py", "test_podman.py", "test_service.py", "test_watchdog.py"):
        return "boxes"
    return "releases" if folder in ("boot", "delivery") else folder


class _Rows(LoadScopeScheduling):
    """Whoever is done with a row takes the next one."""

    def _split_scope(self, nodeid: str) -> str:
        return _row(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """For `make test`, which asks for ``--dist loadscope``."""
    return _Rows(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {row: rank for rank, row in enumerate(_LONG)}
    items.sort(key=lambda item: ranks.get(_row(item.nodeid), len(ranks)))


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


@pytest.fixture(autouse=True, scope="module")
def _own_rubbish() -> Iterator[None]:
    """What a module leaves open warns at the end of this module, not in a test that comes later."""
    yield
    gc.collect()
    gc.freeze()  # what is left is not looked at again


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
