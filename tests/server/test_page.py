"""The page in a real browser, with a recording as its microphone, over wss."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.conftest import Spoken, missing
from tests.server.running import Running, pcm, running, word_errors

pytestmark = [pytest.mark.browser, pytest.mark.model]

Browser = webdriver.Chrome

_QUIET = (
    "--headless=new --no-sandbox --no-first-run --disable-gpu --disable-dev-shm-usage --disable-sync "
    "--disable-background-networking --disable-component-update --disable-default-apps --disable-extensions"
)


@pytest.fixture
def browser(librivox: tuple[Spoken, ...], tmp_path: Path) -> Iterator[Browser]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing("Chromium and its driver are not installed (apt-get install chromium chromium-driver)")
    wav = tmp_path / "microphone.wav"
    write_wav(wav, pcm(librivox[0].path) + bytes(32000 * 2))
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.accept_insecure_certs = True
    for argument in [
        *_QUIET.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={wav}%noloop",
    ]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()


def write_wav(path: Path, data: bytes) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(data)


def text(browser: Browser, name: str) -> str:
    return browser.find_element(By.ID, name).text


def until(browser: Browser, name: str, wanted: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if wanted in text(browser, name):
            return
        time.sleep(0.1)
    raise AssertionError(f"{name} is {text(browser, name)!r}, not {wanted!r}; {text(browser, 'notice')!r}")


def spoken_text(browser: Browser) -> str:
    """Committed text without the times of its lines."""
    return str(
        browser.execute_script(
            "return [...document.querySelectorAll('#committed p:not(.pause)')].map(p => p.lastChild.data).join(' ')"
        )
    )


def test_speech_becomes_text_on_the_page(server: Running, browser: Browser, librivox: tuple[Spoken, ...]) -> None:
    browser.get(server.url)
    until(browser, "status", "Ready")
    toggle = browser.find_element(By.ID, "toggle")
    toggle.click()
    until(browser, "status", "Listening")
    tentative, levels = set(), []
    deadline = time.monotonic() + len(pcm(librivox[0].path)) / 32000 + 2
    while time.monotonic() < deadline:
        tentative.add(text(browser, "tentative"))
        levels.append(float(browser.find_element(By.ID, "level").get_property("value") or 0))
        time.sleep(0.1)
    toggle.click()
    until(browser, "status", "Ready")
    assert word_errors(librivox[0].transcript, spoken_text(browser)) <= 4
    assert any(tentative) and max(levels) > 0.1
    assert text(browser, "tentative") == "" and text(browser, "notice") == ""
    assert browser.find_element(By.ID, "copy").is_enabled()
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_lost_server_is_told_and_text_stays(
    flags: list[str], tmp_path: Path, browser: Browser, librivox: tuple[Spoken, ...]
) -> None:
    with running(flags, tmp_path / "state") as server:
        server.wait_for("ready: base")
        browser.get(server.url)
        until(browser, "status", "Ready")
        browser.find_element(By.ID, "toggle").click()
        until(browser, "committed", " ")
        server.process.kill()
        until(browser, "notice", "Connection lost")
        until(browser, "status", "Reconnecting")
        assert spoken_text(browser)
        same_port = [*flags, "--port", str(server.port)]
        with running(same_port, tmp_path / "state") as again:
            again.wait_for("ready: base")
            until(browser, "status", "Listening")
            assert text(browser, "notice") == ""


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
        browser.get(f"http://{other[0]}:{server.port}/")
        until(browser, "notice", "did not come over https")
        assert not browser.find_element(By.ID, "toggle").is_enabled()


def test_token_is_asked_for(flags: list[str], tmp_path: Path, browser: Browser) -> None:
    with running(["--token", "sesame", *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        browser.get(server.url)
        until(browser, "status", "Ready")
        browser.find_element(By.ID, "toggle").click()
        until(browser, "notice", "a token is needed")
        field = browser.find_element(By.ID, "token")
        field.send_keys("sesame")
        field.submit()
        until(browser, "status", "Listening")
