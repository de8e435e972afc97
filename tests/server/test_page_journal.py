"""The page of a server that keeps what is said tells it: before anybody speaks, in both languages, in the captions."""

from pathlib import Path

import pytest

from tests.server.browsing import Browser
from tests.server.running import Running, running

pytestmark = [pytest.mark.browser, pytest.mark.model]

_SHOWN = """
return [...document.querySelectorAll(".kept")].filter((note) => note.checkVisibility()).map((note) => note.textContent);
"""
ENGLISH = "What is said here is kept as text on the server."
CHINESE = "此处所说内容会以文字形式保存在服务器上。"


def test_it_is_told(flags: list[str], tmp_path: Path, browser: Browser) -> None:
    with running(["--no-tls", "--journal", str(tmp_path / "journal"), *flags], tmp_path) as server:
        server.wait_for("ready: base")
        browser.open(server.url)
        browser.until(lambda: browser.run(_SHOWN) == [ENGLISH], "the note")
        assert browser.run("return document.querySelector('main .kept').getAttribute('role')") == "status"
        browser.click("captions-open")
        browser.until(lambda: browser.run(_SHOWN)[-1:] == [ENGLISH], "the note in the captions")
        assert browser.run("return document.querySelector('dialog .kept').checkVisibility()")
        browser.click("captions-close")
        browser.click("page-language")
        browser.until(lambda: browser.run(_SHOWN) == [CHINESE], "the note in Chinese")
        browser.click("page-language")
        browser.start()
        browser.until_said(3)
        assert browser.run(_SHOWN) == [ENGLISH]
        browser.stop()


def test_nothing_is_told_where_nothing_is_kept(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.until(lambda: bool(browser.run("return !toggle.disabled")), "a button to start with")
    assert browser.run(_SHOWN) == []
