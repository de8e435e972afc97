"""A real Chromium whose microphone is a recording."""

import base64
import os
import shutil
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.conftest import ROOT, missing
from tests.server.page import Page

_QUIET = (
    "--headless=new --no-sandbox --no-first-run --disable-gpu --disable-dev-shm-usage --disable-sync "
    "--disable-background-networking --disable-component-update --disable-default-apps --disable-extensions"
)
DESKTOP = (1280, 800)
PHONE = (360, 740)


_NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
"""What Chromium makes of all loading when the machine's interfaces change, as when tests beside it start containers."""


class Browser(Page):
    """Chromium with the page in it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self._scripts: list[str] = []
        self._complaints: list[str] = []

    def open(self, url: str, *, before: str = "") -> None:
        """Load a page afresh; ``before`` is a script that runs first in it. Nothing is left of earlier pages."""
        for script in self._scripts:
            self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": script})
        self.driver.get("about:blank")
        origin = "/".join(url.split("/")[:3])
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        emptied = "sessionStorage.clear();" if url.startswith("http") else ""
        added = self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": emptied + before})
        self._scripts = [added["identifier"]]
        for _ in range(3):
            self.driver.get_log("browser")
            self.driver.get(url)
            self._complaints = self._logged()
            if not any(_NETWORK_CHANGED in complaint for complaint in self._complaints):
                break

    def __getitem__(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def text(self, name: str) -> str:
        return self[name].text

    def click(self, name: str) -> None:
        self[name].click()

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def size(self, width: int, height: int) -> None:
        wanted = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", wanted)

    def colours(self, scheme: str) -> None:
        wanted = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def language(self, code: str) -> None:
        agent = self.run("return navigator.userAgent")
        self.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": code})

    def downloads_to(self, folder: Path) -> None:
        wanted = {"behavior": "allow", "downloadPath": str(folder)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", wanted)

    def leave(self) -> None:
        """Away from the page, whatever it says about a recording that runs."""
        self.run("addEventListener('beforeunload', (event) => event.stopImmediatePropagation(), true)")
        self.driver.execute_cdp_cmd("Page.navigate", {"url": "about:blank"})

    def screenshot(self, name: str) -> None:
        """Kept for people to look at: in build/screenshots, or where SCREENSHOTS says."""
        folder = Path(os.environ.get("SCREENSHOTS") or ROOT / "build" / "screenshots")
        folder.mkdir(parents=True, exist_ok=True)
        time.sleep(0.5)  # colours fade
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        (folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the browser's console has as errors since the page was opened."""
        self._complaints += self._logged()
        return self._complaints

    def _logged(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextmanager
def chromium(folder: Path, microphone: bytes | None, *, allowed: bool = True) -> Iterator[Browser]:
    """A browser with 16 kHz s16le as its microphone, again and again; without one for None.

    Whoever asks for it is ``allowed`` to have it, or not.
    """
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        missing("Chromium and its driver are not installed (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.accept_insecure_certs = True
    arguments = [*_QUIET.split(), f"--user-data-dir={folder / 'profile'}"]
    if microphone is not None:
        _write_wav(folder / "microphone.wav", microphone)
        arguments += [
            "--use-fake-device-for-media-stream",
            f"--use-fake-ui-for-media-stream{'' if allowed else '=deny'}",
        ]
        arguments += [f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}"]
    for argument in arguments:
        options.add_argument(argument)
    options.set_capability("unhandledPromptBehavior", "accept")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()


def _write_wav(path: Path, data: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(data)
