"""docs/websocket-demo.html, opened from disk, against a real server."""

import socket
from pathlib import Path

import pytest

from tests.conftest import ROOT, Spoken
from tests.server.browsing import Browser
from tests.server.running import Running, running, word_errors

pytestmark = [pytest.mark.browser, pytest.mark.model]

DEMO = ROOT / "docs" / "websocket-demo.html"


NOTE_MICROPHONES = """
const ask = MediaDevices.prototype.getUserMedia;
window.given = [];
MediaDevices.prototype.getUserMedia = async function (wanted) {
  const media = await ask.call(this, wanted);
  given.push(...media.getTracks());
  return media;
};
"""


def microphones(browser: Browser) -> list[str]:
    """What became of each that the page was given."""
    return list(browser.run("return given.map((track) => track.readyState)"))


def test_demo_hears_and_says_errors(server: Running, browser: Browser, librivox: tuple[Spoken, ...]) -> None:
    browser.open(DEMO.as_uri(), before=NOTE_MICROPHONES)
    browser.run("server.value = arguments[0]", server.asr + "?language=xx")
    browser.click("toggle")
    browser.until_text("error", "xx")
    browser.until_text("state", "Ready")
    assert microphones(browser) == ["ended"]
    browser.run("server.value = arguments[0]", server.asr)
    browser.run("toggle.click(); toggle.click()")
    browser.until_text("state", "Listening")
    browser.until_text("tentative", " ")
    browser.until(lambda: len(browser.text("committed").split()) >= 5, "committed words")
    assert microphones(browser) == ["ended", "live"]
    assert browser.run("return document.getElementById('text').lang") == "en"
    browser.click("toggle")
    browser.until_text("state", "Ready")
    assert browser.text("error") == browser.text("tentative") == "" and microphones(browser) == ["ended", "ended"]
    said = browser.text("committed").split()
    first = librivox[0].transcript.split()[: len(said)]
    assert word_errors(" ".join(first), " ".join(said)) <= 3


def test_demo_lets_go_of_the_microphone_where_nobody_answers(browser: Browser) -> None:
    browser.open(DEMO.as_uri(), before=NOTE_MICROPHONES)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        browser.run("server.value = arguments[0]", f"ws://127.0.0.1:{silent.getsockname()[1]}/asr")
        browser.click("toggle")
        browser.until_text("state", "Connecting")
        browser.click("toggle")
        assert browser.text("state") == "Ready" and browser.text("error") == ""
    browser.run("server.value = 'ftp://localhost/asr'")
    browser.click("toggle")
    browser.until(lambda: bool(browser.text("error")), "what is wrong with the address")
    assert browser.text("state") == "Ready" and microphones(browser) == ["ended", "ended"]


def test_demo_is_one_file() -> None:
    page = Path(DEMO).read_text(encoding="utf-8")
    assert " src=" not in page and "<link" not in page and "import" not in page and "http" not in page


def test_a_page_from_elsewhere_is_refused_where_only_our_own_may_connect(
    flags: list[str], browser: Browser, tmp_path: Path
) -> None:
    """As installed: WLK_ALLOWED_ORIGINS=same. A page from disk has no origin that could be allowed but by `*`."""
    with running(["--allowed-origins", "same", *flags], tmp_path) as own:
        own.wait_for("ready: base")
        browser.open(DEMO.as_uri())
        browser.run("server.value = arguments[0]", own.asr)
        browser.click("toggle")
        browser.until_text("error", "may not connect here")
        browser.open(own.url)
        browser.start()
        browser.until_said(2)
        browser.stop()
        assert browser.complaints() == []
