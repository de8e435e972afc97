import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.bench.processes import Memory, tree_usage, watching_memory

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def stat(proc: Path, pid: int, parent: int, times: tuple[int, int, int, int], pages: int) -> None:
    (proc / str(pid)).mkdir()
    numbers = [parent, *[0] * 9, *times, *[0] * 6, pages, 0]
    (proc / str(pid) / "stat").write_text(f"{pid} (a (strange) name) S {' '.join(map(str, numbers))}\n")


def test_a_tree_is_summed_and_others_are_not(tmp_path: Path) -> None:
    stat(tmp_path, 10, 1, (100, 10, 0, 0), 5)
    stat(tmp_path, 11, 10, (200, 20, 7, 3), 6)
    stat(tmp_path, 12, 11, (400, 0, 0, 0), 7)
    stat(tmp_path, 13, 1, (999, 999, 999, 999), 999)
    (tmp_path / "uptime").write_text("1 2")
    (tmp_path / "14").mkdir()  # ended between the listing and the reading
    found = tree_usage(10, tmp_path)
    assert found.cpu_s == pytest.approx(740 / TICKS)
    assert found.memory_bytes == 18 * PAGE
    assert tree_usage(99, tmp_path).memory_bytes == 0


def test_a_real_process_with_a_child() -> None:
    burn = "import sys, time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    burn += "print(1, flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        process.stdout.readline()
        found = tree_usage(process.pid)
        process.stdin.close()
    assert 0.25 <= found.cpu_s < 5
    assert found.memory_bytes > 4_000_000


def test_memory_is_watched_from_start_to_end() -> None:
    with watching_memory(os.getpid(), every_s=60) as memory:
        assert len(memory.samples) == 1
    assert len(memory.samples) == 2
    assert memory.peak_bytes > 4_000_000


def test_memory_at_a_time() -> None:
    memory = Memory([(0.0, 1), (10.0, 5), (20.0, 3)])
    assert (memory.peak_bytes, memory.at(5), memory.at(10), memory.at(99)) == (5, 5, 5, 3)
