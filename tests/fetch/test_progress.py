import io
import logging

import pytest

from appliance.fetch import progress
from appliance.fetch.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_bar_on_a_terminal(clock: list[float]) -> None:
    terminal = Terminal()
    with Progress("base", 100_000_000, terminal) as bar:
        bar.at(0)
        clock[0] += 2.0
        bar.at(50_000_000)
        bar.at(100_000_000)
    drawn = terminal.getvalue().split("\r\x1b[K")[1:]
    assert drawn[1].startswith("base  [##########          ]   50%  50.0 of 100.0 MB  25.0 MB/s  2 s left")
    assert drawn[2].startswith("base  [####################]  100%")
    assert terminal.getvalue().endswith("\n")


def test_plain_lines_now_and_then_elsewhere(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Progress("base", 100_000_000, io.StringIO()) as lines:
        for step in range(110):
            clock[0] += 0.1
            lines.at(step * 900_000)
    assert len(caplog.messages) == 2  # in eleven seconds
    assert caplog.messages[0].startswith("base   45%  45.0 of 100.0 MB")


def test_a_size_that_is_not_known(clock: list[float]) -> None:
    terminal = Terminal()
    with Progress("base", None, terminal) as bar:
        clock[0] += 1.0
        bar.at(2_000_000)
    assert "base  2.0 MB" in terminal.getvalue()
