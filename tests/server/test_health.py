"""What those who watch a server are told: whether its work goes on."""

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from appliance.commands import health
from appliance.pair.locate import Pair
from appliance.server import service as service_module
from appliance.server.service import STUCK_S, Service
from appliance.server.settings import Settings
from appliance.server.streams import Models
from appliance.speakers.scheduler import SpeakerScheduler
from appliance.speech.config import LONGEST_TURN_S
from appliance.speech.scheduler import Scheduler, Stream
from appliance.speech.session import StreamOptions
from tests.server.running import served
from tests.speakers.test_scheduler import Gated as GatedDiarizer
from tests.speakers.test_scheduler import Heard, sound
from tests.speech.doubles import session, speech
from tests.speech.test_scheduler import Gated, nothing


def asked(port: int) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


class Ear:
    """As much of an engine as is asked for its health."""

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._scheduler = scheduler

    @property
    def still_s(self) -> float:
        return self._scheduler.turn_s if self._scheduler else 0.0

    def close(self) -> None:
        if self._scheduler:
            self._scheduler.close()


def test_inference_that_hangs_is_told(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recognizer = Gated()
    recognizer.gate.clear()
    scheduler = Scheduler(recognizer, workers=2, batch=1)
    service = Service(Settings(tls=False, state_dir=tmp_path), pair, tmp_path / "vad.onnx")
    stream = Stream(session(StreamOptions(language="en")), scheduler, nothing)
    try:
        with served(service) as port:
            assert asked(port)[0] == 200, "while the model loads"
            monkeypatch.setattr(service, "_models", Models(Ear(scheduler), on_cpu=True))  # type: ignore[arg-type]
            stream.feed(speech(1, 4))
            assert recognizer.at_the_gate.acquire(timeout=10)
            assert asked(port)[1]["status"] == "ok", "it may take its time"
            monkeypatch.setattr(service_module, "STUCK_S", 0.001)
            time.sleep(0.01)
            assert asked(port) == (503, asked(port)[1]) and asked(port)[1]["status"] == "stuck"
            assert health.main(["--url", f"http://127.0.0.1:{port}"]) == 1 and "stuck" in capsys.readouterr().out
            recognizer.gate.set()
            stream.finish()
            stream.wait(60)
            scheduler.close()
            assert asked(port)[1]["status"] == "ok"
    finally:
        recognizer.gate.set()
    assert STUCK_S == 180 > LONGEST_TURN_S


def test_a_diarizer_that_hangs_is_told(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diarizer = GatedDiarizer()
    speakers = SpeakerScheduler(diarizer)
    service = Service(Settings(tls=False, state_dir=tmp_path), pair, tmp_path / "vad.onnx")
    monkeypatch.setattr(service_module, "STUCK_S", 0.001)
    with served(service) as port:
        models = Models(Ear(), on_cpu=True, speakers=speakers)  # type: ignore[arg-type]
        monkeypatch.setattr(service, "_models", models)
        assert asked(port)[1]["status"] == "ok"
        speakers.open(Heard()).feed(sound(3.0))
        assert diarizer.entered.acquire(timeout=30)
        time.sleep(0.01)
        try:
            assert asked(port)[1]["status"] == "stuck"
        finally:
            diarizer.go.release(100)
        speakers.close()
        assert asked(port)[1]["status"] == "ok"
