"""How the page looks and reads: languages, widths, colours, names for a screen reader; and a session of many hours."""

import pytest

from tests.server.browsing import DESKTOP, PHONE, Browser
from tests.server.running import Running

pytestmark = [pytest.mark.browser, pytest.mark.model]

# No microphone speaks for hours: the page runs as it is, on a connection that lets no sound through, and what a server
# would send is put into that.
_QUIET_SOCKET = """
window.WebSocket = class extends WebSocket {
  constructor(...given) { super(...given); window.socket = this; }
  send(data) { if (typeof data === "string") super.send(data); }
};
"""
_FEED = """
const [lines] = arguments;
globalThis.fed = null;
(async () => {
  const box = document.getElementById("transcript");
  const clock = (second) => `${Math.floor(second / 3600)}:${Math.floor(second / 60) % 60}:${(second % 60).toFixed(2)}`;
  const words = "And so my fellow Americans ask not what your country can do for you.".split(" ");
  const word = (text, at) => ({ text: ` ${text}`, start: at, end: at, probability: 0.9 });
  const line = (number, said) => ({
    speaker: 1 + Math.floor(number / 3) % 4, text: words.slice(0, said).join(" "), detected_language: "en",
    start: clock(5 * number), end: clock(5 * number + 4),
    words: words.slice(0, said).map((text, at) => word(text, 5 * number + at / 4)),
  });
  let seen = 0;
  const observer = new MutationObserver((records) => { seen += records.length; });
  observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  const times = [], mutations = [];
  let kept = 0;
  const take = async (message) => {
    const data = JSON.stringify(message);
    seen = 0;
    const begun = performance.now();
    socket.onmessage({ data });
    document.body.getBoundingClientRect();
    times.push(performance.now() - begun);
    await null;
    mutations.push(seen);
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
  return { times, mutations, lines: document.querySelectorAll("#committed .line").length, atEnd };
})().then((told) => { globalThis.fed = told; }, (error) => { globalThis.fed = { error: String(error) }; });
"""


def feed(browser: Browser, lines: int) -> dict[str, list[float]]:
    """That many lines into a page that was opened with `_QUIET_SOCKET`, as to one that listens."""
    browser.until(lambda: browser["toggle"].is_enabled(), "a button to start with")
    browser.click("toggle")
    browser.until(lambda: browser.frame() == "live", "a live page")
    browser.run(_FEED, lines)
    browser.until(lambda: bool(browser.run("return globalThis.fed !== null")), f"{lines} lines", 300)
    told: dict[str, list[float]] = browser.run("return globalThis.fed")
    assert "error" not in told, told
    return told


def test_long_session_costs_no_more_than_a_short_one(server: Running, browser: Browser) -> None:
    browser.open(server.url, before=_QUIET_SOCKET)
    told = feed(browser, 5000)
    times, mutations = told["times"], told["mutations"]
    # Of each 1500 the time that a quarter of them stayed under: those that nothing else on the machine held up.
    early, late = (sorted(part)[len(part) // 4] for part in (times[300:1800], times[-1500:]))
    assert late < 3 * early, f"an update took {early:.2f} ms at first and {late:.2f} ms after 5000 lines"
    assert max(mutations[-1500:]) <= max(mutations[:1500]) <= 20
    assert browser.text("count") == "70,000 words" and told["lines"] == 5000 and told["atEnd"]
    browser.screenshot("desktop-long")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("code", ["en-US", "zh-CN"])
def test_page_in_both_languages_colours_and_widths(server: Running, browser: Browser, code: str, scheme: str) -> None:
    browser.language(code)
    browser.colours(scheme)
    browser.open(server.url, before=_QUIET_SOCKET)
    browser.until_text("status", "Ready" if code == "en-US" else "就绪")
    assert browser.run("return document.documentElement.lang") == ("en" if code == "en-US" else "zh-Hans")
    assert browser.text("toggle-text") == ("Start" if code == "en-US" else "开始")
    feed(browser, 8)
    for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
        browser.size(*size)
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        assert browser.run("return document.getElementById('transcript').clientHeight") > 150
        assert all(line.is_displayed() for line in browser.driver.find_elements("css selector", ".said"))
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
    browser.open(server.url, before=_QUIET_SOCKET)
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
