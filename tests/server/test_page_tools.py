"""What the page does with its text: files in, downloads out, names, captions; and all of it by keyboard."""

import base64
import itertools
import json
import re
import wave
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.conftest import Spoken
from tests.server.browsing import Browser
from tests.server.running import Running, opened, pcm, receive, running, word_errors

pytestmark = [pytest.mark.browser, pytest.mark.model]


def recording(path: Path, said: tuple[Spoken, ...]) -> Path:
    """A WAV file of all that is said, with a pause after each utterance."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        for spoken in said:
            file.writeframes(pcm(spoken.path) + bytes(32000))
    return path


NOTE_PERCENTS = """
window.percents = [];
const shown = document.getElementById("file-percent");
new MutationObserver(() => percents.push(shown.textContent)).observe(shown, { childList: true });
"""


def give(browser: Browser, file: Path) -> None:
    browser.until(lambda: browser["file-button"].is_enabled(), "a button for files")
    browser["file"].send_keys(str(file))


def downloaded(browser: Browser, folder: Path, form: str) -> str:
    browser.click("download")
    browser.click(f"download-{form}")

    def is_whole() -> bool:
        """The browser makes an empty file of that name first, and fills one of another."""
        files = folder.glob(f"transcript-*.{form}")
        return any(file.stat().st_size for file in files) and not list(folder.glob("*.crdownload"))

    browser.until(is_whole, f"a file .{form}")
    return next(folder.glob(f"transcript-*.{form}")).read_text(encoding="utf-8")


def test_file_is_transcribed_named_and_downloaded(
    server: Running, browser: Browser, tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    said = " ".join(spoken.transcript for spoken in librivox)
    browser.open(server.url)
    browser.run(NOTE_PERCENTS)
    give(browser, recording(tmp_path / "meeting.wav", librivox))
    browser.until_text("status", "Transcribing the file")
    assert browser.frame() == "live" and browser.text("file-name") == "meeting.wav"
    browser.until_text("status", "Ready")
    percents = [int(text.split()[0]) for text in browser.run("return percents")]
    assert percents == sorted(percents) and len({*percents} - {0, 100}) >= 5
    assert word_errors(said, browser.said()) <= 8
    assert "File: meeting.wav" in browser.text("committed")
    assert not browser["file-row"].is_displayed() and browser.text("notice") == ""

    who = browser.driver.find_element("css selector", "button.who")
    assert who.text == "Speaker 1"
    who.click()
    browser.driver.switch_to.active_element.send_keys("Jane <Austen>" + Keys.ENTER)
    names = browser.driver.find_elements("css selector", "button.who")
    assert {name.text for name in names} == {"Jane <Austen>"}
    assert browser.run("return document.activeElement.textContent") == "Jane <Austen>"

    text = downloaded(browser, tmp_path, "txt")
    assert text.startswith("[0:00] Jane <Austen>: ")
    assert word_errors(said, re.sub(r"\[[\d:]+\] Jane <Austen>: ", "", text)) <= 8
    srt = downloaded(browser, tmp_path, "srt")
    times = re.findall(r"(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})", srt)
    assert len(times) >= 5 and all(start < end for start, end in times)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))
    assert "Jane ‹Austen›: " in srt and max(map(len, srt.splitlines())) <= 80
    vtt = downloaded(browser, tmp_path, "vtt")
    assert vtt.startswith("WEBVTT\n\n") and "<v Jane &lt;Austen&gt;>" in vtt and vtt.count("-->") == len(times)
    data = json.loads(downloaded(browser, tmp_path, "json"))
    assert word_errors(said, " ".join(segment["text"] for segment in data["segments"])) <= 8
    words = [word for segment in data["segments"] for word in segment["words"]]
    assert 60 < len(words) < 90 and all(0 <= word["start"] <= word["end"] <= 32 for word in words)
    assert {segment["speaker"] for segment in data["segments"]} == {"Jane <Austen>"}

    wanted = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", wanted)
    browser.click("copy")
    browser.until_text("copy", "Copied")
    pasted = browser.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])")
    assert f"{pasted}\n" == text

    browser.screenshot("desktop-file")
    browser.click("clear")
    assert browser.said() == "" and browser["empty"].is_displayed() and not browser["download"].is_enabled()
    assert browser.complaints() == []


def drop(browser: Browser, data: bytes, name: str) -> None:
    script = """
      const [data, name] = arguments;
      const files = new DataTransfer();
      files.items.add(new File([Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0))], name));
      for (const kind of ["dragover", "drop"]) document.body.dispatchEvent(
        new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }));
    """
    browser.run(script, base64.b64encode(data).decode(), name)


def test_dropped_file_can_be_cancelled_and_another_one_refused(
    server: Running, browser: Browser, tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    browser.open(server.url)
    browser.until(lambda: browser["file-button"].is_enabled(), "a button for files")
    long = recording(tmp_path / "long.wav", librivox * 3).read_bytes()
    drop(browser, long, "long.wav")
    browser.until_said(3)
    drop(browser, long, "another.wav")
    browser.until_text("notice", "Another file is being transcribed")
    assert browser.text("file-name") == "long.wav"
    browser.click("file-cancel")
    browser.until_text("status", "Ready")
    said = browser.said()
    assert 3 <= len(said.split()) < 180
    drop(browser, b"%PDF-1.7 is no recording" * 100, "paper.pdf")
    browser.until_text("notice", "This is no sound that can be heard")
    assert "a PDF" not in browser.text("notice") and "send WebM" in browser.text("notice")
    browser.until_text("status", "Ready")
    assert browser.said() == said


def test_recording_with_its_index_at_the_end_is_sent_whole(
    server: Running, browser: Browser, tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    """As phones write them: the stream can't hear these, and says so."""
    file = tmp_path / "phone.m4a"
    with av.open(str(file), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=16000, layout="mono")
        samples = np.frombuffer(pcm(librivox[0].path), np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate = 16000
        for ready in av.AudioResampler(format="fltp", layout="mono", rate=16000, frame_size=1024).resample(frame):
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    assert file.read_bytes().index(b"moov") > file.read_bytes().index(b"mdat")
    browser.open(server.url)
    give(browser, file)
    browser.until_said(8)
    browser.until_text("status", "Ready")
    assert browser.text("notice") == "" and browser.text("committed").count("File: phone.m4a") == 1
    assert word_errors(librivox[0].transcript, browser.said()) <= 4
    data = json.loads(downloaded(browser, tmp_path, "json"))
    for segment in data["segments"]:
        assert "".join(word["text"] for word in segment["words"]).strip() == segment["text"]


def test_file_waits_for_a_place_until_it_is_cancelled(server: Running, browser: Browser, tmp_path: Path) -> None:
    browser.open(server.url)
    browser.until_text("status", "Ready")
    with ExitStack() as others:
        for _ in range(3):
            receive(others.enter_context(opened(server)))
        drop(browser, bytes(32000), "quiet.raw")
        browser.until_text("status", "Waiting for a place")
        assert "All places of the server are taken" in browser.text("notice")
        browser.click("file-cancel")
        browser.until_text("status", "Ready")
        assert browser.text("notice") == ""


def test_text_that_stayed_unsure_has_its_own_time(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    made = """
      const [done] = arguments;
      Promise.all([import("/transcript.js"), import("/clock.js")]).then(([{ Transcript }, { StreamClock }]) => {
        const transcript = new Transcript(), clock = new StreamClock();
        const usual = { type: "snapshot", remaining_time_transcription: 1 };
        const update = (fields) => transcript.apply({ ...usual, lines, ...fields });
        const words = [{ text: "Well.", start: 1, end: 2, probability: 1 }];
        const lines = [{ speaker: 1, text: "Well.", start: "0:00:01.00", end: "0:00:02.00", words }];
        transcript.open(clock);
        clock.sent(100, 12);
        update({ buffer_transcription: "" });
        clock.sent(112, 8);
        update({ buffer_transcription: "and so" });
        clock.sent(120, 2);
        update({ buffer_transcription: "and so it goes" });
        transcript.close();
        const { start, end, unsure } = transcript.entries.at(-1);
        transcript.open(clock);
        update({ lines: [], buffer_transcription: "once more" });
        transcript.close(122);
        done([start, end, unsure, transcript.entries.length, transcript.until]);
      }).catch((error) => done(String(error)));
    """
    assert browser.driver.execute_async_script(made) == [118, 122, True, 2, 122]


def test_sound_in_which_a_firm_word_ends_is_not_sent_again(server: Running, browser: Browser) -> None:
    """The times of words are a little early: the rest of one, heard alone, was often the same word once more."""
    browser.open(server.url)
    kept = browser.run("""
      return import("/tape.js").then(({ Tape }) => {
        const tape = new Tape();
        for (const time of [1, 1.1, 1.2, 1.3]) tape.add({ data: null, length: 0.1, time });
        return [1.15, 1.2, 1.35].map((firm) => tape.since(firm).map(({ time }) => time));
      });
    """)
    assert kept == [[1.2, 1.3], [1.2, 1.3], []]


def test_file_that_a_stop_of_the_server_cuts_short_can_be_chosen_again(
    flags: list[str], browser: Browser, tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    with running(flags, tmp_path / "state") as server:
        server.wait_for("ready: base")
        browser.open(server.url)
        give(browser, recording(tmp_path / "long.wav", librivox * 3))
        browser.until_said(3)
        said = browser.said()
        server.stop()
        browser.until_text("notice", "The connection was lost before the file was through.")
        browser.until_text("status", "Ready")
        assert browser.said().startswith(said) and browser["file-button"].is_enabled()


def test_file_that_changes_while_it_is_read_is_told(
    server: Running, browser: Browser, tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    browser.open(server.url)
    long = recording(tmp_path / "long.wav", librivox * 3)
    give(browser, long)
    browser.until_said(3)
    long.write_bytes(b"something else")
    browser.until_text("notice", "The file can't be read")
    browser.until_text("status", "Ready")
    assert len(browser.said().split()) >= 3
    sessions = "fetch('readyz').then((answer) => answer.json()).then(({ sessions }) => arguments[0](sessions))"
    browser.until(lambda: browser.driver.execute_async_script(sessions) == 0, "the stream closed")


def test_captions_fill_the_screen_and_change_their_size(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.start()
    browser.until_said(3)
    browser["captions-open"].click()
    browser.until(lambda: bool(browser.run("return document.fullscreenElement")), "full screen")
    browser.until_text("captions-lines", browser.said().split()[-1])
    keys = ActionChains(browser.driver)

    def size() -> float:
        return float(
            browser.run("return parseFloat(getComputedStyle(arguments[0]).fontSize)", browser["captions-lines"])
        )

    before = size()
    keys.send_keys("+").send_keys("+").perform()
    assert size() > 1.2 * before
    browser.click("smaller")
    keys.send_keys("-").perform()
    assert size() == before
    count = len(browser.text("captions-lines").split())
    browser.until(lambda: len(browser.text("captions-lines").split()) > count, "more words in the captions")
    browser.screenshot("desktop-captions")
    assert browser.text("captions-status") == ""
    faded = "return getComputedStyle(document.querySelector('.captions-tools')).opacity === '0'"
    browser.until(lambda: browser.run(faded), "buttons that step back")
    ActionChains(browser.driver).send_keys(Keys.SHIFT).perform()
    browser.until(lambda: not browser.run(faded), "the buttons again")
    browser.click("captions-close")
    browser.until(lambda: not browser.run("return document.fullscreenElement"), "the page again")
    assert browser.run("return document.activeElement.id") == "captions-open"
    browser["captions-open"].send_keys(Keys.ENTER)
    browser.until(lambda: browser["captions-view"].is_displayed(), "captions")
    ActionChains(browser.driver).send_keys(Keys.ESCAPE).perform()
    browser.until(lambda: not browser["captions-view"].is_displayed(), "no captions")


def test_cleared_page_goes_on_with_what_is_said_next(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.start()
    browser.until_said(5)
    browser.click("clear")
    assert len(browser.said().split()) < 5
    browser.until_said(2)
    assert not browser.said().startswith("And Mr.")
    browser.stop()


def test_keyboard_reaches_everything_in_order(server: Running, browser: Browser) -> None:
    browser.open(server.url)
    browser.until(lambda: browser["toggle"].is_enabled(), "a button to start with")
    focused = "return document.activeElement.id || document.activeElement.getAttribute('href')"
    reached = []
    for _ in range(9):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        reached.append(browser.run(focused))
        seen = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert seen == "solid", f"{reached[-1]} does not show its focus"
    expected = ["#transcript", "page-language", "ca", "transcript", "captions-open", "source", "language"]
    assert reached == [*expected, "file-button", "toggle"]
    ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
    browser.until_text("status", "Listening")
    browser.until_said(1)
    ActionChains(browser.driver).send_keys(Keys.SPACE).perform()
    browser.until_text("status", "Ready")
    assert browser.run(focused) == "toggle"
    browser["download"].send_keys(Keys.ENTER)
    assert browser.run(focused) == "download-txt"
    ActionChains(browser.driver).send_keys(Keys.ARROW_UP).perform()
    assert browser.run(focused) == "download-json"
    ActionChains(browser.driver).send_keys(Keys.ESCAPE).perform()
    assert browser.run(focused) == "download" and not browser["formats"].is_displayed()
