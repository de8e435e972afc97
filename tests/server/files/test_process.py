"""The process that works on files, when it does not: the real one, which finds no model or is held up."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from appliance.batch.job import Job, Setup
from appliance.errors import ApplianceError
from appliance.log import session
from appliance.server.files.process import Worker
from tests.programs import put


async def nothing(worker: Worker) -> None:
    pass


def failed(folder: Path, meanwhile: Callable[[Worker], Awaitable[None]] = nothing) -> ApplianceError:
    """How a job ends, where there is no model to load."""

    async def run() -> None:
        with session():
            worker = await Worker.start(Setup(str(folder), "cpu", "int8", 1))
        try:
            await meanwhile(worker)
            async with asyncio.timeout(600):  # its priority is the lowest
                async for _ in worker.answers(Job(str(folder / "none"))):
                    pass
        finally:
            worker.end()
            for _ in range(30_000):
                if not worker.alive:
                    break
                await asyncio.sleep(0.01)

    with pytest.raises(ApplianceError) as caught:
        asyncio.run(run())
    assert caught.value.code == "internal" and str(folder) not in str(caught.value)
    return caught.value


def test_what_it_prints_is_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With where things lie, which no client is told."""
    assert failed(tmp_path).message == "the model could not be loaded for files"
    [said] = [row for row in caplog.records if row.levelname == "WARNING"]
    assert said.name == "appliance.server.files.process" and said.message.startswith("files: process ")
    assert f"{tmp_path} can't be loaded" in said.message


def test_its_command_line_tells_nothing_of_its_setup(tmp_path: Path) -> None:
    """Which has names of people in it, where voices are enrolled."""

    def words(pid: int) -> list[str]:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:-1]

    async def look(worker: Worker) -> None:
        assert words(worker.pid) == ["-m", "appliance.batch.worker"]

    failed(tmp_path, look)


def test_it_has_no_setting_of_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads files of strangers: what such a file makes of it can't tell a token that it does not have."""
    monkeypatch.setenv("WLK_TOKEN", "hush-hush")

    def variables(pid: int) -> bytes:
        return Path(f"/proc/{pid}/environ").read_bytes()

    async def look(worker: Worker) -> None:
        assert b"PATH=" in variables(worker.pid) and b"hush-hush" not in variables(worker.pid)

    failed(tmp_path, look)


def test_one_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.server.files.process.STILL_S", 0.2)

    async def hold(worker: Worker) -> None:
        os.kill(worker.pid, signal.SIGSTOP)

    assert "hangs" in failed(tmp_path, hold).message


def test_one_that_works_for_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.server.files.process.STILL_S", 0.05)
    monkeypatch.setattr("appliance.server.files.process.MOST_CPU_S", -1.0)
    assert "hangs" in failed(tmp_path).message


def test_one_that_is_killed(tmp_path: Path) -> None:
    async def kill(worker: Worker) -> None:
        os.kill(worker.pid, signal.SIGKILL)

    assert "ended with status -9" in failed(tmp_path, kill).message


@pytest.mark.parametrize("said", ['printf \'{"segment": {"te\'', "head -c 3000000 /dev/zero; sleep 60"])
def test_one_that_says_what_it_should_not(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It died in mid-sentence, or goes on and on."""
    monkeypatch.setattr(sys, "executable", str(put(tmp_path / "bin", "python", said)))
    assert "said what it should not" in failed(tmp_path / "model").message


def test_one_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert "can't be started" in failed(tmp_path).message
