"""The engine in another's program: the example of docs/embedding.md as it stands there, and a session's own rules."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.embedding import TranscriptionEngine
from appliance.errors import ApplianceError, UsageError
from tests.conftest import ROOT, Spoken
from tests.server.running import committed, environment, pcm, pieces, updates, webm, word_errors

EXAMPLE = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "embedding.md").read_text(), re.DOTALL)[0]


def test_the_example_is_short() -> None:
    body = [line for line in EXAMPLE.splitlines() if line and not line.startswith(("from ", "import "))]
    assert len(body) <= 15


def test_importing_loads_no_torch() -> None:
    program = "import sys, appliance.embedding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(UsageError, match="unknown setting: modelsdir"):
        TranscriptionEngine(modelsdir="/models")
    with pytest.raises(UsageError, match="--device"):
        TranscriptionEngine(device="abacus")
    with pytest.raises(ApplianceError, match="not loaded"):
        TranscriptionEngine().session()


@pytest.fixture
def settings(flags: list[str]) -> dict[str, str]:
    """The real models, as settings."""
    names = (name.removeprefix("--").replace("-", "_") for name in flags[::2])
    return dict(zip(names, flags[1::2], strict=True))


@pytest.fixture
def served(settings: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The example under uvicorn, with the real model."""
    (tmp_path / "app.py").write_text(EXAMPLE)
    variables = {f"WLK_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", "0"]
    env = environment(PYTHONPATH=f"{ROOT}:{tmp_path}", **variables)
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        lines = []
        while process.poll() is None:
            lines.append(process.stderr.readline())
            if found := re.search(r"running on http://(\S+)", lines[-1]):
                break
        else:
            pytest.fail("".join(lines))
        os.set_blocking(process.stderr.fileno(), False)
        yield f"ws://{found[1]}/asr"
        process.terminate()
        assert process.wait(60) in (0, -15)


@pytest.mark.model
def test_the_example_serves_clients_of_the_protocol(served: str, librivox: tuple[Spoken, ...]) -> None:
    command = [sys.executable, "-m", "appliance", "transcribe", "--url", served, "--quiet", "--language", "en"]
    for data in (str(librivox[0].path), "-"):
        done = subprocess.run(
            [*command, data],
            input=webm(librivox[2].path),
            capture_output=True,
            env=environment(),
            timeout=90,
            check=True,
        )
        spoken = librivox[2] if data == "-" else librivox[0]
        assert word_errors(spoken.transcript, done.stdout.decode()) <= 2
    said = subprocess.run(
        [*command[:-1], "tlh", str(librivox[0].path)], capture_output=True, env=environment(), timeout=90, check=False
    )
    assert said.returncode == 1 and b"unknown language: 'tlh'" in said.stderr


@pytest.mark.model
def test_sessions(settings: dict[str, Any], librivox: tuple[Spoken, ...]) -> None:
    spoken = librivox[0]

    async def chunks(data: bytes) -> AsyncIterator[bytes]:
        for piece in (*pieces(data), b""):
            yield piece
        pytest.fail("nothing is asked for after the empty piece")

    async def run() -> None:
        engine = TranscriptionEngine(**settings, language="en", max_sessions=1)
        async with engine:
            assert "de" in engine.languages and engine.max_sessions == 1
            async with engine.session() as session:
                with pytest.raises(ApplianceError) as told:
                    engine.session()
                assert told.value.code == "over_capacity"
                messages = [message async for message in session.transcribe(chunks(webm(spoken.path)))]
            assert messages[0]["type"] == "config" and messages[-1] == {"type": "ready_to_stop"}
            assert word_errors(spoken.transcript, committed(updates(messages)[-1])) <= 2
            json.dumps(messages)

            async with engine.session(mode="diff", words=True, format="s16le") as session:
                await session.feed(pcm(spoken.path))
                await session.finish()
                kinds = [message["type"] async for message in session]
            assert kinds[:2] == ["config", "snapshot"] and kinds[-1] == "ready_to_stop"

            async with engine.session() as session:
                with pytest.raises(ApplianceError) as told:
                    async for _ in session.transcribe(chunks(b"\x89PNG\r\n" + bytes(20000))):
                        pass
                assert told.value.code == "unsupported_audio"

            session = engine.session()
        with pytest.raises(ApplianceError, match="closed before its end"):
            async for _ in session:
                pass
        with pytest.raises(ApplianceError, match="not loaded"):
            engine.session()

    asyncio.run(asyncio.wait_for(run(), 90))
