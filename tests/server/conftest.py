from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.pair.locate import Pair, open_pair
from tests.conftest import Spoken
from tests.server.browsing import DESKTOP, Browser, chromium
from tests.server.running import Running, pcm, running


@pytest.fixture
def pair(small_pair: tuple[Path, Path]) -> Pair:
    """A small pair, to be looked at and not to be loaded."""
    return open_pair(*small_pair)


@pytest.fixture(scope="session")
def translating(flags: list[str], nllb_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A ready server that translates into Chinese, with a tiny model, unless it is asked otherwise."""
    own = ["--no-tls", "--translation-dir", str(nllb_dir), "--target-language", "zh", "--language", "en"]
    with running([*own, *flags], tmp_path_factory.mktemp("state")) as started:
        started.wait_for("ready: base")
        yield started


@pytest.fixture(scope="session")
def shared_browser(librivox: tuple[Spoken, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, hearing the first recording and 4 s of silence again and again."""
    said = pcm(librivox[0].path) + bytes(4 * 32000)
    with chromium(tmp_path_factory.mktemp("browser"), said) as started:
        yield started


@pytest.fixture
def browser(shared_browser: Browser, tmp_path: Path) -> Iterator[Browser]:
    """The shared browser as a test may expect it: English, light, desktop size; downloads go to the test's folder."""
    shared_browser.size(*DESKTOP)
    shared_browser.colours("light")
    shared_browser.language("en-US")
    shared_browser.downloads_to(tmp_path)
    yield shared_browser
    shared_browser.leave()
