"""Starting and stopping: with a stand-in for a server that is ready, dead, or deaf to signals."""

import sys
import time
from pathlib import Path

import pytest

from appliance.bench import servers
from appliance.bench.processes import tree_usage
from appliance.bench.servers import Subject, appliance, running
from appliance.errors import ApplianceError

STAND_IN = """
import asyncio, json, os, signal, subprocess, sys
from websockets.asyncio.server import serve

async def config(socket):
    await socket.send(json.dumps({"type": "config"}))
    await socket.wait_closed()

async def main():
    print("port", sys.argv[-1], "variables", sorted(n for n in os.environ if n.startswith("WLK_")), flush=True)
    if "deaf" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(subprocess.Popen(["sleep", "600"]).pid, flush=True)
    async with serve(config, "127.0.0.1", int(sys.argv[-1])):
        await asyncio.Future()

if "dead" in sys.argv:
    sys.exit("error: no such model")
asyncio.run(main())
"""


def stand_in(tmp_path: Path, *words: str) -> Subject:
    script = tmp_path / "server.py"
    script.write_text(STAND_IN)
    return Subject("stand-in", "1", (sys.executable, str(script), *words))


def gone(pid: int, within_s: float = 0.0) -> bool:
    deadline = time.monotonic() + within_s
    while (there := tree_usage(pid).memory_bytes > 0) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not there


def test_a_server_is_ready_and_then_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_MODEL", "tiny")
    with running(stand_in(tmp_path), tmp_path / "logs" / "a.log") as server:
        assert 0 < server.ready_s < 20
        assert server.url("en") == f"ws://127.0.0.1:{server.port}/asr?language=en"
        assert not gone(server.pid)
    assert gone(server.pid)
    assert (tmp_path / "logs" / "a.log").read_text() == f"port {server.port} variables ['WLK_STATE_DIR']\n"


def test_one_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError) as caught, running(stand_in(tmp_path, "dead"), tmp_path / "a.log"):
        pass
    assert caught.value.message == "stand-in ended with status 1 before it was ready\nerror: no such model"
    assert str(tmp_path / "a.log") in caught.value.hint


def test_one_that_is_not_there(tmp_path: Path) -> None:
    nothing = Subject("nothing", "1", (str(tmp_path / "none"),))
    with pytest.raises(ApplianceError, match=r"can't start .*none: No such file"), running(nothing, tmp_path / "a.log"):
        pass


def test_one_that_does_not_listen_to_signals_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_STOP_LIMIT_S", 0.2)
    with running(stand_in(tmp_path, "deaf"), tmp_path / "a.log") as server:
        child = int((tmp_path / "a.log").read_text().split()[-1])
        assert not gone(child)
    assert gone(server.pid) and gone(child, within_s=5)


def test_our_own_server(tmp_path: Path) -> None:
    fast = appliance("1.2", tmp_path / "e", tmp_path / "d", tmp_path / "v.onnx", "fast", ["--workers", "1"])
    line = " ".join(fast.argv)
    assert line.endswith(f"--vad-file {tmp_path}/v.onnx --commit fast --workers 1")
    assert dict(fast.query) == {"format": "s16le", "rate": "16000"}
    assert fast.settings == {"commit": "fast", "flags": "--workers 1"}
