"""The page in Firefox: what `test_page` tries in Chromium, in short."""

from pathlib import Path

import pytest

from tests.conftest import Spoken
from tests.server.firefox import firefox
from tests.server.running import Running, word_errors

pytestmark = [pytest.mark.browser, pytest.mark.model]


def test_speech_becomes_text_and_the_page_follows_the_browsers_language(
    server: Running, librivox: tuple[Spoken, ...], tmp_path: Path
) -> None:
    with firefox(tmp_path, "zh-CN, en") as page:
        page.open(server.url, librivox[0].path)
        page.until_text("status", "就绪")
        assert page.run("return [document.documentElement.lang, document.title]") == ["zh-Hans", "实时字幕"]
        assert page.run("return [...language.options].some(({ text }) => text === '德语')")
        page.click("page-language")
        page.until_text("status", "Ready")
        assert page.frame() == "ready" and "Tab or system sound" not in page.text("source")

        page.start()
        assert page.frame() == "live"
        page.until(lambda: page.text("tentative") != "", "tentative text")
        page.until(lambda: float(page.run("return level.value")) > 0.1, "the level")
        page.until_said(len(librivox[0].transcript.split()) - 2)
        page.stop()
        assert word_errors(librivox[0].transcript, page.said()) <= 2
        assert page.text("tentative") == "" and page.text("notice") == "" and page.text("lag") == ""
        assert page.text("count") == f"{len(page.said().split())} words"
        assert page.complaints() == []
