"""The thread that writes: what is on disk and when, and what happens where the disk does not take it."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from appliance.journal import one_stream, writer
from appliance.journal.bounds import Bounds
from appliance.journal.file import JournalFile
from appliance.journal.folder import Folder
from appliance.journal.one_stream import StreamJournal
from appliance.journal.reader import Kept, read
from appliance.journal.stream import JournalledStream
from appliance.journal.writer import Journal
from appliance.speech.live import OnSnapshot
from appliance.speech.types import Samples, Snapshot
from tests.journal.test_changes import line, snapshot

ABOUT = {"model": "base", "version": "1"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "INTERVAL_S", 0.01)
    monkeypatch.setattr(writer, "RETRY_S", 0.02)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(Folder.own(tmp_path / "journal"), Bounds.of(100, 30), ABOUT)
    yield made
    made.close()


def until(done: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"not seen: {what}"
        time.sleep(0.005)


def kept(path: Path) -> list[Kept]:
    with contextlib.closing(Folder.existing(path / "journal")) as folder:
        found = []
        for entry in folder.files():
            with folder.open(entry.name) as file:
                found.append(read(file))
        return found


def texts(path: Path) -> list[str]:
    return [one.text for found in kept(path) for one in found.lines]


class Inner:
    """A stream that says what a test tells it to."""

    backlog_s = 0.0

    def __init__(self, on_snapshot: OnSnapshot) -> None:
        self.finished: Future[Snapshot] = Future()
        self.say = on_snapshot

    def feed(self, samples: Samples) -> None: ...
    def finish(self) -> None: ...
    def set_language(self, language: str) -> None: ...

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        return self.finished.result(timeout_s)

    def close(self) -> None:
        self.finished.cancel()


def opened(journal: Journal, session: str = "5f0c1d7a") -> tuple[Inner, JournalledStream, list[Snapshot]]:
    made: list[Inner] = []
    shown: list[Snapshot] = []

    def open_inner(on_snapshot: OnSnapshot) -> Inner:
        made.append(Inner(on_snapshot))
        return made[0]

    stream = JournalledStream(open_inner, journal.begin(session, {"token": "hall-a"}), shown.append)
    return made[0], stream, shown


def test_what_is_committed_is_on_disk_and_handed_on(journal: Journal, tmp_path: Path) -> None:
    inner, stream, shown = opened(journal)
    inner.say(snapshot(line(0, 2)))
    until(lambda: texts(tmp_path) == ["w0 w1"], "the first words")
    inner.say(snapshot(line(0, 3), line(3, 4)))
    until(lambda: texts(tmp_path) == ["w0 w1 w2", "w3"], "the next words")
    assert len(shown) == 2 and kept(tmp_path)[0].end is None
    inner.finished.set_running_or_notify_cancel()
    inner.finished.set_result(snapshot(line(0, 3), line(3, 5)))
    assert stream.wait(1).lines
    until(lambda: kept(tmp_path)[0].end == "ended", "its end")
    found = kept(tmp_path)[0]
    assert texts(tmp_path) == ["w0 w1 w2", "w3 w4"] and found.heard_s == 99.0 and found.damaged == 0
    about = {name: found.about[name] for name in ("session", "model", "version", "token")}
    assert about == {"session": "5f0c1d7a", "model": "base", "version": "1", "token": "hall-a"}
    assert "+" in found.about["began"] or found.about["began"].count("-") == 3, "with its offset"


@pytest.mark.parametrize("how", ["closed", "failed"])
def test_how_it_ended_is_told(journal: Journal, tmp_path: Path, how: str) -> None:
    inner, stream, _ = opened(journal)
    inner.say(snapshot(line(0, 2)))
    if how == "failed":
        inner.finished.set_running_or_notify_cancel()
        inner.finished.set_exception(RuntimeError("broken"))
    stream.close()
    until(lambda: bool(kept(tmp_path)) and kept(tmp_path)[0].end == how, "its end")


def test_one_that_is_over_is_written_no_more(tmp_path: Path) -> None:
    """What is said in the moment of its end may wake the writer once more."""
    with contextlib.closing(Folder.own(tmp_path / "journal")) as folder:
        stream = StreamJournal(ABOUT, "5f0c1d7a", lambda waking: None)
        stream.take(snapshot(line(0, 2)))
        stream.end("closed")
        stream.write(lambda name, size: JournalFile(folder, name), lambda size: None)
        stream.take(snapshot(line(0, 3)))
        stream.write(lambda name, size: JournalFile(folder, name), lambda size: None)
    (found,) = kept(tmp_path)
    assert found.end == "closed" and texts(tmp_path) == ["w0 w1"]


def test_a_stream_that_commits_nothing_leaves_no_file(journal: Journal, tmp_path: Path) -> None:
    inner, stream, shown = opened(journal)
    inner.say(snapshot())
    stream.close()
    journal.close()
    assert shown and kept(tmp_path) == []


def test_closing_writes_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "INTERVAL_S", 3600.0)
    journal = Journal(Folder.own(tmp_path / "journal"), Bounds.of(100, 30), ABOUT)
    inner, _, _ = opened(journal)
    inner.say(snapshot(line(0, 1)))
    until(lambda: texts(tmp_path) == ["w0"], "the first word")
    inner.say(snapshot(line(0, 2)))
    journal.close(30)
    assert texts(tmp_path) == ["w0 w1"] and journal.lost == 0


def test_a_disk_that_is_broken_for_a_while_costs_nothing(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    attempts = []
    really = os.fdatasync

    def broken(handle: int) -> None:
        attempts.append(handle)
        raise OSError(5, "Input/output error")

    inner, _, shown = opened(journal)
    inner.say(snapshot(line(0, 1)))
    until(lambda: texts(tmp_path) == ["w0"], "the first word")
    monkeypatch.setattr(os, "fdatasync", broken)
    inner.say(snapshot(line(0, 2)))
    until(lambda: len(attempts) > 3, "several attempts")
    assert journal.state == "failing" and journal.behind_s > 0 and len(shown) == 2
    assert texts(tmp_path) == ["w0"], "what may not be on disk is taken back"
    inner.say(snapshot(line(0, 3)))
    monkeypatch.setattr(os, "fdatasync", really)
    until(lambda: journal.state == "writing" and journal.behind_s == 0, "the journal is well")
    assert texts(tmp_path) == ["w0 w1 w2"] and kept(tmp_path)[0].damaged == 0 and journal.lost == 0
    said = [record.message for record in caplog.records if "journal" in record.message]
    assert [message.count("Input/output error") for message in said] == [1, 0], "told once, and once that it is over"


def test_no_memory_for_a_while_costs_nothing(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(row: object) -> bytes:
        raise MemoryError

    really = one_stream.encode
    monkeypatch.setattr(one_stream, "encode", none)
    inner, _, _ = opened(journal)
    inner.say(snapshot(line(0, 2)))
    until(lambda: journal.state == "failing", "it is told")
    monkeypatch.setattr(one_stream, "encode", really)
    until(lambda: texts(tmp_path) == ["w0 w1"] and journal.state == "writing", "the journal is well")
    assert any("Cannot allocate memory" in record.message for record in caplog.records)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_that_has_ended_keeps_nothing_in_memory(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(row: object) -> bytes:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(one_stream, "encode", wrong)
    opened(journal)[0].say(snapshot(line(0, 2)))
    until(lambda: any("nothing is written any more" in record.message for record in caplog.records), "it is logged")
    until(lambda: not journal._thread.is_alive(), "its end")
    for number in range(100):
        opened(journal, f"session{number:02d}")[0].say(snapshot(line(0, 2)))
    assert journal.state == "failing" and not journal._waiting


def test_a_disk_that_hangs_holds_nobody_up(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "PROMISE_S", 0.2)
    answers = threading.Event()
    really = os.fdatasync

    def slow(handle: int) -> None:
        answers.wait(60)
        really(handle)

    monkeypatch.setattr(os, "fdatasync", slow)
    inner, _, shown = opened(journal)
    for count in range(1, 200):
        inner.say(snapshot(line(0, count)))
    assert len(shown) == 199
    until(lambda: journal.state == "behind", "it is told")
    assert journal.behind_s > 0.2 and len(journal._waiting) <= 1
    answers.set()
    until(lambda: journal.state == "writing", "it is well again")
    until(lambda: texts(tmp_path) == [line(0, 199).text], "all of it")
    assert any("slow" in record.message for record in caplog.records)


def test_closing_does_not_wait_for_a_disk_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda handle: answers.wait(60))
    journal = Journal(Folder.own(tmp_path / "journal"), Bounds.of(100, 30), ABOUT)
    inner, _, _ = opened(journal)
    inner.say(snapshot(line(0, 1)))
    journal.close(0.1)
    assert any("does not answer" in record.message for record in caplog.records)
    answers.set()


def test_what_ended_while_nothing_can_be_written_is_bounded_and_counted(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*words: object, **more: object) -> int:
        raise OSError(28, "No space left on device")

    really = os.pwrite
    monkeypatch.setattr(os, "pwrite", full)
    for number in range(40):
        inner, stream, _ = opened(journal, f"session{number:02d}")
        inner.say(snapshot(line(0, 1)))
        stream.close()
    until(lambda: journal.lost == 8 and journal.state == "failing", "all but 32 are given up")
    assert sum("lost" in record.message for record in caplog.records) == 1, "told once"
    monkeypatch.setattr(os, "pwrite", really)
    until(lambda: len(texts(tmp_path)) == 32 and journal.state == "writing", "the others")
    assert any("8 streams lack their end" in record.message for record in caplog.records)
    assert len(Folder.existing(tmp_path / "journal").files()) == 32


def test_one_that_is_being_written_stops_at_the_bound(tmp_path: Path) -> None:
    folder = Folder.own(tmp_path / "journal")
    journal = Journal(folder, Bounds(3 * 4096, 86400), ABOUT)
    first, stream, _ = opened(journal, "first")
    first.say(snapshot(line(0, 200)))
    until(lambda: bool(texts(tmp_path)), "the first words")
    second, _, _ = opened(journal, "second")
    second.say(snapshot(line(0, 250)))
    until(lambda: journal.state == "failing", "there is no room")
    assert sum(entry.bytes for entry in folder.files()) <= 3 * 4096 and len(texts(tmp_path)) == 1
    stream.close()
    until(lambda: texts(tmp_path) == [line(0, 250).text], "the first has made room")
    until(lambda: journal.state == "writing", "it is well again")
    assert sum(entry.bytes for entry in folder.files()) <= 3 * 4096 and journal.bytes <= 3 * 4096
    journal.close()


def test_each_batch_is_synced_before_it_counts(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the kernel is asked to do, in order: data, then the folder of a new file."""
    asked: list[str] = []
    folder = (tmp_path / "journal").resolve()

    def noted(name: str, really: Callable[[int], None]) -> Callable[[int], None]:
        def call(handle: int) -> None:
            really(handle)
            asked.append(f"{name} {'folder' if Path(f'/proc/self/fd/{handle}').readlink() == folder else 'file'}")

        return call

    monkeypatch.setattr(os, "fdatasync", noted("fdatasync", os.fdatasync))
    monkeypatch.setattr(os, "fsync", noted("fsync", os.fsync))
    inner, _, _ = opened(journal)
    inner.say(snapshot(line(0, 1)))
    until(lambda: journal.behind_s == 0, "the first word")
    assert asked == ["fdatasync file", "fsync folder"]
    inner.say(snapshot(line(0, 2)))
    until(lambda: journal.behind_s == 0, "the next")
    assert asked == ["fdatasync file", "fsync folder", "fdatasync file"]


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_clock_that_is_set_right_makes_nothing_old_for_the_next_server(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Nobody speaks any more between when it is set and the end."""
    monkeypatch.setattr(writer, "CLOCK_S", 3600.0 if how == "stopped" else 0.01)
    real, years_s = time.time, 3 * 365 * 86400
    monkeypatch.setattr(time, "time", lambda: real() - years_s)
    inner, stream, _ = opened(journal)
    inner.say(snapshot(line(0, 2)))
    stream.close()
    until(lambda: [one.end for one in kept(tmp_path)] == ["closed"] and journal.behind_s == 0, "its end")
    [file] = (tmp_path / "journal").iterdir()
    os.utime(file, (time.time(),) * 2)
    monkeypatch.setattr(time, "time", real)
    if how == "stopped":
        journal.close()
    until(lambda: abs(file.stat().st_mtime - real()) < 60, "that it is of today")


def test_a_clock_that_is_set_right_removes_nothing_that_was_just_said(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine whose clock has no battery thinks that it is years ago until somebody tells it."""
    real, years_s = time.time, 3 * 365 * 86400
    monkeypatch.setattr(time, "time", lambda: real() - years_s)
    inner, stream, _ = opened(journal, "5f0c1d7a")
    inner.say(snapshot(line(0, 2)))
    stream.close()
    ended = "the first one's end"
    until(lambda: [one.end for one in kept(tmp_path)] == ["closed"] and journal.behind_s == 0, ended)
    [first] = (tmp_path / "journal").iterdir()
    os.utime(first, (time.time(),) * 2)  # as a kernel with that clock would have it
    monkeypatch.setattr(time, "time", real)
    inner, stream, _ = opened(journal, "6f0c1d7a")
    inner.say(snapshot(line(0, 3)))
    until(lambda: len(texts(tmp_path)) == 2, "the second")
    assert first.exists() and abs(first.stat().st_mtime - time.time()) < 60
    stream.close()
