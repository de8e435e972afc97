"""What stands in the log, and of which session."""

import asyncio
import datetime
import json
import logging
import re
import threading
from contextvars import copy_context

import pytest

from appliance import log

logger = logging.getLogger("appliance.server.asr")


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info")
    logger.debug("not asked for")
    logger.info("%s: done", "192.0.2.7:4711")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d INFO    appliance\.server\.asr: 192\.0\.2\.7:4711: done\n", capsys.readouterr().err
    )


def test_lines_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("debug", "json")
    before = datetime.datetime.now(datetime.UTC)
    logger.debug('two\nlines, "quoted", ü\u2028\x00\udcff')
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        logger.exception("failed")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert list(first) == ["time", "level", "logger", "message"]
    assert first["message"] == 'two\nlines, "quoted", ü\u2028\x00\udcff'
    assert (first["level"], first["logger"]) == ("DEBUG", "appliance.server.asr")
    assert abs(datetime.datetime.fromisoformat(first["time"]) - before) < datetime.timedelta(seconds=5)
    assert first["time"].endswith("Z") and "+" not in first["time"]
    assert second["exception"].startswith("Traceback") and second["exception"].endswith("ValueError: bad\nthing")


def test_each_session_has_its_name_in_its_lines_also_those_of_its_tasks_and_threads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("info", "json")

    async def client(number: int) -> str:
        with log.session() as name:
            await asyncio.sleep(0.01)
            await asyncio.create_task(speak(number))
            await asyncio.get_running_loop().run_in_executor(None, copy_context().run, logger.info, "%d", number)
            thread = threading.Thread(target=copy_context().run, args=(logger.info, "%d", number))
            thread.start()
            thread.join()
            return name

    async def speak(number: int) -> None:
        await asyncio.sleep(0.01)
        logger.info("%d", number)

    async def all_clients() -> list[str]:
        return await asyncio.gather(*map(client, range(5)))

    names = asyncio.run(all_clients())
    logger.info("done")
    *rows, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert len(set(names)) == 5 and all(re.fullmatch("[0-9a-f]{8}", name) for name in names)
    assert len(rows) == 15 and all(row["session"] == names[int(row["message"])] for row in rows)
    assert "session" not in last
    log.configure("info")
    with log.session() as name:
        logger.info("done")
    assert capsys.readouterr().err.endswith(f"appliance.server.asr: done [{name}]\n")
