"""The page on a network that breaks: its session is there again, and no word is lost or said twice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Spoken
from tests.server.browsing import Browser, chromium
from tests.server.relay import Relay, relayed
from tests.server.running import Running, pcm, running, word_errors, word_errors_so_far
from tests.server.test_process import get

pytestmark = [pytest.mark.browser, pytest.mark.model]

RECORDER = "delete globalThis.AudioWorkletNode;"
COUNT_STREAMS = """
import("/transcript.js").then(({ Transcript }) => {
  const open = Transcript.prototype.open;
  globalThis.streams = 0;
  Transcript.prototype.open = function (...all) { streams += 1; open.apply(this, all); };
});
"""


@pytest.fixture(scope="module")
def listener(librivox: tuple[Spoken, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that hears all recordings, each with a pause after it, and then half a minute of nothing."""
    said = b"".join(pcm(spoken.path) + bytes(32000) for spoken in librivox) + bytes(30 * 32000)
    with chromium(tmp_path_factory.mktemp("listener"), said) as started:
        yield started


@pytest.fixture(scope="module")
def served(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(["--language", "en", *flags], tmp_path_factory.mktemp("served")) as started:
        started.wait_for("ready: base")
        yield started


@pytest.fixture
def network(served: Running) -> Iterator[Relay]:
    with relayed(served.port) as relay:
        yield relay


def opened(listener: Browser, network: Relay, before: str = "") -> None:
    listener.open(f"https://127.0.0.1:{network.port}/", before=before)
    listener.run(COUNT_STREAMS)
    listener.start()


def whole(listener: Browser, librivox: tuple[Spoken, ...]) -> None:
    """All was heard, once, in one stream."""
    text = " ".join(spoken.transcript for spoken in librivox)
    listener.until_said(len(text.split()) - 5)
    listener.stop()
    assert word_errors(text, listener.said()) <= 10, listener.said()
    assert "connection was lost" not in listener.text("committed") and "missing" not in listener.text("committed")
    assert listener.run("return streams") == 1 and listener.text("notice") == ""


@pytest.mark.parametrize("before", ["", RECORDER], ids=["worklet", "recorder"])
def test_connections_that_break_cost_no_word(
    served: Running, network: Relay, listener: Browser, librivox: tuple[Spoken, ...], before: str
) -> None:
    opened(listener, network, before)
    for words in (3, 12, 30):
        listener.until_said(words)
        said = listener.said()
        network.cut()
        listener.until_text("status", "Disconnected")
        assert "sound is kept" in listener.text("notice")
        listener.until_text("status", "Listening")
        assert listener.said().startswith(said)
    whole(listener, librivox)
    deadline = time.monotonic() + 60
    while get(served, "/readyz")[1]["sessions"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert get(served, "/readyz")[1]["sessions"] == 0, "a page that is done keeps no place"


def test_a_link_that_dies_without_a_sign_costs_no_word(
    network: Relay, listener: Browser, librivox: tuple[Spoken, ...]
) -> None:
    opened(listener, network)
    listener.until_said(6)
    network.freeze()
    listener.until_text("status", "Disconnected")
    network.thaw()
    listener.until_text("status", "Listening")
    whole(listener, librivox)


def test_stop_while_the_network_is_away_keeps_what_was_said(
    network: Relay, listener: Browser, librivox: tuple[Spoken, ...]
) -> None:
    opened(listener, network)
    begun = time.monotonic()
    listener.until_said(3)
    network.freeze()
    time.sleep(max(0.0, len(pcm(librivox[0].path)) / 32000 - (time.monotonic() - begun) + 0.5))
    listener.click("toggle")
    listener.until_text("status", "Disconnected")
    assert "Press Stop again" in listener.text("notice")
    network.thaw()
    listener.until_text("status", "Ready")
    assert listener.text("notice") == "" and listener.run("return streams") == 1
    assert word_errors_so_far([spoken.transcript for spoken in librivox], listener.said()) <= 5


def test_a_pause_outlasts_a_break(network: Relay, listener: Browser) -> None:
    opened(listener, network)
    listener.until_said(3)
    listener.click("pause")
    listener.until_text("status", "Paused")
    network.cut()
    listener.until_text("status", "Disconnected")
    listener.until_text("status", "Paused")
    said = listener.said()
    listener.click("pause")
    listener.until_said(len(said.split()) + 3)
    listener.stop()
    assert listener.said().startswith(said) and listener.run("return streams") == 1


@pytest.mark.parametrize("before", ["", RECORDER], ids=["worklet", "recorder"])
def test_after_the_window_a_new_stream_begins(flags: list[str], tmp_path: Path, listener: Browser, before: str) -> None:
    with running(["--resume-window", "1", *flags], tmp_path) as server, relayed(server.port) as network:
        server.wait_for("ready: base")
        opened(listener, network, before)
        listener.until_said(4)
        said = listener.said()
        network.freeze()
        network.cut()
        listener.until_text("status", "Disconnected")
        server.wait_for("went away")
        network.thaw()
        listener.until_text("status", "Listening")
        listener.until(
            lambda: "lost here" in listener.text("committed") or "missing" in listener.text("committed"), "a mark"
        )
        listener.until_said(len(said.split()) + 3)
        listener.stop()
        assert listener.said().startswith(said) and listener.run("return streams") == 2


def test_what_a_tape_has_of_a_stream(served: Running, listener: Browser) -> None:
    listener.open(served.url)
    found = listener.run("""
      return import("/tape.js").then(({ Tape }) => {
        const tape = new Tape();
        tape.waits(60);
        const sent = (time) => ({ data: null, length: 1, time, at: 10 * time, second: time });
        for (let time = 0; time < 5; time++) tape.add(sent(time));
        tape.add({ data: null, length: 1, time: 5, left: true });
        tape.add({ ...sent(6), at: 50 });
        tape.add({ data: null, length: 1, time: 7 });
        const times = (pieces) => pieces && pieces.map(({ time }) => time);
        const seen = [times(tape.after(30, 60)), times(tape.after(60, 60)), tape.after(35, 60)];
        for (let time = 8; time < 95; time++) tape.add(sent(time));
        seen.push(tape.after(30, 1000), times(tape.since(93)));
        return seen;
      });
    """)
    assert found == [[3, 4, 6, 7], [7], None, None, [93, 94]]
