"""docs/websocket-demo.html, opened from disk, against a real server."""

from pathlib import Path

import pytest

from tests.conftest import ROOT, Spoken
from tests.server.browsing import Browser
from tests.server.running import Running, word_errors

pytestmark = [pytest.mark.browser, pytest.mark.model]

DEMO = ROOT / "docs" / "websocket-demo.html"


def test_demo_hears_and_says_errors(server: Running, browser: Browser, librivox: tuple[Spoken, ...]) -> None:
    browser.open(DEMO.as_uri())
    browser.run("server.value = arguments[0]", server.asr + "?language=xx")
    browser.click("toggle")
    browser.until_text("error", "xx")
    browser.until_text("state", "Ready")
    browser.run("server.value = arguments[0]", server.asr)
    browser.click("toggle")
    browser.until_text("state", "Listening")
    browser.until_text("tentative", " ")
    browser.until(lambda: len(browser.text("committed").split()) >= 5, "committed words")
    browser.click("toggle")
    browser.until_text("state", "Ready")
    assert browser.text("error") == browser.text("tentative") == ""
    said = browser.text("committed").split()
    first = librivox[0].transcript.split()[: len(said)]
    assert word_errors(" ".join(first), " ".join(said)) <= 3


def test_demo_is_one_file() -> None:
    page = Path(DEMO).read_text(encoding="utf-8")
    assert " src=" not in page and "<link" not in page and "import" not in page and "http" not in page
