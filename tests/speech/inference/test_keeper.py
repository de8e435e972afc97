"""A real process that dies, hangs and talks: it is replaced, and leaves nothing behind."""

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.speech.inference import keeper as module
from tests.conftest import ROOT
from tests.speech.inference.deadly import SLOW, STOP, TALK, WAIT
from tests.speech.inference.kept import LIMIT_S, Kept, asked


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_an_idle_process_that_dies_is_replaced(keeps: Callable[..., Kept], number: int) -> None:
    kept = keeps()
    before = kept.pid
    os.kill(before, number)
    kept.wait_replaced()
    assert kept.pid not in (0, before) and kept.age_s < 30
    assert kept.said(1) == [[1, 2]]


@pytest.mark.parametrize("cause", [STOP, WAIT])
def test_a_process_that_hangs_is_replaced(keeps: Callable[..., Kept], cause: int) -> None:
    kept = keeps(step_timeout_s=1.0)
    assert kept.said(1) == [[1, 2]], "from here on a bound is known"
    assert kept.said(1, cause, 5) == [[1, 2], "inference_failed", [5, 6]]
    kept.wait_replaced(2)


def test_a_process_that_hangs_while_nothing_is_asked_is_replaced_too(keeps: Callable[..., Kept]) -> None:
    kept = keeps(step_timeout_s=1.0)
    assert kept.said(1) == [[1, 2]]
    os.kill(kept.pid, signal.SIGSTOP)
    kept.wait_replaced()
    assert kept.said(1) == [[1, 2]]


def test_one_that_hangs_while_it_loads_is_waited_for_some_times_as_long_as_the_first_took(
    keeps: Callable[..., Kept],
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "_LEAST_LOAD_S", 0.5)
    monkeypatch.setattr(module, "_TIMES_THE_FIRST", 4)
    kept = keeps()
    files[0].write_text("wait for ever")
    os.kill(kept.pid, signal.SIGKILL)
    assert kept.overdue_s == 0
    while not kept.overdue_s:  # those who ask for its health are told
        assert not kept.failed.wait(0.01)
    while "failed at its start" not in caplog.text and "gave no answer for" not in caplog.text:
        assert not kept.failed.wait(0.01)
    files[0].write_text("")
    kept.wait_replaced()
    assert kept.said(1) == [[1, 2]] and kept.overdue_s == 0


def test_what_takes_long_and_was_seen_to_does_not_hang(keeps: Callable[..., Kept]) -> None:
    kept = keeps(step_timeout_s=0.1)
    assert kept.said(SLOW) == [[SLOW, SLOW + 1]], "before anything was measured a turn may take as long as loading"
    assert kept.hangs_after_s > 15
    for _ in range(500):
        kept.said(1)
    assert 0.1 <= kept.hangs_after_s < 5, "it is forgotten"


def test_where_no_process_can_be_started_any_more_all_are_told(
    keeps: Callable[..., Kept], files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_WAITS_S", (0.0, 0.1))
    kept = keeps()
    files[0].unlink()
    os.kill(kept.pid, signal.SIGKILL)
    [outcome] = kept.turns.recognize([asked(1)])
    assert isinstance(outcome, ApplianceError) and outcome.code == "internal" and "2 tries" in outcome.message
    assert kept.failed.wait(LIMIT_S) and kept.recovering


def test_one_that_comes_back_later_is_waited_for(
    keeps: Callable[..., Kept], files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    kept = keeps()
    files[0].unlink()
    os.kill(kept.pid, signal.SIGKILL)
    while "there are no models" not in caplog.text:
        threading.Event().wait(0.01)
    assert kept.recovering and (kept.pid, kept.age_s) == (0, 0.0)
    files[0].touch()
    assert kept.said(1) == [[1, 2]]


def test_what_can_not_be_loaded_is_told_as_the_process_tells_it(
    command: list[str], files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    files[0].unlink()
    kept = Kept(command)
    with pytest.raises(ApplianceError, match="there are no models") as refused:
        kept.wait_loaded()
    assert refused.value.code == "missing_model" and refused.value.hint == "put them there"
    kept.close()


def test_a_process_that_ends_before_it_is_ready_is_told() -> None:
    kept = Kept([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
    with pytest.raises(ApplianceError, match="was ended by SIGKILL while it loaded the models"):
        kept.wait_loaded()
    kept.close()


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    kept = Kept([str(tmp_path / "none")])
    with pytest.raises(ApplianceError, match="can't be started"):
        kept.wait_loaded()
    kept.close()


def test_signals_to_all_processes_of_a_server_are_not_for_it(keeps: Callable[..., Kept]) -> None:
    kept = keeps()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(kept.pid, number)
    assert kept.said(1) == [[1, 2]]
    assert os.getpgid(kept.pid) != os.getpgid(0), "Ctrl+C goes to a group"


def test_it_knows_no_secret_of_the_server(keeps: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_TOKEN", "hush-hush")
    kept = keeps()
    assert b"hush-hush" not in Path(f"/proc/{kept.pid}/environ").read_bytes()


def test_it_goes_before_its_parent_where_memory_runs_out(keeps: Callable[..., Kept]) -> None:
    kept = keeps()
    assert int(Path(f"/proc/{kept.pid}/oom_score_adj").read_text()) == 500


def test_what_it_logs_and_prints_is_in_the_log(keeps: Callable[..., Kept], caplog: pytest.LogCaptureFixture) -> None:
    kept = keeps()
    kept.said(TALK)
    pid = kept.pid
    kept.close()
    while len(caplog.records) < 2:
        threading.Event().wait(0.01)
    lines = {(record.name, record.levelno, record.getMessage()) for record in caplog.records}
    assert ("models", logging.WARNING, "a word of theirs") in lines
    own = f"{module.__package__}.process"
    assert (own, logging.WARNING, f"inference: process {pid}: printed by a library") in lines


def test_closed_it_leaves_no_process_and_no_thread(keeps: Callable[..., Kept]) -> None:
    before = set(threading.enumerate())
    kept = keeps()
    pid = kept.pid
    kept.said(1)
    kept.close()
    assert not Path(f"/proc/{pid}").exists()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
    [outcome] = kept.turns.recognize([asked(1)])
    assert isinstance(outcome, ApplianceError) and outcome.code == "closed"


def test_closed_while_another_is_started_nobody_waits(
    keeps: Callable[..., Kept], files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    kept = keeps()
    files[0].unlink()
    os.kill(kept.pid, signal.SIGKILL)
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(kept.said, 1)
        while "there are no models" not in caplog.text:
            threading.Event().wait(0.01)
        kept.close()
        assert turn.result(LIMIT_S) == ["closed"]


def test_retired_nobody_waits_long_for_one_that_hangs(keeps: Callable[..., Kept]) -> None:
    kept = keeps()
    assert kept.said(1) == [[1, 2]] and kept.hangs_after_s == 30.0
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(kept.said, STOP)
        while not kept.turns._running:
            threading.Event().wait(0.01)
        kept.retire()
        assert turn.result(25) == ["closed"]


ORPHAN = """
import os, signal, sys
from tests.speech.inference.kept import Kept, asked
kept = Kept(sys.argv[1:])
kept.wait_loaded()
os.kill(kept.pid, signal.SIGSTOP)
print(kept.pid, flush=True)
signal.pause()
"""


def test_it_dies_with_its_parent_even_where_it_stands_still(command: list[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN, *command], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        parent.kill()
    gone = threading.Event()
    for _ in range(600):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        gone.wait(0.1)
    pytest.fail("it lives on")
