"""Two readers joined to a talk, through a real server with the real diarizer: on the socket, as a file, on the page."""

import os
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.client import Transcript
from appliance.manifest import Manifest
from appliance.speech.audio.file import decode_file
from appliance.speech.audio.pcm import s16le
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.store import Store
from appliance.words import normalise
from tests.conftest import ROOT, Spoken, fetched
from tests.server.browsing import chromium
from tests.server.running import (
    Message,
    Running,
    environment,
    field_client,
    opened,
    pieces,
    receive,
    refused_start,
    running,
)

pytestmark = pytest.mark.model


@dataclass(frozen=True)
class Talk:
    """Two readers by turns. ``verse``: words that only the second one says."""

    samples: Samples
    verse: set[str]
    prose: set[str]


@pytest.fixture(scope="module")
def talk(librivox: tuple[Spoken, ...], manifest: Manifest, store: Store) -> Talk:
    item = manifest.recording("sonnet-1")
    sonnet = np.concatenate(list(decode_file(fetched(item, store))))[8 * SAMPLE_RATE_HZ :]
    prose = [np.concatenate(list(decode_file(spoken.path))) for spoken in librivox]
    pause = np.zeros(SAMPLE_RATE_HZ // 2, dtype=np.float32)
    verses = [sonnet[at * SAMPLE_RATE_HZ : (at + 12) * SAMPLE_RATE_HZ] for at in (0, 12)]
    parts = [prose[0], pause, prose[1], pause, verses[0], pause, prose[2], pause, prose[3], pause, verses[1]]
    said = [set(normalise(text)) for text in (" ".join(one.transcript for one in librivox), item.transcript)]
    return Talk(np.concatenate(parts), said[1] - said[0], said[0] - said[1])


@pytest.fixture(scope="module")
def voice(librivox: tuple[Spoken, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another recording of the first reader."""
    path = tmp_path_factory.mktemp("voices") / "jane.wav"
    samples = np.concatenate([piece for spoken in librivox[3:] for piece in decode_file(spoken.path)])
    save(path, samples)
    return path


def save(path: Path, samples: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(s16le(samples))


@pytest.fixture(scope="module")
def telling(
    flags: list[str], voices_file: Path, voice: Path, nllb_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server that tells speakers apart, knows the first reader as Jane, and translates for who asks."""
    diarization = ["--diarization", "--diarization-file", str(voices_file), "--enroll", f"Jane={voice}"]
    own = ["--no-tls", "--language", "en", *diarization, "--translation-dir", str(nllb_dir)]
    with running([*own, *flags], tmp_path_factory.mktemp("state")) as server:
        server.wait_for("ready: base")
        yield server


def streamed(server: Running, samples: Samples, query: str = "", pace_s: float = 0.0) -> tuple[Message, list[Message]]:
    with opened(server, query) as socket:
        config = receive(socket)
        return config, field_client(socket, pieces(s16le(samples)), pace_s=pace_s)


def words_of(lines: list[dict[str, Any]], *speakers: object, by: str = "speaker") -> list[str]:
    return [word for line in lines if line.get(by) in speakers for word in normalise(line["text"])]


def test_each_reader_has_their_lines(telling: Running, talk: Talk) -> None:
    config, messages = streamed(telling, talk.samples)
    assert config["diarization"] is True
    lines = [line for line in messages[-2]["lines"] if line["text"]]
    assert {line["speaker"] for line in lines} == {1, 2}
    assert {line.get("name") for line in lines} == {"Jane", None}
    first, second = words_of(lines, 1), words_of(lines, 2)
    assert len(first) > 40 and len(second) > 30
    assert len(talk.verse & set(first)) <= 1 and len(talk.prose & set(second)) <= 1
    assert {line["speaker"] for line in lines if line.get("name") == "Jane"} == {1}
    assert messages[-2]["buffer_diarization"] == "" and messages[-2]["remaining_time_diarization"] == 0


def test_the_lines_of_each_reader_are_translated(telling: Running, talk: Talk) -> None:
    _, messages = streamed(telling, talk.samples, "?target_language=de")
    lines = [line for line in messages[-2]["lines"] if line["text"]]
    assert {line["speaker"] for line in lines} == {1, 2}
    assert all(line["translation"] for line in lines)
    assert len(talk.prose & set(words_of(lines, 2))) <= 1


def test_no_word_is_taken_back_nor_waits_long(telling: Running, talk: Talk) -> None:
    """As it is spoken: mostly the diarizer is ahead of the text."""
    transcript, before, waits = Transcript(), 0, [0.0]
    samples = talk.samples[: 20 * SAMPLE_RATE_HZ]
    _, messages = streamed(telling, samples, "?mode=diff&words=true", pace_s=0.1)
    for message in messages:
        transcript.apply(message)
        said = [word["text"] for line in transcript.lines for word in line.get("words", ())]
        if transcript.undiarized:
            waits.append(message["remaining_time_diarization"])
        count = len("".join(said).split()) + len(transcript.undiarized.split())
        assert count >= before
        before = count
    assert max(waits) < 10 and before > 30
    figures = httpx2.get(f"{telling.url}metrics").text
    lags = [sample.value for family in text_string_to_metric_families(figures) for sample in family.samples
            if sample.name == "wlk_diarization_lag_seconds_count"]  # fmt: skip
    assert lags[0] > 3


def test_a_client_may_do_without(telling: Running, talk: Talk) -> None:
    config, messages = streamed(telling, talk.samples[: 20 * SAMPLE_RATE_HZ], "?diarization=false")
    assert config["diarization"] is False
    assert {line["speaker"] for line in messages[-2]["lines"] if line["text"]} == {1}


def test_speakers_of_a_file(telling: Running, talk: Talk, tmp_path: Path) -> None:
    save(tmp_path / "talk.wav", talk.samples)
    with (tmp_path / "talk.wav").open("rb") as file:
        files, fields = {"audio_file": file}, {"max_speakers": "2"}
        answer = httpx2.post(f"{telling.url}transcribe", files=files, data=fields, timeout=600).json()
    segments = answer["segments"]
    assert {segment["speaker"] for segment in segments} == {"Jane", "SPEAKER_01"}
    prose, verse = words_of(segments, "Jane"), words_of(segments, "SPEAKER_01")
    assert len(prose) > 40 and len(verse) > 30
    assert len(talk.verse & set(prose)) <= 1 and len(talk.prose & set(verse)) <= 1
    assert {word["speaker"] for word in answer["word_segments"]} == {"Jane", "SPEAKER_01"}


@pytest.mark.browser
def test_readers_on_the_page(telling: Running, talk: Talk, tmp_path: Path) -> None:
    heard = talk.samples[: 34 * SAMPLE_RATE_HZ]
    with chromium(tmp_path, s16le(heard) + bytes(8 * 32000)) as browser:
        browser.open(telling.url)
        browser.start()
        who = "return [...document.querySelectorAll('#committed .line')].map((line) => line.dataset.tone)"
        browser.until(lambda: {"0", "1"} <= set(browser.run(who)), "two speakers")
        browser.until_text("committed", "Speaker 2")
        browser.until(lambda: "Jane" in browser.text("committed"), "a name")
        browser.screenshot("desktop-speakers")
        browser.stop()
        assert browser.run("return waiting.textContent") == "" and browser.complaints() == []


def test_readyz_says_so(telling: Running) -> None:
    assert httpx2.get(f"{telling.url}readyz").json()["diarization"] is True


def test_who_asks_for_what_is_not_there_is_told(server: Running) -> None:
    with opened(server, "?diarization=true") as socket:
        error = receive(socket)
    assert error["code"] == "bad_request" and "does not tell speakers apart" in error["hint"]


def test_no_start_without_weights(flags: list[str], tmp_path: Path) -> None:
    status, said = refused_start(["--diarization", *flags])
    assert status == 1 and "no diarizer: embedding needs a file .pt" in said and "--diarization-file" in said
    picture = tmp_path / "not.pt"
    picture.write_bytes(b"GIF89a" + bytes(100))
    status, said = refused_start(["--diarization", "--diarization-file", str(picture), "--port", "0", *flags])
    assert status == 1 and "not.pt" in said


@pytest.mark.nemo
def test_sortformer_serves_a_stream(flags: list[str], tiny_sortformer: Path, talk: Talk, tmp_path: Path) -> None:
    """NeMo's real class in a server, with random weights: every word gets some speaker, and the end comes."""
    own = ["--no-tls", "--language", "en", "--diarization", "--diarization-backend", "sortformer"]
    env = environment(PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "build" / "nemo")]))
    flags = [*own, "--diarization-file", str(tiny_sortformer), *flags]
    with running(flags, tmp_path, env=env) as server:
        server.wait_for("speakers: sortformer ready")
        server.wait_for("ready: base")
        config, messages = streamed(server, talk.samples[: 12 * SAMPLE_RATE_HZ])
    assert config["diarization"] is True and messages[-1] == {"type": "ready_to_stop"}
    lines = [line for line in messages[-2]["lines"] if line["text"]]
    assert lines and {line["speaker"] for line in lines} <= {-1, 1, 2, 3, 4}
    assert messages[-2]["buffer_diarization"] == ""
