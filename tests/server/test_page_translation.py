"""The page of a server that translates: a choice of the language, both texts, and both in what is downloaded."""

import json
from pathlib import Path

import pytest

from tests.conftest import Spoken
from tests.server.browsing import Browser
from tests.server.running import Running
from tests.server.test_page_tools import downloaded, give, recording

pytestmark = [pytest.mark.browser, pytest.mark.model]

NOTE_GUESSES = """
window.guesses = [];
const guess = document.getElementById("guess");
const look = () => guesses.push([guess.textContent, getComputedStyle(guess).textDecorationStyle]);
new MutationObserver(look).observe(guess, { childList: true });
"""


def shown(browser: Browser) -> list[list[str]]:
    """Text and translation of each line."""
    found: list[list[str]] = browser.run(
        "return [...document.querySelectorAll('.line')].map((line) => ['.said', '.translated'].map("
        "(part) => line.querySelector(part).textContent.trim()))"
    )
    return found


def test_both_texts_stand_on_the_page_and_in_its_files(
    translating: Running, browser: Browser, tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    browser.open(translating.url)
    browser.until(lambda: browser["target-field"].is_displayed(), "a choice of the language")
    names = browser.run("return [...target.options].map((option) => option.textContent)")
    assert names == ["No translation", "Chinese", "English", "German"]
    assert browser.run("return target.value") == "zh", "as the server has it"
    browser.run("target.value = 'de'; target.dispatchEvent(new Event('change'))")
    give(browser, recording(tmp_path / "meeting.wav", librivox))
    browser.until_text("status", "Transcribing the file")
    assert not browser["target"].is_enabled()
    browser.until_text("status", "Ready")
    lines = shown(browser)
    assert lines and all(text and translation for text, translation in lines)
    assert browser.run("return document.querySelector('.translated').lang") == "de"
    places = browser.run(
        "return ['.said', '.translated'].map((part) => document.querySelector(`.line ${part}`).getBoundingClientRect())"
        ".map(({ left, top }) => [left, top])"
    )
    assert places[0][0] < places[1][0] and places[0][1] == places[1][1], "side by side where there is room"
    browser.screenshot("desktop-translation")

    srt = downloaded(browser, tmp_path, "srt")
    vtt = downloaded(browser, tmp_path, "vtt")
    data = json.loads(downloaded(browser, tmp_path, "json"))
    assert [[segment["text"], segment["translation"]] for segment in data["segments"]] == lines
    wanted = "".join("".join(translation.split()) for _, translation in lines)
    below = [part.split("</c>")[0] for part in vtt.split("<c.translation>")[1:]]
    assert "".join("".join(part.split()) for part in below) == wanted.replace("&", "&amp;").replace("<", "&lt;")
    assert below[0].splitlines()[0] in srt
    browser.size(400, 800)
    places = browser.run(
        "return ['.said', '.translated'].map((part) => document.querySelector(`.line ${part}`).getBoundingClientRect())"
        ".map(({ left, top }) => [left, top])"
    )
    assert places[0][0] == places[1][0] and places[0][1] < places[1][1], "one below the other where there is none"
    assert browser.complaints() == []


def test_what_is_tentative_has_a_translation_too(translating: Running, browser: Browser) -> None:
    """As it is spoken: of a file, which comes faster, all may be committed before it is its turn."""
    browser.open(translating.url)
    browser.until(lambda: browser["target-field"].is_displayed(), "a choice of the language")
    browser.run("target.value = 'de'; target.dispatchEvent(new Event('change'))")
    browser.run(NOTE_GUESSES)
    browser.start()
    browser.until(lambda: any(text for text, _ in browser.run("return guesses")), "a tentative translation")
    browser.stop()
    assert {style for text, style in browser.run("return guesses") if text} == {"dotted"}
    assert browser.text("guess") == ""


def test_no_translation_is_a_choice_that_is_kept(translating: Running, browser: Browser) -> None:
    browser.open(translating.url)
    browser.until(lambda: browser["target-field"].is_displayed(), "a choice of the language")
    browser.run("target.value = ''; target.dispatchEvent(new Event('change'))")
    browser.driver.refresh()
    browser.until(lambda: browser["target-field"].is_displayed(), "a choice of the language")
    assert browser.run("return target.value") == ""
    assert browser.run("return document.querySelector('#transcript.two')") is None


def test_a_server_without_translation_offers_none(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.until(lambda: browser["toggle"].is_enabled(), "a server that is ready")
    assert not browser["target-field"].is_displayed()
