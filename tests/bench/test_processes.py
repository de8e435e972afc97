import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.bench.processes import LASTING_S, Memory, Sample, tree_usage, watching_memory

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def stat(proc: Path, pid: int, parent: int, times: tuple[int, int, int, int], pages: int, age_s: float = 1e6) -> None:
    (proc / str(pid)).mkdir()
    start = round((time.clock_gettime(time.CLOCK_BOOTTIME) - age_s) * TICKS)
    numbers = [parent, *[0] * 9, *times, *[0] * 4, start, 0, pages, 0]
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
    (tmp_path / "11" / "smaps_rollup").write_text("55-7f ---p 00 00:00 0    [rollup]\nRss: 24 kB\nPss:   9 kB\n")
    assert tree_usage(10, tmp_path).memory_bytes == 12 * PAGE + 9 * 1024, "what it shares with others counts once"
    assert tree_usage(99, tmp_path).memory_bytes == 0


def test_what_young_processes_have_for_themselves_does_not_last(tmp_path: Path) -> None:
    stat(tmp_path, 10, 1, (0, 0, 0, 0), 5)
    stat(tmp_path, 11, 10, (0, 0, 0, 0), 6, LASTING_S + 60)
    stat(tmp_path, 12, 11, (0, 0, 0, 0), 7, LASTING_S - 60)
    assert tree_usage(10, tmp_path).lasting_bytes == 11 * PAGE
    rows = "Rss: 24 kB\nPss:   9 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty:   3 kB\n"
    (tmp_path / "12" / "smaps_rollup").write_text(rows)
    found = tree_usage(10, tmp_path)
    assert (found.memory_bytes, found.lasting_bytes) == (11 * PAGE + 9 * 1024, 11 * PAGE + 5 * 1024)


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


def test_what_processes_share_counts_once() -> None:
    """As what a process is forked with, of which the kernel makes no copy."""
    program = "import os, sys\nheld = bytes(range(256)) * 400_000\nfor _ in range(3):\n if os.fork() == 0: break\n"
    program += "print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        for _ in range(4):
            process.stdout.readline()
        found = tree_usage(process.pid)
        process.stdin.close()
    assert 100_000_000 < found.memory_bytes < 200_000_000


def test_memory_is_watched_from_start_to_end() -> None:
    with watching_memory(os.getpid(), every_s=60) as memory:
        assert len(memory.samples) == 1
    assert len(memory.samples) == 2
    assert memory.peak_bytes > 4_000_000


def test_memory_at_a_time() -> None:
    memory = Memory([Sample(0.0, 1, 1), Sample(10.0, 5, 4), Sample(20.0, 3, 3)])
    assert (memory.peak_bytes, memory.at(5), memory.at(10), memory.at(99)) == (5, 5, 5, 3)
