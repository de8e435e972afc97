"""The page in a real browser, with a recording as its microphone, over wss: words appear, and what may hinder them."""

import base64
import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Spoken, missing
from tests.server.browsing import PHONE, Browser, chromium
from tests.server.certificates import put_foreign
from tests.server.running import Running, opened, pcm, receive, running, word_errors, word_errors_so_far

pytestmark = [pytest.mark.browser, pytest.mark.model]


def test_speech_becomes_text_on_the_page(server: Running, browser: Browser, librivox: tuple[Spoken, ...]) -> None:
    browser.open(server.url)
    browser.until_text("status", "Ready")
    assert browser.frame() == "ready"
    browser.start()
    assert browser.frame() == "live"
    tentative, lags, levels = set(), set(), []
    deadline = time.monotonic() + len(pcm(librivox[0].path)) / 32000 + 2
    while time.monotonic() < deadline:
        tentative.add(browser.text("tentative"))
        lags.add(browser.text("lag"))
        levels.append(float(browser["level"].get_property("value") or 0))
        time.sleep(0.1)
        if len(levels) == 45:
            browser.screenshot("desktop-listening")
    browser.stop()
    assert word_errors(librivox[0].transcript, browser.said()) <= 4
    assert any(tentative) and max(levels) > 0.1
    assert any(lag.endswith(("keeping up", "late")) and " s behind" in lag for lag in lags)
    assert browser.text("tentative") == "" and browser.text("notice") == "" and browser.text("lag") == ""
    assert browser.complaints() == []
    assert browser.run(
        "return [...document.querySelectorAll('.said, #announcer p')].every(({ lang }) => lang === 'en')"
    )
    assert browser.text("count") == f"{len(browser.said().split())} words"
    told = "return [...announcer.children].map((piece) => piece.textContent).join(' ')"
    browser.until(lambda: bool(browser.run(told)) and browser.said().endswith(browser.run(told)), "words for a reader")
    names = [option.text for option in browser["source"].find_elements("css selector", "option")]
    assert names == ["Usual microphone", "Fake Audio Input 1", "Fake Audio Input 2", "Tab or system sound"]
    browser.run("source.selectedIndex = 2")
    browser.start()
    browser.run("language.value = 'en'; language.dispatchEvent(new Event('change'))")
    browser.until_said(len(browser.said().split()) + 2)
    browser.stop()
    assert browser.text("notice") == ""


TOKEN = "sésame/öffne+dich?"


@pytest.fixture(scope="module")
def strict(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that wants a token, and soon loses patience with a client that sends nothing."""
    wanted = ["--token", TOKEN, "--idle-timeout-s", "5.5"]
    with running([*wanted, *flags], tmp_path_factory.mktemp("strict")) as started:
        started.wait_for("ready: base")
        yield started


def test_pause_sends_nothing_and_keeps_the_stream(strict: Running, browser: Browser) -> None:
    browser.open(strict.url, before=f"sessionStorage.setItem('token', {json.dumps(TOKEN)});")
    browser.start()
    browser.until_said(2)
    browser.click("pause")
    browser.until_text("status", "Paused")
    assert browser.text("paused-note") == "Paused: nothing is heard or sent." and browser.frame() == "paused"
    time.sleep(1)
    said = browser.said()
    time.sleep(6)
    assert browser.said() == said and browser.text("status") == "Paused" and browser.text("notice") == ""
    assert browser["level"].get_property("value") == 0
    browser.click("pause")
    browser.until_text("status", "Listening")
    browser.until_said(len(said.split()) + 4)
    browser.stop()
    assert browser.said().startswith(said)


NOTE_NOTICES = """
window.notices = 0;
new MutationObserver((records) => { notices += records.length; }).observe(notice, { subtree: true, childList: true });
"""


def test_lost_server_is_told_and_the_text_goes_on_below(flags: list[str], tmp_path: Path, browser: Browser) -> None:
    with running(flags, tmp_path / "state") as server:
        server.wait_for("ready: base")
        browser.open(server.url)
        browser.start()
        browser.until_said(4)
        server.process.kill()
        browser.until_text("notice", "Connection lost")
        browser.until_text("status", "Reconnecting")
        assert browser.frame() == "trouble"
        browser.screenshot("desktop-disconnected")
        browser["captions-open"].click()
        browser.until_text("captions-status", "Disconnected")
        browser.screenshot("desktop-captions-disconnected")
        browser["captions-close"].click()
        browser.run(NOTE_NOTICES)
        before = browser.said()
        assert before
        time.sleep(4)
        assert browser.run("return notices") == 0, "an alert is spoken again with each attempt"
        with running([*flags, "--port", str(server.port)], tmp_path / "state") as again:
            again.wait_for("ready: base")
            browser.until_text("status", "Listening")
            assert browser.text("notice") == "" and browser.frame() == "live"
            browser.until(lambda: "connection was lost here" in browser.text("committed"), "where it was lost")
            count = len(browser.said().split())
            browser.until_said(count + 3)
            assert browser.said().startswith(before)
            times = [seconds(found.text) for found in browser.driver.find_elements("css selector", "#committed time")]
            assert times == sorted(times) and times[-1] > times[0]
            browser.stop()


def test_a_server_that_is_restarted_is_waited_for(flags: list[str], tmp_path: Path, browser: Browser) -> None:
    """It ends the stream in the field's way, which is not the end of what is said here."""
    with running(flags, tmp_path / "state") as server:
        server.wait_for("ready: base")
        browser.open(server.url)
        browser.start()
        browser.until_said(2)
        assert server.stop() == 0
        browser.until_text("notice", "The server is restarting")
        before = browser.said()
        with running([*flags, "--port", str(server.port)], tmp_path / "state") as again:
            again.wait_for("ready: base")
            browser.until_text("status", "Listening")
            browser.until_said(len(before.split()) + 2)
            assert browser.said().startswith(before)
            browser.stop()


def test_a_certificate_that_is_out_of_date_is_told(flags: list[str], tmp_path: Path, browser: Browser) -> None:
    own = put_foreign(tmp_path, days=-3)
    more = ["--tls-cert", str(own.certificate), "--tls-key", str(own.key)]
    with running([*more, *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        browser.open(server.url)
        browser.until_text("status", "Ready")
        browser.until_text("notice", "The server's certificate has expired")
        browser.start()
        browser.until_said(1)
        browser.stop()


def seconds(shown: str) -> int:
    minutes, rest = shown.split(":")
    return 60 * int(minutes) + int(rest)


@pytest.fixture(scope="module")
def listener(librivox: tuple[Spoken, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that hears all recordings, each with a pause after it, and then half a minute of nothing."""
    said = b"".join(pcm(spoken.path) + bytes(32000) for spoken in librivox) + bytes(30 * 32000)
    with chromium(tmp_path_factory.mktemp("listener"), said) as started:
        yield started


def test_words_said_over_a_dead_link_are_heard_once(
    flags: list[str], tmp_path: Path, listener: Browser, librivox: tuple[Spoken, ...]
) -> None:
    with running(["--resume-window", "0", *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        listener.open(server.url)
        listener.start()
        listener.until_said(6)
        server.process.send_signal(signal.SIGSTOP)
        listener.until_text("lag", "late")
        assert listener.text("status") == "Listening"
        listener.until_text("status", "Disconnected")
        assert listener.frame() == "trouble" and "last minute of sound is kept" in listener.text("notice")
        server.process.send_signal(signal.SIGCONT)
        listener.until_text("status", "Listening")
        listener.until(lambda: "connection was lost here" in listener.text("committed"), "where it was lost")
        assert "missing" not in listener.text("committed")
        text = " ".join(spoken.transcript for spoken in librivox)
        listener.until_said(len(text.split()) - 4)
        listener.stop()
        assert word_errors(text, listener.said()) <= 10


def test_stop_on_a_dead_link_keeps_what_was_said(
    flags: list[str], tmp_path: Path, listener: Browser, librivox: tuple[Spoken, ...]
) -> None:
    with running(["--resume-window", "0", *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        listener.open(server.url)
        listener.start()
        begun = time.monotonic()
        listener.until_said(3)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(max(0.0, len(pcm(librivox[0].path)) / 32000 - (time.monotonic() - begun) + 0.5))
        listener.click("toggle")
        listener.until_text("status", "Finishing")
        listener.until_text("status", "Disconnected")
        assert "Press Stop again" in listener.text("notice")
        server.process.send_signal(signal.SIGCONT)
        listener.until_text("status", "Ready")
        assert listener.text("notice") == ""
        assert word_errors_so_far([spoken.transcript for spoken in librivox], listener.said()) <= 5

        listener.start()
        listener.until_said(len(listener.said().split()) + 3)
        server.process.kill()
        listener.until_text("status", "Disconnected")
        listener.click("toggle")
        listener.until_text("notice", "Press Stop again")
        time.sleep(1.1)
        listener.click("toggle")
        listener.until_text("status", "Ready")
        assert listener.text("notice") == ""


def test_recorder_that_lost_its_server_tells_all_that_is_missing(
    flags: list[str], tmp_path: Path, listener: Browser
) -> None:
    """What it made is no use for another stream, from the last sound on that the server took."""
    with running(["--resume-window", "0", *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        listener.open(server.url, before="delete globalThis.AudioWorkletNode;")
        listener.start()
        listener.until_said(3)
        server.process.send_signal(signal.SIGSTOP)
        listener.until_text("status", "Disconnected")
        assert "What you say now is not heard" in listener.text("notice")
        server.process.send_signal(signal.SIGCONT)
        listener.until_text("status", "Listening")
        listener.until_text("committed", "what was said is missing")
        found = re.search(r"not connected for 0:(\d\d)", listener.text("committed"))
        assert found and 9 <= int(found[1]) <= 40
        listener.stop()


def test_network_that_is_too_slow_is_told_and_taken_back(server: Running, browser: Browser) -> None:
    stand_in = "Object.defineProperty(WebSocket.prototype, 'bufferedAmount', { get: () => globalThis.unsent ?? 0 });"
    browser.open(server.url, before=stand_in)
    browser.start()
    browser.run("unsent = 2 ** 23")
    browser.until_text("notice", "some speech is left out")
    browser.run("unsent = 0")
    browser.until(lambda: browser.text("notice") == "", "no notice")
    browser.stop()


def test_full_server_is_told_and_waited_for(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.until_text("status", "Ready")
    with ExitStack() as others:
        for _ in range(3):
            receive(others.enter_context(opened(server)))
        browser.click("toggle")
        browser.until_text("status", "Waiting for a place")
        assert "All places of the server are taken" in browser.text("notice") and browser.frame() == "wait"
    browser.until_text("status", "Listening")
    assert browser.text("notice") == ""
    browser.until_said(1)
    browser.stop()


NOTE_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(address, offered = []) {
    super(address, offered);
    sockets.push([String(address), offered]);
  }
};
"""


def base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_token_is_asked_for_once_and_stays_out_of_the_address(strict: Running, browser: Browser) -> None:
    browser.open(strict.url, before=NOTE_SOCKETS)
    browser.until(lambda: browser["toggle"].is_enabled(), "a button to start with")
    browser.click("toggle")
    for given in ("wrong", TOKEN):
        browser.until_text("notice", "The server needs a token")
        browser.until(lambda: browser.run("return document.activeElement.id") == "token", "the token's field")
        browser["token"].send_keys(given)
        browser.run("window.tried = sockets.length")
        browser["token"].submit()
        # the field itself is back with the refusal, maybe sooner than anyone sees it go
        browser.until(lambda: browser.run("return sockets.length > tried"), "an attempt")
    browser.until_text("status", "Listening")
    browser.stop()
    browser.start()
    browser.stop()
    asked = browser.run("return [location, ...performance.getEntries().map((entry) => entry.name)].join(' ')")
    sockets = browser.run("return sockets")
    assert [offered for _, offered in sockets[-2:]] == [["wlk", f"wlk.token.{base64url(TOKEN)}"]] * 2
    for address in [asked, *(address for address, _ in sockets)]:
        assert not any(part in address for part in ("token", "sesam", "%C3%A9", base64url(TOKEN)[:8]))


def test_page_without_https_says_why_the_microphone_is_blocked(
    flags: list[str], tmp_path: Path, browser: Browser
) -> None:
    """Loopback counts as secure, so the page is opened at another address of this machine."""
    from appliance.server.hostnames import host_addresses

    other = [str(a) for a in host_addresses() if a.version == 4 and not a.is_loopback]
    if not other:
        missing("this machine has no address beside loopback")
    with running(["--no-tls", "--host", "0.0.0.0", *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        browser.open(f"http://{other[0]}:{server.port}/")
        browser.until_text("notice", "did not come over https")
        assert not browser["toggle"].is_enabled() and browser["file-button"].is_enabled()
        links = browser["notice"].find_elements("css selector", "a")
        assert [link.get_attribute("href") for link in links] == [
            f"https://{other[0]}:{server.port}/",
            f"http://{other[0]}:{server.port}/ca",
        ]


def test_no_microphone_and_a_denied_one_are_told_apart(server: Running, tmp_path: Path) -> None:
    for microphone, told in ((None, "No microphone was found"), (bytes(32000), "The microphone is not allowed")):
        folder = tmp_path / told[:2]
        folder.mkdir()
        with chromium(folder, microphone, allowed=False) as other:
            other.open(server.url)
            other.until(lambda: other["toggle"].is_enabled(), "a button to start with")
            other.click("toggle")
            other.until_text("notice", told)
            assert other.text("status") == "No microphone" and other.frame() == "trouble"
            assert other["toggle"].is_enabled()


def test_browser_without_audio_worklet_sends_what_its_recorder_makes(server: Running, browser: Browser) -> None:
    """One that shares no sound of tabs either, as Firefox."""
    browser.size(*PHONE)
    lacking = "delete globalThis.AudioWorkletNode; MediaDevices.prototype.getSupportedConstraints = () => ({});"
    browser.open(server.url, before=lacking)
    browser.start()
    assert "Usual microphone" in browser.text("source") and "Tab or system sound" not in browser.text("source")
    browser.until(lambda: float(browser["level"].get_property("value") or 0) > 0.1, "the level")
    browser.until_said(3)
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    browser.screenshot("phone-listening")
    browser.click("pause")
    browser.until_text("status", "Paused")
    browser.screenshot("phone-paused")
    said = browser.said()
    time.sleep(1)
    browser.click("pause")
    browser.until_said(len(said.split()) + 3)
    browser.stop()
    assert browser.said().startswith(said) and browser.text("tentative") == ""
    assert browser.complaints() == []


def test_sound_of_a_tab(server: Running, browser: Browser) -> None:
    """What a tab plays stands in for it: a headless browser has no chooser. The rest of the way is the real one."""
    stand_in = """
      navigator.mediaDevices.getDisplayMedia = async (wanted) => {
        globalThis.asked = JSON.stringify(wanted);
        return navigator.mediaDevices.getUserMedia({ audio: true });
      };
    """
    browser.open(server.url, before=stand_in)
    browser.until(lambda: browser["toggle"].is_enabled(), "a button to start with")
    choice = "source.value = 'tab'; return source.value"
    browser.until(lambda: browser.run(choice) == "tab", "the list of sources")
    browser.start()
    browser.until_said(2)
    assert json.loads(browser.run("return asked"))["audio"]["echoCancellation"] is False
    browser.stop()
    browser.run("navigator.mediaDevices.getDisplayMedia = async () => new MediaStream()")
    browser.click("toggle")
    browser.until_text("notice", "What was shared has no sound")
