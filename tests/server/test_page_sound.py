"""What may become of sound on its way to the page, in a real browser: it stops, stands still, or ends too early."""

import time
from itertools import pairwise

import pytest

from tests.server.browsing import Browser
from tests.server.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.model]

KEEP_CONTEXTS = """
globalThis.contexts = [];
const Real = globalThis.AudioContext;
globalThis.AudioContext = class extends Real { constructor(...words) { super(...words); contexts.push(this); } };
"""
NOTE_TIMES = """
import("/clock.js").then(({ StreamClock }) => {
  const sent = StreamClock.prototype.sent;
  globalThis.times = [];
  StreamClock.prototype.sent = function (...words) { times.push(words[0]); return sent.apply(this, words); };
});
"""


def test_sound_that_was_stopped_is_woken(server: Running, browser: Browser) -> None:
    """As by a call, or a locked screen."""
    browser.open(server.url, before=KEEP_CONTEXTS)
    browser.start()
    browser.until_said(2)
    browser.run("contexts.at(-1).suspend()")
    browser.until_said(len(browser.said().split()) + 6)
    assert browser.run("return contexts.at(-1).state") == "running" and browser.text("notice") == ""
    browser.stop()


def test_that_no_sound_comes_any_more_is_told_and_a_stop_ends_all_the_same(server: Running, browser: Browser) -> None:
    browser.open(server.url, before=KEEP_CONTEXTS)
    browser.start()
    browser.until_said(2)
    browser.run("contexts.at(-1).resume = () => Promise.resolve(); contexts.at(-1).suspend()")
    browser.until_text("notice", "No sound comes any more")
    said = browser.said()
    browser.run("delete contexts.at(-1).resume; contexts.at(-1).resume()")
    browser.until(lambda: browser.text("notice") == "", "that it comes again")
    browser.run("contexts.at(-1).resume = () => Promise.resolve(); contexts.at(-1).suspend()")
    browser.stop()
    assert browser.said().startswith(said) and browser.text("tentative") == ""


def test_times_stay_true_when_the_page_stood_still(server: Running, browser: Browser) -> None:
    """As while a dialog is open: what was said meanwhile comes all at once, and was not said all at once."""
    browser.open(server.url)
    browser.run(NOTE_TIMES)
    browser.until(lambda: bool(browser.run("return globalThis.times !== undefined")), "a look at the times")
    browser.start()
    browser.until(lambda: browser.run("return times.length") > 20, "sound")
    browser.run("const end = performance.now() + 4000; while (performance.now() < end);")
    browser.until(lambda: browser.run("return times.length") > 80, "more sound")
    browser.stop()
    times = browser.run("return times")
    steps = [later - earlier for earlier, later in pairwise(times[3:])]
    assert all(-0.1 < step < 0.5 for step in steps), steps


def test_a_source_that_ended_before_anybody_listened(server: Running, browser: Browser) -> None:
    ended = """
      const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        const media = await real(wanted);
        setTimeout(() => media.getTracks().forEach((track) => track.stop()), 0);
        return media;
      };
    """
    browser.open(server.url, before=ended)
    browser.until(lambda: browser["toggle"].is_enabled(), "a button to start with")
    browser.click("toggle")
    browser.until(lambda: browser.text("notice") != "", "that it ended")
    browser.until_text("status", "Ready")
    time.sleep(1)
    assert browser.text("status") == "Ready"
