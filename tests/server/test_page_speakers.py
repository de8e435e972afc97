"""Speakers on the page: lines that are cut otherwise, words that wait, names of enrolled voices."""

import random

import pytest

from appliance.server.updates import UpdateWriter
from appliance.speakers.diarizer import REVISION_S
from appliance.speakers.relining import Known, Relining
from appliance.speech.transcript import Transcript
from appliance.speech.types import SILENCE, Snapshot, Speaker
from tests.server.browsing import Browser
from tests.server.running import Running
from tests.server.test_page_look import _QUIET_SOCKET
from tests.speakers.doubles import turns, words

pytestmark = [pytest.mark.browser, pytest.mark.model]

_SHOWN = """
return [...document.querySelectorAll("#committed .line")].map((line) => {
  const before = line.querySelector("button.who");
  return [Number(line.dataset.tone) + 1, line.querySelector(".said").firstChild.data, before?.textContent ?? ""];
});
"""


def listening(browser: Browser, server: Running) -> None:
    """The page, on a stream whose messages `told` makes."""
    browser.open(server.url, before=_QUIET_SOCKET)
    browser.until(lambda: browser["toggle"].is_enabled(), "a button to start with")
    browser.click("toggle")
    browser.until(lambda: browser.frame() == "live", "a live page")


def told(browser: Browser, message: str) -> None:
    browser.run("socket.onmessage({ data: arguments[0] })", message)


def lines_of(snapshot: Snapshot, names: dict[int, str]) -> list[list[object]]:
    found: list[list[object]] = []
    before = None
    for line in snapshot.lines:
        if line.speaker != SILENCE:
            who = names.get(line.speaker, f"Speaker {line.speaker}")
            found.append([line.speaker, line.text.strip(), "" if before == line.speaker else who])
            before = line.speaker
    return found


@pytest.mark.parametrize("clears", [False, True])
def test_lines_that_are_cut_otherwise_are_shown_so(server: Running, browser: Browser, clears: bool) -> None:
    """A long talk with changing opinions about who said the last words; after each update the page is as the server."""
    listening(browser, server)
    dice, ours, relining = random.Random(7), Transcript(), Relining()
    writer = UpdateWriter("diff", words=True)
    names = {3: "Cleo <C>"}
    at_s = decided_s = 0.0
    number = cleared = 0
    for step in range(150):
        count = dice.randint(0, 4)
        said = " ".join(f"w{number + at}{dice.choice(['', '.'])}" for at in range(count))
        ours.append(words(said, at_s, 0.4), "en")
        number, at_s = number + count, at_s + 0.4 * count + (6.0 if step % 50 == 49 else 0.0)
        decided_s = max(decided_s, at_s - dice.random() * 8)
        script = turns(*((dice.randint(1, 3), at / 2, at / 2 + 0.5) for at in range(int(2 * decided_s) + 1)))
        known = Known(decided_s, script, {Speaker(who): name for who, name in names.items()})
        made = relining.snapshot(ours.snapshot(" maybe", at_s, at_s), known)
        told(browser, writer.message(made, 0.3))
        if clears and step == 75:
            browser.click("clear")
            cleared = len([word for line in made.lines for word in line.words])
        if not clears:
            assert browser.run(_SHOWN) == lines_of(made, names)
        shown = " ".join(str(text) for _, text, _ in browser.run(_SHOWN)).split()
        all_words = [word.text.strip() for line in made.lines for word in line.words]
        assert shown == all_words[cleared:]
        assert browser.run("return waiting.textContent") == made.undiarized.strip()
        assert browser.run("return tentative.textContent") == "maybe"
    assert browser.text("count") == f"{len(shown)} words"
    assert len(relining._closed) > 20 and decided_s > 2 * REVISION_S
    assert browser.complaints() == []


def test_a_voice_with_a_name_can_be_named_otherwise(server: Running, browser: Browser) -> None:
    listening(browser, server)
    script = turns((1, 0, 3), (2, 3, 6), (1, 6, 9))
    ours = Transcript()
    ours.append(words("one two three four five six seven eight nine"), "en")
    known = Known(9.0, script, {Speaker(2): "Anna"})
    told(browser, UpdateWriter("diff", words=True).message(Relining().snapshot(ours.snapshot("", 9, 9), known), 0))
    who = "return [...document.querySelectorAll('button.who')].map((button) => button.textContent)"
    assert browser.run(who) == ["Speaker 1", "Anna", "Speaker 1"]
    browser.run("document.querySelectorAll('button.who')[1].click()")
    browser.run("document.querySelector('input.who').value = 'Dr. Berg'; document.querySelector('input.who').blur()")
    assert browser.run(who) == ["Speaker 1", "Dr. Berg", "Speaker 1"]
    browser.run("document.querySelector('button.who').click()")
    browser.run("document.querySelector('input.who').value = 'Bert'; document.querySelector('input.who').blur()")
    assert browser.run(who) == ["Bert", "Dr. Berg", "Bert"]


def test_words_that_wait_stand_out_and_are_announced_once(server: Running, browser: Browser) -> None:
    listening(browser, server)
    relining, writer, ours = Relining(), UpdateWriter("diff", words=True), Transcript()
    ours.append(words("one two three four five six"), "en")

    def known(decided_s: float, *script: tuple[int, float, float]) -> None:
        made = relining.snapshot(ours.snapshot(" seven", 6, 6), Known(decided_s, turns(*script)))
        told(browser, writer.message(made, 0.1))

    known(3.0, (1, 0, 3))
    assert browser.run("return waiting.textContent") == "four five six"
    colour = "return getComputedStyle(arguments[0]).color"
    styles = {browser.run(colour, browser[name]) for name in ("waiting", "tentative")}
    assert len({*styles, browser.run("return getComputedStyle(document.querySelector('.said')).color")}) == 3
    browser.screenshot("desktop-waiting")
    known(6.0, (1, 0, 2), (2, 2, 6))
    assert browser.run("return waiting.textContent") == ""
    said = "return [...announcer.children].map((piece) => piece.textContent).join(' ')"
    browser.until(lambda: browser.run(said) == "one two three four five six", "each word announced once")
