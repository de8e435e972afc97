"""How the page looks and reads: languages, widths, colours, names for a screen reader; and a session of many hours."""

import pytest

from tests.server.browsing import DESKTOP, PHONE, Browser
from tests.server.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.model]

# The page's own modules on the page's own elements, with what a server would send: no microphone speaks for hours.
_FEED = """
const [lines, done] = arguments;
(async () => {
  const { Transcript } = await import("/transcript.js");
  const { View } = await import("/view.js");
  const { Speakers } = await import("/speakers.js");
  const at = (id) => document.getElementById(id);
  const transcript = new Transcript();
  const [box, list, home, tentative, end] = ["transcript", "committed", "pending", "tentative", "end"].map(at);
  const view = new View({ box, list, home, tentative, end }, new Speakers(), () => {});
  transcript.open({ at: (second) => second });
  at("empty").hidden = true;
  const clock = (second) => `${Math.floor(second / 3600)}:${Math.floor(second / 60) % 60}:${(second % 60).toFixed(2)}`;
  const words = "And so my fellow Americans ask not what your country can do for you.".split(" ");
  const word = (text, at) => ({ text: ` ${text}`, start: at, end: at, probability: 0.9 });
  const line = (number, said) => ({
    speaker: 1 + Math.floor(number / 3) % 4, text: words.slice(0, said).join(" "),
    start: clock(5 * number), end: clock(5 * number + 4),
    words: words.slice(0, said).map((text, at) => word(text, 5 * number + at / 4)),
  });
  let seen = 0;
  const observer = new MutationObserver((records) => { seen += records.length; });
  observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  const times = [], mutations = [];
  let kept = 0;
  const take = async (message) => {
    const begun = performance.now();
    const { from } = transcript.apply(message);
    view.show(transcript, from);
    document.body.getBoundingClientRect();
    times.push(performance.now() - begun);
    await null;
    mutations.push(seen);
    seen = 0;
  };
  await take({ type: "snapshot", lines: [], buffer_transcription: "" });
  for (let number = 0; number < lines; number++) {
    for (const said of [4, 9, words.length]) {
      const grown = said > 4;
      const pruned = !grown && kept === 2000 ? 1 : 0;
      if (!grown) kept = Math.min(2000, kept + 1);
      const fields = { type: "diff", n_lines: kept, lines_pruned: pruned, buffer_transcription: "for you" };
      await take({ ...fields, new_lines: [line(number, said)] });
    }
    if (number % 50 === 49) await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 2;
  return { times, mutations, words: transcript.wordCount, entries: transcript.entries.length, atEnd };
})().then(done, (error) => done({ error: String(error) }));
"""


def feed(browser: Browser, lines: int) -> dict[str, list[float]]:
    browser.driver.set_script_timeout(60)
    told: dict[str, list[float]] = browser.driver.execute_async_script(_FEED, lines)
    assert "error" not in told, told
    return told


def test_long_session_costs_no_more_than_a_short_one(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.until_text("status", "Ready")
    told = feed(browser, 5000)
    times, mutations = told["times"], told["mutations"]
    early, late = sum(times[300:1800]), sum(times[-1500:])
    assert late < 3 * early, f"1500 updates took {early:.0f} ms at first and {late:.0f} ms after 5000 lines"
    assert max(mutations[-1500:]) <= max(mutations[:1500]) <= 12
    assert told["words"] == 5000 * 14 and told["entries"] == 5000 and told["atEnd"]
    browser.screenshot("desktop-long")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("code", ["en-US", "zh-CN"])
def test_page_in_both_languages_colours_and_widths(server: Running, browser: Browser, code: str, scheme: str) -> None:
    browser.language(code)
    browser.colours(scheme)
    browser.open(server.url)
    browser.until_text("status", "Ready" if code == "en-US" else "就绪")
    assert browser.run("return document.documentElement.lang") == ("en" if code == "en-US" else "zh-Hans")
    assert browser.text("toggle-text") == ("Start" if code == "en-US" else "开始")
    feed(browser, 8)
    for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
        browser.size(*size)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.run("return document.getElementById('transcript').clientHeight") > 150
        outside = """return [...document.querySelectorAll("button, select, a, p")].filter((found) => {
          const box = found.getBoundingClientRect();
          return box.width && !found.closest(".skip, .unseen") && (box.left < 0 || box.right > innerWidth);
        }).map((found) => found.outerHTML)"""
        assert browser.run(outside) == []
        browser.screenshot(f"{name}-{code[:2]}-{scheme}")


def test_language_can_be_switched_and_is_kept(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.until_text("status", "Ready")
    browser.click("page-language")
    assert browser.text("status") == "就绪" and browser.text("page-language") == "English"
    assert browser.run("return document.title") == "实时字幕"
    browser.driver.refresh()
    browser.until_text("status", "就绪")
    browser.click("page-language")
    assert browser.text("status") == "Ready"


def test_everything_has_a_name_for_a_screen_reader(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.until_text("status", "Ready")
    feed(browser, 4)
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "combobox", "link", "meter", "region", "log", "status", "timer"}
    nodes = [node for node in tree if not node["ignored"] and node["role"]["value"] in roles]
    unnamed = [node for node in nodes if not node["name"]["value"] and node["role"]["value"] != "status"]
    assert unnamed == []
    assert {node["role"]["value"] for node in nodes} == roles
    live = browser.run(
        "return [...document.querySelectorAll('[aria-live=polite], [role=log]')].map((found) => found.id)"
    )
    assert live == ["announcer"]


def test_both_languages_have_the_same_words(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    told = browser.driver.execute_async_script("""
      import("/words.js").then(({ WORDS }) => arguments[0](Object.values(WORDS).map((words) => Object.keys(words))));
    """)
    assert told[0] == told[1]
    used = browser.run("""
      return [...document.querySelectorAll("[data-say], [data-say-label]")].flatMap(
        ({ dataset }) => [dataset.say, dataset.sayLabel].filter(Boolean))
    """)
    assert set(used) <= set(told[0])
