"""What Prometheus reads, by its own parser: of the real application; with real speech, that the figures are true."""

import json
import os
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance import __version__
from appliance.journal.bounds import Bounds
from appliance.journal.folder import Folder
from appliance.journal.writer import Journal
from appliance.pair.locate import Pair
from appliance.server.metrics import Metrics
from appliance.server.service import Service
from appliance.server.settings import Settings
from appliance.speech.scheduler import Turn
from appliance.speech.types import Snapshot
from tests.conftest import Spoken
from tests.server.running import (
    Running,
    committed,
    field_client,
    opened,
    pcm,
    pieces,
    receive,
    running,
    served,
    trusting,
    updates,
)

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Figures:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def figure(figures: Figures, name: str, **labels: str) -> float:
    return figures[name, tuple(sorted(labels.items()))]


def made(**settings: object) -> Metrics:
    return Metrics(
        Settings(**settings),  # type: ignore[arg-type]
        "base",
        ready=lambda: True,
        sessions=lambda: 2,
        away=lambda: 1,
        places=lambda: 8,
        waiting=lambda: 1,
        files=lambda: 3,
        worker=os.getpid,
        undiarized=lambda: 5,
    )


def text(lag_s: float, diarized_s: float | None = None) -> Snapshot:
    return Snapshot((), 0, "", 10.0, 10.0 - lag_s, diarized_s=diarized_s)


def test_figures() -> None:
    metrics = made(device="cuda")
    before = parsed(metrics.text().decode())
    assert figure(before, "wlk_real_time_factor") == 0
    metrics.began()
    metrics.ended("done")
    metrics.ended("idle_timeout")
    metrics.refused("over_capacity")
    metrics.received(0.5)
    metrics.showed(text(1.2))
    metrics.showed(text(0.3, 7.5))
    metrics.took(Turn(0.25, 4, 1.0, 7, 2))
    metrics.replaced()
    metrics.took(Turn(0.01, 0, 0.3, 0))
    now = parsed(metrics.text().decode())
    assert figure(now, "wlk_info", version=__version__, model="base", device="cuda") == 1
    names = ("wlk_ready", "wlk_sessions_active", "wlk_sessions_limit", "wlk_queue_depth")
    assert [figure(now, name) for name in names] == [1, 2, 8, 1]
    assert figure(now, "wlk_sessions_total") == 1
    assert figure(now, "wlk_session_ends_total", how="done") == 1
    assert figure(now, "wlk_session_ends_total", how="idle_timeout") == 1
    assert figure(now, "wlk_refusals_total", code="over_capacity") == 1
    assert figure(now, "wlk_audio_seconds_total") == 0.5 and figure(now, "wlk_committed_words_total") == 7
    assert figure(now, "wlk_lag_seconds_bucket", le="1.0") == 1 and figure(now, "wlk_lag_seconds_bucket", le="1.5") == 2
    assert figure(now, "wlk_diarization_lag_seconds_count") == 1
    assert figure(now, "wlk_diarization_lag_seconds_sum") == 2.5 and figure(now, "wlk_diarization_failures") == 5
    assert figure(now, "wlk_step_seconds_count") == 1 and figure(now, "wlk_step_seconds_sum") == 0.25
    assert figure(now, "wlk_passes_total") == 4
    assert figure(now, "wlk_real_time_factor") == pytest.approx(0.26 / 1.3, rel=1e-3)
    assert figure(now, "wlk_inference_replacements_total") == 1 and figure(now, "wlk_failed_streams_total") == 2
    assert figure(now, "process_resident_memory_bytes") > 1e6
    assert figure(now, "inference_process_resident_memory_bytes") > 1e6
    assert 0 <= time.time() - figure(now, "process_start_time_seconds") < 86400


def test_a_journal_is_told_where_there_is_one(tmp_path: Path) -> None:
    assert "wlk_journal" not in made().text().decode()
    journal = Journal(Folder.own(tmp_path / "journal"), Bounds.of(1, 1), {})
    names = ("ready", "sessions", "away", "places", "waiting", "files", "worker", "undiarized")
    asked = {name: lambda: 0 for name in names}
    figures = parsed(Metrics(Settings(), "base", **asked, journal=journal).text().decode())  # type: ignore[arg-type]
    names = ("wlk_journal_failing", "wlk_journal_behind_seconds", "wlk_journal_bytes", "wlk_journal_lost_streams")
    assert [figure(figures, name) for name in names] == [0, 0, 0, 0]
    journal.close()


def test_whatever_comes_makes_no_more_series() -> None:
    metrics = made()
    for number in range(100):
        metrics.refused(f"a code of nobody {number}")
        metrics.ended(f"a code of nobody {number}")
        metrics.showed(text(number, number))
    figures = parsed(metrics.text().decode())
    assert figure(figures, "wlk_refusals_total", code="other") == 100
    assert figure(figures, "wlk_session_ends_total", how="other") == 100
    assert len(figures) < 140


def test_two_servers_in_a_process_have_figures_of_their_own() -> None:
    one, two = made(), made()
    one.began()
    assert figure(parsed(two.text().decode()), "wlk_sessions_total") == 0


def scraped(port: int, **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read().decode()


def test_metrics_of_a_server_with_tokens_take_one(pair: Pair, tmp_path: Path) -> None:
    settings = Settings(tokens="prometheus: of-prometheus", allowed_origins=("same",))  # type: ignore[arg-type]
    with served(Service(settings, pair, tmp_path / "none")) as port:
        status, kind, body = scraped(port)
        assert (status, json.loads(body)["code"]) == (401, "unauthorized")
        assert scraped(port, Authorization="Bearer of-prometheu")[0] == 401
        good = {"Authorization": "Bearer of-prometheus"}
        status, kind, body = scraped(port, Origin="https://evil.example", **good)
        assert (status, json.loads(body)["code"]) == (403, "origin")
        status, kind, body = scraped(port, **good)
        assert status == 200 and kind.startswith("text/plain; version=")
        figures = parsed(body)
    assert figure(figures, "wlk_refusals_total", code="unauthorized") == 2
    assert figure(figures, "wlk_refusals_total", code="origin") == 1
    assert figure(figures, "wlk_ready") == 0 and figure(figures, "wlk_sessions_active") == 0
    assert figure(figures, "wlk_info", version=__version__, model="mini", device="cpu") == 1
    assert "of-prometheus" not in body and "127.0.0.1" not in body


def read(server: Running) -> Figures:
    context: ssl.SSLContext = trusting(server)
    with urllib.request.urlopen(server.url + "metrics", context=context, timeout=10) as answer:
        return parsed(answer.read().decode())


@pytest.mark.model
def test_figures_and_log_of_real_sessions(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    """One that ends well, one that is refused, one that fails; each line about one names it, and none what it said."""
    more = ["--max-sessions", "1", "--log-format", "json", "--log-level", "debug"]
    with running([*more, *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        started = read(server)
        assert figure(started, "wlk_sessions_total") == figure(started, "wlk_audio_seconds_total") == 0
        assert figure(started, "wlk_ready") == figure(started, "wlk_sessions_limit") == 1
        speech = pcm(librivox[0].path)
        with opened(server, "?language=en&words=true") as socket:
            name = receive(socket)["session"]
            assert figure(read(server), "wlk_sessions_active") == 1
            with opened(server) as other:
                assert receive(other)["code"] == "over_capacity"
            messages = field_client(socket, pieces(speech), pace_s=0.1)
        final = updates(messages)[-1]
        with opened(server) as socket:
            assert field_client(socket, [b"no audio at all, " * 100])[-1]["code"] == "unsupported_audio"
        deadline = time.monotonic() + 60
        words = sum(len(line["words"]) for line in final["lines"])
        while figure(read(server), "wlk_committed_words_total") < words and time.monotonic() < deadline:
            time.sleep(0.05)
        figures = read(server)
        assert server.stop() == 0
    seconds = len(speech) / 32000
    assert figure(figures, "wlk_sessions_total") == 2 and figure(figures, "wlk_sessions_active") == 0
    assert figure(figures, "wlk_session_ends_total", how="done") == 1
    assert figure(figures, "wlk_session_ends_total", how="unsupported_audio") == 1
    assert figure(figures, "wlk_refusals_total", code="over_capacity") == 1
    assert figure(figures, "wlk_audio_seconds_total") == pytest.approx(seconds, abs=0.001)
    assert figure(figures, "wlk_committed_words_total") == words > 5
    assert figure(figures, "wlk_passes_total") >= figure(figures, "wlk_step_seconds_count") > 3
    assert 0 < figure(figures, "wlk_real_time_factor") < 2
    assert figure(figures, "wlk_lag_seconds_count") >= len({committed(update) for update in updates(messages)}) - 1 > 1
    assert 0 < figure(figures, "wlk_lag_seconds_sum") / figure(figures, "wlk_lag_seconds_count") < 10
    assert figure(figures, "wlk_queue_depth") == 0
    assert figure(figures, "process_resident_memory_bytes") > 100e6
    rows = [json.loads(line) for line in server.lines]
    mine = [row["message"] for row in rows if row.get("session") == name]
    assert [message.partition(": ")[2] for message in mine if "127.0.0.1" in message] == ["connected", "done"]
    assert all("session" in row for row in rows if "127.0.0.1:" in row["message"] and "listening" not in row["message"])
    said = {word for word in committed(final).lower().split() if len(word) > 5}
    assert said and not said & set("".join(server.lines).lower().split())
