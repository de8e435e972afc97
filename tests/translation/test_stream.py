"""The layer around a stream, with a real model: what comes when, how it ends, and what does not disturb it."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.speech.session import StreamOptions
from appliance.speech.types import Samples, Snapshot
from appliance.translation.stream import TENTATIVE_S, TranslatedStream, translated
from appliance.translation.translator import Job, Translator, look
from appliance.translation.worker import Worker
from tests.translation.test_lines import line, snapshot

pytestmark = pytest.mark.model

PATIENCE_S = 200.0
"""What computes has the lowest priority, so on a busy machine it waits for all else that this process does."""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.translation.stream.PATIENCE_S", PATIENCE_S)


class Inner:
    """A stream whose snapshots the test makes."""

    def __init__(self, on_snapshot: Callable[[Snapshot], None]) -> None:
        self.finished: Future[Snapshot] = Future()
        self.backlog_s = 0.5
        self.languages: list[str] = []
        self.fed = 0
        self.show = on_snapshot

    def feed(self, samples: Samples) -> None:
        self.fed += len(samples)

    def finish(self) -> None:
        pass

    def end(self, last: Snapshot) -> None:
        self.show(last)
        self.finished.set_result(last)

    def set_language(self, language: str) -> None:
        self.languages.append(language)

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        error = self.finished.exception(timeout_s)
        if error:
            raise ApplianceError(f"the stream failed: {error}", code="internal")
        return self.finished.result()

    def close(self) -> None:
        self.finished.cancel()


class Opened:
    """A translated stream, its inner one, and what it showed."""

    def __init__(self, worker: Worker, target: str = "de", language: str = "en", task: str = "transcribe") -> None:
        self.seen: list[Snapshot] = []
        inner: list[Inner] = []

        def open_inner(on_snapshot: Callable[[Snapshot], None]) -> Inner:
            inner.append(Inner(on_snapshot))
            return inner[0]

        options = StreamOptions(language=language, task="translate" if task == "translate" else "transcribe")
        self.stream: TranslatedStream = translated(open_inner, worker, options, target, self.seen.append)
        self.inner = inner[0]

    def until(self, condition: Callable[[Snapshot], bool], timeout_s: float = PATIENCE_S) -> Snapshot:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.seen and condition(self.seen[-1]):
                return self.seen[-1]
            time.sleep(0.01)
        raise AssertionError(self.seen[-3:])


@pytest.fixture(scope="module")
def worker(nllb_dir: Path) -> Iterator[Worker]:
    made = Worker(look(nllb_dir))
    yield made
    made.close()


def translations(of: Snapshot) -> list[str | None]:
    return [each.translation for each in of.lines]


def test_lines_get_their_translation_and_the_end_waits_for_the_last(worker: Worker) -> None:
    opened = Opened(worker)
    opened.inner.show(snapshot([line("Good morning.")], " How are"))
    assert opened.seen[0].lines[0].translation is None, "text is never held back"
    opened.until(lambda now: translations(now) == ["Guten Morgen."])
    opened.inner.end(snapshot([line("Good morning. How are you?"), line("The house is red.", start_s=9.0)]))
    last = opened.stream.wait(PATIENCE_S)
    assert translations(last) == ["Guten Morgen. Wie geht es dir?", "Das Haus ist rot."]
    assert last.translation == "" and opened.seen[-1] == last


def test_what_is_tentative_is_translated_now_and_then(worker: Worker) -> None:
    opened = Opened(worker)
    opened.inner.show(snapshot([], " The house is red."))
    assert opened.until(lambda now: bool(now.translation)).translation == "Das Haus ist rot."
    opened.inner.show(snapshot([], " Where is the station?"))
    time.sleep(0.3)
    assert opened.seen[-1].translation == "Das Haus ist rot.", "the newest one is not due yet"
    time.sleep(TENTATIVE_S)
    opened.inner.show(snapshot([], " Where is the station? So"))
    assert opened.until(lambda now: "Bahnhof" in now.translation).translation.startswith("Wo ist der Bahnhof?")
    opened.stream.close()


def test_each_stream_has_its_own_language_and_a_batch_is_of_many(worker: Worker) -> None:
    both = [Opened(worker, "de"), Opened(worker, "zho_Hans"), Opened(worker, "en", "auto")]
    for opened in both:
        opened.inner.end(snapshot([line("Good morning."), line("早上好。", language="zh", start_s=9.0)]))
    assert [translations(opened.stream.wait(PATIENCE_S)) for opened in both] == [
        ["Guten Morgen.", "Guten Morgen."],
        ["早上好。", None],
        [None, "Good morning."],
    ]


def test_what_whisper_put_into_english_goes_on_from_there(worker: Worker) -> None:
    opened = Opened(worker, "de", "fr", task="translate")
    opened.inner.end(snapshot([line("Good morning.", language="fr")]))
    assert translations(opened.stream.wait(PATIENCE_S)) == ["Guten Morgen."]


def test_many_sentences_are_all_translated(worker: Worker) -> None:
    opened = Opened(worker)
    said = ["Good morning.", "The house is red.", "How are you?"] * 20
    opened.inner.end(snapshot([line(text, start_s=9.0 * number) for number, text in enumerate(said)]))
    assert (
        translations(opened.stream.wait(PATIENCE_S)) == ["Guten Morgen.", "Das Haus ist rot.", "Wie geht es dir?"] * 20
    )


def test_a_language_the_model_lacks_opens_nothing(worker: Worker) -> None:
    with pytest.raises(ApplianceError, match="no translation into 'fr'") as caught:
        Opened(worker, "fr")
    assert caught.value.code == "unsupported_language"


def test_the_rest_is_the_inner_streams(worker: Worker) -> None:
    opened = Opened(worker)
    opened.stream.feed(np.zeros(160, dtype=np.float32))
    opened.stream.set_language("zh")
    assert (opened.inner.fed, opened.inner.languages, opened.stream.backlog_s) == (160, ["zh"], 0.5)
    with pytest.raises(TimeoutError):
        opened.stream.wait(0.01)
    opened.stream.close()
    with pytest.raises(ApplianceError) as caught:
        opened.stream.wait(1)
    assert caught.value.code == "closed" and opened.inner.finished.cancelled()


def test_an_error_of_the_inner_stream_ends_it_at_once(worker: Worker) -> None:
    opened = Opened(worker)
    opened.inner.finished.set_exception(RuntimeError("no memory"))
    with pytest.raises(ApplianceError, match="no memory"):
        opened.stream.wait(1)
    assert isinstance(opened.stream.finished.exception(0), RuntimeError)


def test_a_failure_leaves_the_line_without_and_is_told_once(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = Translator.translate

    def translate(self: Translator, jobs: Sequence[Job]) -> list[str]:
        if any("red" in job.text for job in jobs):
            raise RuntimeError("out of memory")
        return real(self, jobs)

    monkeypatch.setattr(Translator, "translate", translate)
    opened = Opened(worker)
    opened.inner.show(snapshot([line("Good morning.")]))
    opened.until(lambda now: translations(now) == ["Guten Morgen."])
    with caplog.at_level(logging.ERROR):
        opened.inner.show(snapshot([line("Good morning."), line("The house is red.", start_s=9.0)]))
        time.sleep(0.2)
        opened.inner.show(snapshot([line("Good morning."), line("The house is red. Red.", start_s=9.0)]))
        opened.inner.end(
            snapshot([line("Good morning."), line("The house is red. Red.", start_s=9.0), line("How are you?")])
        )
        assert translations(opened.stream.wait(PATIENCE_S)) == ["Guten Morgen.", None, "Wie geht es dir?"]
    assert [record.message for record in caplog.records] == [
        "translation failed, so lines may lack theirs: RuntimeError: out of memory"
    ]


def test_the_end_does_not_wait_for_ever(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    real = Translator.translate

    def translate(self: Translator, jobs: Sequence[Job]) -> list[str]:
        go_on.wait(20)
        return real(self, jobs)

    monkeypatch.setattr(Translator, "translate", translate)
    monkeypatch.setattr("appliance.translation.stream.PATIENCE_S", 0.2)
    opened = Opened(worker)
    started = time.monotonic()
    opened.inner.end(snapshot([line("Good morning.")]))
    assert translations(opened.stream.wait(15)) == [None]
    assert 0.1 < time.monotonic() - started < 15
    go_on.set()


def test_a_closed_stream_wants_nothing_more(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Job] = []
    real = Translator.translate

    def translate(self: Translator, jobs: Sequence[Job]) -> list[str]:
        asked.extend(jobs)
        return real(self, jobs)

    monkeypatch.setattr(Translator, "translate", translate)
    opened = Opened(worker)
    opened.stream.close()
    with pytest.raises(CancelledError):
        opened.stream.finished.result(1)
    opened.inner.show(snapshot([line("Good morning.")]))
    time.sleep(0.2)
    assert asked == [] and opened.seen == []


def niceness() -> dict[str, int]:
    """Of each thread of this process, by its number."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            found[task.name] = int(fields[16])
    return found


def test_only_the_computing_threads_give_way(nllb_dir: Path) -> None:
    before = niceness()
    worker = Worker(look(nllb_dir))
    try:
        opened = Opened(worker)
        opened.inner.end(snapshot([line("Good morning.")]))
        opened.stream.wait(PATIENCE_S)
        new: list[int] = []
        give_up = time.monotonic() + 60
        # The thread that loaded it gave way, too, and on a busy machine takes its time to end.
        while new.count(19) != 1 and time.monotonic() < give_up:
            time.sleep(0.1)
            new = [nice for thread, nice in niceness().items() if thread not in before]  # others may leave some
        assert new.count(19) == 1 and set(new) == {os.nice(0), 19}
    finally:
        worker.close()
