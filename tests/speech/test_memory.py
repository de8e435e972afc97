"""What the process holds, with the real allocator, in a process of its own: its settings are for good."""

import subprocess
import sys

import pytest

FREED = """
import ctypes, threading, time
from pathlib import Path
from appliance.speech import memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

memory.share_one_arena()
memory._TRIM_EVERY_S = 0.05
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = resident_mb()
blocks = [libc.malloc(100_000) for _ in range(1000)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one keeps the rest below the top of the heap
    libc.free(block)
held = resident_mb() - before
closed = threading.Event()
thread = threading.Thread(target=memory.trim_until, args=(closed,))
thread.start()
deadline = time.monotonic() + 30
while resident_mb() - before >= 10 and time.monotonic() < deadline:
    time.sleep(0.05)
kept = resident_mb() - before
closed.set()
thread.join(30)
print(held, kept, thread.is_alive())
"""

CODE = """
import re
from pathlib import Path
import torch
from appliance.speech.memory import release_code

def code_mb():
    runs, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            runs = " r-xp " in line and "/" in line
        elif runs and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total / 1e3

def work():
    generator = torch.Generator().manual_seed(0)
    one = torch.rand(64, 64, generator=generator)
    return (one @ one).softmax(-1).sum(0).tolist()

before = work()
loaded = code_mb()
release_code()
kept = code_mb()
print(loaded, kept, work() == before, code_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's mappings")
def test_code_that_only_loading_ran_leaves_memory_and_what_runs_comes_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    loaded, kept, same, after = done.stdout.split()
    assert float(kept) < float(loaded) / 4
    assert same == "True"
    assert float(kept) < float(after) < float(loaded) / 2


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_what_is_free_goes_back_although_something_stands_above_it() -> None:
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    held, kept, alive = done.stdout.split()
    assert float(held) > 90, "freed, and not given back by itself"
    assert float(kept) < 10
    assert alive == "False"
