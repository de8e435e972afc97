"""A real Firefox whose microphone is a recording, over WebDriver BiDi: Firefox speaks that itself, without a driver."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.conftest import missing
from tests.server.page import Page

Message = dict[str, Any]

_PREFERENCES = {
    # A machine without a sound card starts no AudioContext.
    "media.cubeb.force_mock_context": True,
    # A microphone, and leave to use it. It gives a tone; what the page hears is the recording.
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
}
_MICROPHONE = """() => {
  const media = navigator.mediaDevices;
  if (!media) return;  // an empty page
  const real = media.getUserMedia.bind(media);
  media.getUserMedia = async (wanted) => {
    (await real(wanted)).getTracks().forEach((track) => track.stop());
    const recording = Uint8Array.from(atob("%s"), (letter) => letter.charCodeAt(0));
    const context = new AudioContext();
    const source = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(recording.buffer) });
    const heard = context.createMediaStreamDestination();
    source.connect(heard);
    source.start(context.currentTime + 1);
    return heard.stream;
  };
}"""

_SHOWN = """
const element = document.getElementById(arguments[0]);
return element.checkVisibility() ? element.innerText : "";
"""


class Firefox(Page):
    """One tab over its BiDi socket (https://w3c.github.io/webdriver-bidi/)."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count()
        self._complaints: list[str] = []
        self._ask("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self._ask("session.subscribe", events=["log.entryAdded"])
        self._tab = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, url: str, microphone: Path) -> None:
        """Load a page that hears this recording once, from a second after it asked for the microphone."""
        recording = base64.b64encode(microphone.read_bytes()).decode()
        self._ask("script.addPreloadScript", functionDeclaration=_MICROPHONE % recording)
        self._ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def run(self, script: str, *arguments: object) -> Any:
        called = f"JSON.stringify((function () {{ {script} }})(...{json.dumps(arguments)}))"
        told = self._ask("script.evaluate", expression=called, target={"context": self._tab}, awaitPromise=False)
        assert told["type"] == "success", told
        return json.loads(told["result"].get("value", "null"))

    def text(self, name: str) -> str:
        return str(self.run(_SHOWN, name))

    def click(self, name: str) -> None:
        (node,) = self._ask(
            "browsingContext.locateNodes", context=self._tab, locator={"type": "css", "value": f"#{name}"}
        )["nodes"]
        middle = {"x": 0, "y": 0, "origin": {"type": "element", "element": {"sharedId": node["sharedId"]}}}
        steps = [{"type": "pointerMove", **middle}, *({"type": f"pointer{way}", "button": 0} for way in ("Down", "Up"))]
        mouse = {"type": "pointer", "id": "mouse", "actions": steps}
        self._ask("input.performActions", context=self._tab, actions=[mouse])

    def complaints(self) -> list[str]:
        """What the console has as errors."""
        self.run("")
        return self._complaints

    def _ask(self, method: str, **parameters: object) -> Message:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                assert message["type"] == "success", message
                result: Message = message["result"]
                return result
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self._complaints.append(message["params"]["text"])


@contextmanager
def firefox(folder: Path, languages: str) -> Iterator[Firefox]:
    """A browser of a reader of these languages, such as ``zh-CN, en``; all that it keeps is in the folder."""
    program = shutil.which("firefox-esr")
    if program is None:
        missing("Firefox is not installed (apt-get install firefox-esr)")
    preferences = {**_PREFERENCES, "intl.accept_languages": languages}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
    (folder / "user.js").write_text("".join(lines))
    command = [program, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", "0"]
    with (folder / "firefox.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
        try:
            with connect(_address(folder, process), proxy=None, compression=None, max_size=None) as socket:
                yield Firefox(socket)
        finally:
            process.terminate()
            process.wait(20)


def _address(folder: Path, process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> str:
    """Where Firefox listens; it writes that into its profile."""
    told = folder / "WebDriverBiDiServer.json"
    deadline = time.monotonic() + timeout_s
    while not (told.exists() and told.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"Firefox is not there: {(folder / 'firefox.log').read_text()}")
        time.sleep(0.05)
    where = json.loads(told.read_text())
    return f"ws://{where['ws_host']}:{where['ws_port']}/session"
