"""Words for what a reader does and sees on the page, in whatever browser."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

PATIENCE_S = 120.0

_SAID = """
const without = (p) => [...p.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("");
return [...document.querySelectorAll("#committed .line:not(.unsure) .said")].map(without).join(" ");
"""


class Page(ABC):
    """The page as a browser shows it. Elements go by their ids."""

    @abstractmethod
    def run(self, script: str, *arguments: object) -> Any:
        """What a function with that body returns in the page."""

    @abstractmethod
    def text(self, name: str) -> str: ...

    @abstractmethod
    def click(self, name: str) -> None: ...

    def complaints(self) -> list[str]:
        """What the browser's console has as errors since the page was opened, where it tells."""
        return []

    def said(self) -> str:
        """Committed text without times and names."""
        return str(self.run(_SAID))

    def until(self, done: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                shown = self.run("return document.body.innerText")
                raise AssertionError(f"not seen: {what}; the page shows {shown!r}; complaints: {self.complaints()}")
            time.sleep(0.05)

    def until_text(self, name: str, wanted: str, timeout_s: float = PATIENCE_S) -> None:
        self.until(lambda: wanted in self.text(name), f"{wanted!r} in {name}", timeout_s)

    def until_said(self, count: int, timeout_s: float = PATIENCE_S) -> None:
        """Until that many words are committed."""
        self.until(lambda: len(self.said().split()) >= count, f"{count} words", timeout_s)

    def start(self) -> None:
        self.until(lambda: bool(self.run("return !toggle.disabled")), "a button to start with")
        self.click("toggle")
        self.until_text("status", "Listening")

    def stop(self) -> None:
        self.click("toggle")
        self.until_text("status", "Ready")

    def frame(self) -> str:
        return str(self.run("return document.body.dataset.frame"))
