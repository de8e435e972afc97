"""The process itself, with the real model."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.batch.job import Heard, Job, Segment, Setup, read_answer
from appliance.batch.recognizer import FileRecognizer
from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.speech.audio.file import decode_file
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.words import word_errors
from tests.conftest import Spoken

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def setup(base_pair: Pair) -> Setup:
    return Setup(str(base_pair.encoder_dir), "cpu", "int8", 1)


@pytest.fixture(scope="module")
def recognizer(setup: Setup) -> FileRecognizer:
    return FileRecognizer(setup)


@pytest.fixture
def worker(setup: Setup) -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-m", "appliance.batch.worker"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(setup.line())
        try:
            yield process
        finally:
            process.kill()


def done(worker: subprocess.Popen[bytes], job: Job) -> tuple[list[Segment], Heard]:
    assert worker.stdin and worker.stdout
    worker.stdin.write(job.line())
    worker.stdin.flush()
    segments: list[Segment] = []
    while True:
        answer = read_answer(worker.stdout.readline())
        if isinstance(answer, Heard):
            return segments, answer
        segments.append(answer)


def all_of(librivox: tuple[Spoken, ...]) -> Samples:
    """The recordings, with a second of silence after each."""
    pause = np.zeros(SAMPLE_RATE_HZ, dtype=np.float32)
    return np.concatenate([piece for spoken in librivox for piece in (*decode_file(spoken.path), pause)])


def test_jobs_one_after_the_other(
    worker: subprocess.Popen[bytes], librivox: tuple[Spoken, ...], tmp_path: Path
) -> None:
    segments, heard = done(worker, Job(str(librivox[0].path)))
    text = "".join(segment.text for segment in segments)
    assert heard.language == "en" and not segments[0].words
    assert word_errors(librivox[0].transcript, text).errors <= 2
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == 19
    assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"
    for signal_of_the_service in (signal.SIGINT, signal.SIGTERM):
        worker.send_signal(signal_of_the_service)  # what its parent was asked is its parent's to say

    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(1000))
    with pytest.raises(ApplianceError) as caught:
        done(worker, Job(str(picture)))
    assert caught.value.code == "unsupported_audio" and str(tmp_path) not in caught.value.message

    with pytest.raises(ApplianceError) as caught:
        done(worker, Job(str(librivox[0].path), max_s=1.0))
    assert caught.value.code == "too_long"

    segments, heard = done(worker, Job(str(librivox[1].path), language="en", words=True, prompt="Dashwood"))
    times = [time for segment in segments for word in segment.words for time in (word.start_s, word.end_s)]
    assert times and times == sorted(times) and times[-1] <= heard.duration_s
    assert all("".join(word.text for word in segment.words) == segment.text for segment in segments)
    assert word_errors(librivox[1].transcript, "".join(segment.text for segment in segments)).errors <= 2

    assert worker.stdin
    worker.stdin.close()
    assert worker.wait(300) == 0


def test_a_long_file_in_parts(
    recognizer: FileRecognizer, librivox: tuple[Spoken, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some 30 s in parts of at most 12 s: no word is lost at a cut, and times are those of the whole file."""
    monkeypatch.setattr("appliance.batch.recognizer.PART_S", 12)
    samples = all_of(librivox)
    pieces = (samples[at : at + 16000] for at in range(0, samples.size, 16000))
    *segments, heard = recognizer.hear(pieces, Job("", words=True))
    assert isinstance(heard, Heard) and heard.duration_s == pytest.approx(samples.size / SAMPLE_RATE_HZ)
    found = [segment for segment in segments if isinstance(segment, Segment)]
    said = " ".join(spoken.transcript for spoken in librivox)
    assert word_errors(said, "".join(segment.text for segment in found)).errors <= 8
    starts = [word.start_s for segment in found for word in segment.words]
    assert starts == sorted(starts) and heard.duration_s - 3 < starts[-1] < heard.duration_s


def test_what_looks_like_a_loop_is_heard_again(
    recognizer: FileRecognizer, librivox: tuple[Spoken, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every window taken for one: the text is that of hearing it without batches, and the times are the file's."""
    samples = np.concatenate([np.zeros(80_000, dtype=np.float32), *decode_file(librivox[0].path)])
    *plain, _ = recognizer.hear([samples], Job("", language="en", words=True))
    monkeypatch.setattr("appliance.batch.recognizer.LOOP_RATIO", 0.0)
    *again, _ = recognizer.hear([samples], Job("", language="en", words=True))
    both = [[segment for segment in each if isinstance(segment, Segment)] for each in (plain, again)]
    texts = ["".join(segment.text for segment in each) for each in both]
    assert all(word_errors(librivox[0].transcript, text).errors <= 2 for text in texts)
    starts = [each[0].words[0].start_s for each in both]
    assert starts[0] > 4.5 and starts[1] == pytest.approx(starts[0], abs=0.6)


def test_silence_and_nothing_have_no_language(recognizer: FileRecognizer) -> None:
    assert list(recognizer.hear([np.zeros(80_000, dtype=np.float32)], Job(""))) == [Heard(5.0, None)]
    assert list(recognizer.hear([], Job("", language="de"))) == [Heard(0.0, "de")]


def test_languages_that_are_not_allowed_are_not_found(recognizer: FileRecognizer, librivox: tuple[Spoken, ...]) -> None:
    samples = np.concatenate(list(decode_file(librivox[0].path)))
    *_, heard = recognizer.hear([samples], Job("", languages=("de", "fr")))
    assert isinstance(heard, Heard) and heard.language in ("de", "fr")


def test_a_temperature_samples(recognizer: FileRecognizer, librivox: tuple[Spoken, ...]) -> None:
    samples = np.concatenate(list(decode_file(librivox[0].path)))
    *segments, _ = recognizer.hear([samples], Job("", language="en", temperature=0.2))
    assert [segment.temperature for segment in segments if isinstance(segment, Segment)] == [0.2] * len(segments)
    assert segments


def test_a_folder_without_a_model_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where it lies is for the log, and not for clients."""
    with pytest.raises(ApplianceError, match="could not be loaded for files") as caught:
        FileRecognizer(Setup(str(tmp_path), "cpu", "int8", 1))
    assert str(tmp_path) in caplog.text and str(tmp_path) not in str(caught.value)
