"""Files through a real server with the real model: OpenAI's own client, and clients that do it wrong or go away."""

import asyncio
import concurrent.futures
import contextlib
import socket as sockets
import ssl
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from appliance.words import word_errors
from tests.conftest import Spoken
from tests.server.files.openapi_hooks import silence
from tests.server.running import (
    Running,
    committed,
    environment,
    field_client,
    opened,
    pcm,
    pieces,
    running,
    trusting,
    updates,
)

pytestmark = pytest.mark.model

TOKEN = "correct-horse"

PATIENCE_S = 600.0
"""Files are worked on at the lowest priority: beside other tests a worker may be given no processor for minutes."""


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[openai.OpenAI]:
    """OpenAI's client, which trusts this server's CA and knows nothing else of it."""
    context = ssl.create_default_context(cafile=server.state_dir / "tls" / "ca.pem")
    with (
        httpx2.Client(verify=context) as http,
        openai.OpenAI(base_url=f"{server.url}v1", api_key="none", http_client=http, max_retries=0) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def http(server: Running) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, verify=trusting(server), timeout=PATIENCE_S) as made:
        yield made


@pytest.fixture(scope="module")
def strict(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a token that takes little: files of 11 MB and 6 minutes, two at once."""
    limits = ["--no-tls", "--max-upload-mb", "11", "--max-file-minutes", "6", "--file-queue", "2"]
    with running([*limits, *flags], tmp_path_factory.mktemp("strict"), env=environment(WLK_TOKEN=TOKEN)) as started:
        started.wait_for("ready: base")
        yield started


@pytest.fixture(scope="module")
def long_file(librivox: tuple[Spoken, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some five minutes of speech."""
    data = b"".join(pcm(spoken.path) for spoken in librivox)
    return wav(tmp_path_factory.mktemp("long") / "long.wav", data * 12)


def wav(path: Path, data: bytes) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(data)
    return path


def of(server: Running, token: str = TOKEN) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}v1", api_key=token, max_retries=0)


def workers(server: Running) -> list[int]:
    """Processes of the server that work on files."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"appliance.batch.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def until(true: object, timeout_s: float = 300.0) -> None:
    assert callable(true)
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_form_with_the_official_client(client: openai.OpenAI, librivox: tuple[Spoken, ...]) -> None:
    spoken = librivox[0]
    said = client.audio.transcriptions.create(model="whisper-1", file=spoken.path)
    assert word_errors(spoken.transcript, said.text).errors <= 2
    assert said.usage is not None and said.usage.type == "duration"
    asked: dict[str, Any] = {
        "model": "base",
        "file": spoken.path,
        "language": "en",
        "prompt": "A novel.",
        "temperature": 0.0,
    }
    assert str(client.audio.transcriptions.create(response_format="text", **asked)).strip() == said.text
    srt = str(client.audio.transcriptions.create(response_format="srt", **asked))
    assert srt.startswith("1\n00:00:0") and said.text.split()[0] in srt
    assert str(client.audio.transcriptions.create(response_format="vtt", **asked)).startswith("WEBVTT")
    verbose = client.audio.transcriptions.create(
        response_format="verbose_json", timestamp_granularities=["word", "segment"], **asked
    )
    assert verbose.language == "english" and verbose.words and verbose.segments
    assert " ".join(word.word for word in verbose.words) == verbose.text
    assert all(0 <= word.start <= word.end <= verbose.duration for word in verbose.words)
    assert verbose.segments[0].avg_logprob < 0 and verbose.segments[0].tokens


def test_streaming_with_the_official_client(client: openai.OpenAI, librivox: tuple[Spoken, ...]) -> None:
    events = list(client.audio.transcriptions.create(model="base", file=librivox[1].path, stream=True))
    assert [event.type for event in events[:-1]] == ["transcript.text.delta"] * (len(events) - 1)
    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events[:-1] if event.type == "transcript.text.delta") == events[-1].text
    assert word_errors(librivox[1].transcript, events[-1].text).errors <= 2


def test_the_async_client_and_several_at_once(server: Running, librivox: tuple[Spoken, ...]) -> None:
    async def all_at_once() -> list[str]:
        async with (
            httpx2.AsyncClient(verify=trusting(server)) as http,
            openai.AsyncOpenAI(base_url=f"{server.url}v1", api_key="none", http_client=http, max_retries=0) as asking,
        ):
            asked = [asking.audio.transcriptions.create(model="base", file=one.path) for one in librivox[:3]]
            return [answer.text for answer in await asyncio.gather(*asked)]

    for spoken, text in zip(librivox, asyncio.run(all_at_once()), strict=False):
        assert word_errors(spoken.transcript, text).errors <= 3


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_translation_is_english(client: openai.OpenAI, french: Spoken) -> None:
    said = client.audio.translations.create(model="base", file=french.path)
    words = set(said.text.lower().replace(".", "").split())
    # A small model finds other words each time; English are they all the same.
    assert words & {"this", "that", "the", "old"} and words & {"who", "smokes", "smoke", "smoking", "blond", "blonde"}
    assert not words & {"portez", "ce", "vieux", "au", "juge", "qui", "fume"}


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["base", "whisper-1"]
    assert client.models.retrieve("base").object == "model"
    with pytest.raises(openai.NotFoundError, match="'gpt-4o' is not served here; ask for 'base'"):
        client.models.retrieve("gpt-4o")


def test_segments_as_whisperx_services_give_them(http: httpx2.Client, librivox: tuple[Spoken, ...]) -> None:
    form = {"min_speakers": "1", "max_speakers": "2"}
    said = http.post("transcribe", files={"audio_file": librivox[0].path.read_bytes()}, data=form).json()
    assert said["language"] == "en" and "speaker" not in said["segments"][0]
    words = [word for segment in said["segments"] for word in segment["words"]]
    assert words == said["word_segments"] and all(0 <= word["score"] <= 1 for word in words)
    assert word_errors(librivox[0].transcript, " ".join(word["word"] for word in words)).errors <= 2


def test_silence_has_no_text(http: httpx2.Client) -> None:
    assert http.post("v1/audio/transcriptions", files={"file": silence()}).json()["text"] == ""
    streamed = http.post("v1/audio/transcriptions", files={"file": silence()}, data={"stream": "true"})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text == 'data: {"type":"transcript.text.done","text":""}\n\n'


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(1000)


@pytest.mark.parametrize(
    ("content", "form", "code", "param"),
    [
        (PNG, {}, "unsupported_audio", "file"),
        (b"words, words " * 500, {}, "unsupported_audio", "file"),
        (silence()[:20], {}, "unsupported_audio", "file"),
        (b"", {}, "bad_request", None),
        (silence(), {"language": "klingon"}, "unsupported_language", "language"),
        (silence(), {"response_format": "mp3"}, "bad_request", "response_format"),
        (silence(), {"temperature": "hot"}, "bad_request", "temperature"),
        (PNG, {"stream": "true"}, "unsupported_audio", "file"),
    ],
)
def test_what_is_wrong_is_told_in_openais_shape(
    http: httpx2.Client, content: bytes, form: dict[str, str], code: str, param: str | None
) -> None:
    answer = http.post("v1/audio/transcriptions", files={"file": ("a.wav", content)}, data=form)
    error = answer.json()["error"]
    assert answer.status_code == 400 and (error["code"], error["param"]) == (code, param)
    assert error["type"] == "invalid_request_error" and "/proc" not in error["message"]


def test_what_is_wrong_is_told_in_our_shape(http: httpx2.Client) -> None:
    for path, answer in (
        ("transcribe", http.post("transcribe", files={"file": silence()})),
        ("transcribe", http.post("transcribe", files={"audio_file": PNG})),
        ("transcribe", http.get("transcribe")),
    ):
        assert 400 <= answer.status_code < 500 and answer.json()["type"] == "error", path
    with contextlib.suppress(httpx2.TransportError):  # refused while it is still being sent
        huge = http.post("transcribe", files={"audio_file": silence()}, headers={"x-much": "x" * 2_000_000})
        assert 400 <= huge.status_code < 500
    health = http.get("healthz")
    assert health.status_code == 200 and "access-control-allow-origin" not in health.headers


def test_a_token_is_asked_for(strict: Running, librivox: tuple[Spoken, ...]) -> None:
    with of(strict, "wrong") as client, pytest.raises(openai.AuthenticationError, match="the token is wrong"):
        client.audio.transcriptions.create(model="base", file=librivox[0].path)
    with of(strict, "wrong") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    with of(strict) as client:
        assert client.audio.transcriptions.create(model="base", file=librivox[0].path).text


def test_who_sends_a_file_is_in_the_log_and_its_length_in_the_figures(
    strict: Running, librivox: tuple[Spoken, ...]
) -> None:
    name = "wlk_file_audio_seconds_total "

    def heard_s() -> float:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        rows = httpx2.get(f"{strict.url}metrics", headers=headers, timeout=PATIENCE_S).text.splitlines()
        return next(float(row.removeprefix(name)) for row in rows if row.startswith(name))

    before_s, rows = heard_s(), len(strict.lines)
    with of(strict) as client:
        client.audio.transcriptions.create(model="base", file=librivox[0].path)
    seconds = len(pcm(librivox[0].path)) / 32000
    assert heard_s() - before_s == pytest.approx(seconds, abs=0.1)
    until(lambda: any("s of audio in" in row for row in strict.lines[rows:]))
    begin, end = (row for row in strict.lines[rows:] if row.rstrip().endswith("]") and "process" not in row)
    assert "token@127.0.0.1:" in begin and "sends a file" in begin and f"file: {seconds:.1f} s of audio in" in end
    assert begin.rsplit("[", 1)[1] == end.rsplit("[", 1)[1]


def test_limits_on_size_and_length(strict: Running, librivox: tuple[Spoken, ...], tmp_path: Path) -> None:
    with of(strict) as client:
        with pytest.raises(openai.APIStatusError, match="larger than 11 MB") as caught:
            client.audio.transcriptions.create(model="base", file=wav(tmp_path / "large.wav", bytes(40_000_000)))
        assert caught.value.status_code == 413 and caught.value.param == "file"

        def endless() -> Iterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(400):
                yield bytes(100_000)

        headers = {"content-type": "multipart/form-data; boundary=b", "authorization": f"Bearer {TOKEN}"}
        url = f"{strict.url}v1/audio/transcriptions"
        chunked = httpx2.post(url, content=endless(), headers=headers, timeout=PATIENCE_S)
        assert chunked.status_code == 413 and "larger than 11 MB" in chunked.text
        with pytest.raises(openai.APIStatusError, match="longer than 6 minutes") as caught:
            client.audio.transcriptions.create(model="base", file=quiet(tmp_path / "long.flac", minutes=7))
        assert caught.value.status_code == 413


def quiet(path: Path, minutes: int) -> Path:
    """Minutes of silence in a small file."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("flac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960_000), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16000, frame_size=4096)
        for _ in range(minutes):
            frame.pts = None
            for ready in resampler.resample(frame):
                out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return path


def begun(server: Running, content: bytes, *, whole: bool) -> sockets.socket:
    """A connection on which a file was sent, or half of it."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content + b"\r\n--b--\r\n"
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    made = sockets.create_connection(("127.0.0.1", server.port))
    made.sendall(head.encode() + (body if whole else body[: len(body) // 2]))
    return made


def test_a_full_queue_says_when_to_come_back(strict: Running, librivox: tuple[Spoken, ...]) -> None:
    waiting = [begun(strict, silence(), whole=False) for _ in range(2)]
    try:
        with of(strict) as client:

            def refused() -> bool:
                try:
                    client.audio.transcriptions.create(model="base", file=("a.wav", silence()))
                except openai.RateLimitError as error:
                    assert int(error.response.headers["retry-after"]) > 0 and "--file-queue" in error.message
                    return True
                return False

            until(refused)
    finally:
        for one in waiting:
            one.close()
    with openai.OpenAI(base_url=f"{strict.url}v1", api_key=TOKEN, max_retries=5) as patient:
        assert patient.audio.transcriptions.create(model="base", file=librivox[0].path).text


def test_work_ends_when_its_client_goes_away(strict: Running, long_file: Path, librivox: tuple[Spoken, ...]) -> None:
    connection = begun(strict, long_file.read_bytes(), whole=True)
    until(lambda: workers(strict))
    [worker] = workers(strict)
    time.sleep(1)
    assert workers(strict) == [worker]
    connection.close()
    until(lambda: worker not in workers(strict), 240)  # without a file it would stay for --file-idle-s, 300 s
    strict.wait_for(": went away")
    assert list((strict.state_dir / "uploads").iterdir()) == []
    with of(strict) as client:
        assert client.audio.transcriptions.create(model="base", file=librivox[0].path).text


def test_streams_and_health_go_on_while_a_file_is_worked_on(
    strict: Running, long_file: Path, librivox: tuple[Spoken, ...]
) -> None:
    connection = begun(strict, long_file.read_bytes(), whole=True)
    until(lambda: workers(strict))
    with opened(strict, f"?token={TOKEN}&language=en") as socket:
        messages = field_client(socket, pieces(pcm(librivox[0].path)), pace_s=0.1)
    assert word_errors(librivox[0].transcript, committed(updates(messages)[-1])).errors <= 2
    assert httpx2.get(f"{strict.url}healthz", timeout=PATIENCE_S).status_code == 200
    assert httpx2.get(f"{strict.url}readyz", timeout=PATIENCE_S).json()["sessions"] == 0
    connection.settimeout(0.01)
    with pytest.raises(TimeoutError):  # the file is still worked on
        connection.recv(1)
    connection.close()


def test_a_process_that_dies_costs_its_file_only(
    strict: Running, long_file: Path, librivox: tuple[Spoken, ...]
) -> None:
    import os
    import signal

    until(lambda: not workers(strict))
    with of(strict) as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.audio.transcriptions.create, model="base", file=long_file)
        until(lambda: workers(strict))
        os.kill(workers(strict)[0], signal.SIGKILL)
        with pytest.raises(openai.InternalServerError, match="not enough memory"):
            asked.result(300)
        assert client.audio.transcriptions.create(model="base", file=librivox[0].path).text


def test_a_process_that_dies_in_a_stream_is_told_logged_and_counted(strict: Running, long_file: Path) -> None:
    import os
    import signal

    headers = {"Authorization": f"Bearer {TOKEN}"}
    count = 'wlk_refusals_total{code="internal"} '

    def counted() -> float:
        rows = httpx2.get(f"{strict.url}metrics", headers=headers, timeout=PATIENCE_S).text.splitlines()
        return next(float(row.removeprefix(count)) for row in rows if row.startswith(count))

    before, rows = counted(), len(strict.lines)
    asked: dict[str, Any] = {"files": {"file": ("a.wav", long_file.read_bytes())}, "data": {"stream": "true"}}
    with (
        httpx2.Client(timeout=PATIENCE_S, headers=headers) as http,
        http.stream("POST", f"{strict.url}v1/audio/transcriptions", **asked) as streamed,
    ):
        events = streamed.iter_lines()
        assert "transcript.text.delta" in next(events)
        os.kill(workers(strict)[0], signal.SIGKILL)
        assert '"code":"internal"' in [row for row in events if row][-1]
    assert counted() == before + 1
    until(lambda: any("ERROR" in row and "ended with status -9" in row for row in strict.lines[rows:]))


def test_memory_is_given_back_and_a_stop_ends_the_work(flags: list[str], long_file: Path, tmp_path: Path) -> None:
    with running(["--no-tls", "--file-idle-s", "0.5", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        files = {"file": ("a.wav", silence())}
        assert httpx2.post(f"{server.url}v1/audio/transcriptions", files=files, timeout=PATIENCE_S).status_code == 200
        until(lambda: not workers(server))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(
                httpx2.post, f"{server.url}transcribe", files={"audio_file": long_file.read_bytes()}, timeout=PATIENCE_S
            )
            until(lambda: workers(server))
            [worker] = workers(server)
            assert server.stop() == 0
            assert asked.result().status_code == 503 and asked.result().json()["code"] == "restarting"
        until(lambda: not Path(f"/proc/{worker}/exe").exists())  # a zombie has none
    assert "Traceback" not in "".join(server.lines) and "Warning" not in "".join(server.lines)


def test_a_stop_is_told_to_all_who_sent_a_file(flags: list[str], long_file: Path, tmp_path: Path) -> None:
    """One that is worked on and has had text, one that waits, and one that is being sent."""
    with running(["--no-tls", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        asked = {"file": ("a.wav", long_file.read_bytes())}
        url = f"{server.url}v1/audio/transcriptions"
        with (
            httpx2.Client(timeout=PATIENCE_S) as http,
            http.stream("POST", url, files=asked, data={"stream": "true"}) as streamed,
            concurrent.futures.ThreadPoolExecutor(1) as pool,
            contextlib.closing(begun(server, long_file.read_bytes(), whole=False)) as sending,
        ):
            events = streamed.iter_lines()
            assert "transcript.text.delta" in next(events)
            waiting = pool.submit(httpx2.post, url, files=asked, timeout=PATIENCE_S)
            until(lambda: sum("sends a file" in row for row in server.lines) == 3)
            time.sleep(0.5)
            assert server.stop() == 0
            assert '"code":"restarting"' in [row for row in events if row][-1]
            assert waiting.result().status_code == 503
            assert waiting.result().json()["error"]["code"] == "restarting"
            answer = sending.recv(4096)
            assert answer.startswith(b"HTTP/1.1 503") and b"restarting" in answer + sending.recv(4096)
    said = "".join(server.lines)
    assert "Traceback" not in said and "Exception" not in said
    assert said.count("files: process") == 1 and said.count("the server is shutting down (restarting)") == 3


def test_files_are_not_taken_before_the_model_is_loaded(flags: list[str], tmp_path: Path) -> None:
    with running(["--no-tls", *flags], tmp_path) as server:
        files = {"file": ("a.wav", silence())}
        answer = httpx2.post(f"{server.url}v1/audio/transcriptions", files=files, timeout=PATIENCE_S)
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert answer.json()["error"]["code"] == "not_ready"
