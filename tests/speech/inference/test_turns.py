"""A real process that dies, hangs and fails on cue: who is to blame is found, and all others only wait."""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.speech.hypothesis import Hypothesis
from tests.speech.inference import deadly
from tests.speech.inference.deadly import CRASH, EXHAUST, EXIT, FAIL, GARBLE, SLOW
from tests.speech.inference.kept import LIMIT_S, Kept, asked


def test_passes_are_those_of_the_worker(keeps: Callable[..., Kept]) -> None:
    kept = keeps()
    assert kept.said(1, 5, 9) == [[1, 2], [5, 6], [9, 10]]
    assert kept.turns.recognize([]) == []
    [found] = kept.turns.recognize([asked(3)])
    assert isinstance(found, Hypothesis)
    [directly] = deadly.Deadly(Path("/nowhere")).recognize([asked(3)])
    assert found == directly


@pytest.mark.parametrize("cause", [CRASH, EXIT, GARBLE])
def test_only_the_pass_that_ends_the_process_twice_is_to_blame(keeps: Callable[..., Kept], cause: int) -> None:
    kept = keeps()
    assert kept.said(1, cause, 5) == [[1, 2], "inference_failed", [5, 6]]
    kept.wait_replaced(2)
    assert kept.said(1) == [[1, 2]]


def test_passes_of_another_turn_at_that_moment_are_not_to_blame(keeps: Callable[..., Kept]) -> None:
    """Also not when theirs is made again at the same time as that of the cause."""
    kept = keeps()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(kept.said, SLOW, SLOW)
        crash = pool.submit(kept.said, CRASH, 1)
        assert crash.result(LIMIT_S) == ["inference_failed", [1, 2]]
        assert slow.result(LIMIT_S) == [[SLOW, SLOW + 1]] * 2
    kept.wait_replaced(2)


def test_turns_that_come_meanwhile_wait(keeps: Callable[..., Kept]) -> None:
    kept = keeps()
    with ThreadPoolExecutor(4) as pool:
        os.kill(kept.pid, signal.SIGKILL)
        turns = [pool.submit(kept.said, number) for number in range(1, 5)]
        assert [turn.result(LIMIT_S) for turn in turns] == [[[number, number + 1]] for number in range(1, 5)]


@pytest.mark.parametrize("cause", [FAIL, EXHAUST])
def test_an_error_of_a_pass_is_its_own(
    keeps: Callable[..., Kept], cause: int, caplog: pytest.LogCaptureFixture
) -> None:
    kept = keeps()
    before = kept.pid
    assert kept.said(1, cause, 5) == [[1, 2], "inference_failed", [5, 6]]
    assert kept.pid == before and not kept.recovering
    assert ("RuntimeError: bad pass" if cause == FAIL else "MemoryError") in caplog.text


def test_a_process_that_can_do_nothing_any_more_is_replaced(
    keeps: Callable[..., Kept], files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some errors a GPU's context is of no use; the passes are not to blame."""
    kept = keeps()
    before = kept.pid
    files[1].touch()
    with ThreadPoolExecutor(1) as pool:
        turn = pool.submit(kept.said, 1, 5)
        while kept.pid == before:
            threading.Event().wait(0.01)
        files[1].unlink()
        assert turn.result(LIMIT_S) == [[1, 2], [5, 6]]
