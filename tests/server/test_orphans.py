"""Who waits for processes that nobody else waits for."""

import os
import subprocess
import sys
import time
from pathlib import Path

from appliance.server.orphans import Orphans


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]


def _ended() -> int:
    """A child that has ended, and that nobody has waited for."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})
    while _state(pid) != "Z":
        time.sleep(0.01)
    return pid


def test_a_child_that_nobody_waits_for_is_waited_for_at_the_second_call() -> None:
    first, second = _ended(), _ended()
    orphans = Orphans()
    assert orphans.reap() == 0 and {_state(first), _state(second)} == {"Z"}
    assert orphans.reap() == 2 and not Path(f"/proc/{first}").exists() and not Path(f"/proc/{second}").exists()
    assert orphans.reap() == 0


def test_who_waits_for_its_child_learns_how_it_ended() -> None:
    orphans = Orphans()
    child = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    while _state(child.pid) != "Z":
        time.sleep(0.01)
    assert orphans.reap() == 0
    assert child.wait() == 3
    assert orphans.reap() == 0


def test_a_child_that_runs_and_other_processes_are_left_alone() -> None:
    orphans = Orphans()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert [orphans.reap() for _ in range(3)] == [0, 0, 0]
        assert child.poll() is None
