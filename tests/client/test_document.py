"""docs/client.md: its example, run as it stands there against a real server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Spoken
from tests.server.running import environment, running, webm, word_errors

EXAMPLE = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)[0]


@pytest.mark.model
def test_the_example(flags: list[str], librivox: tuple[Spoken, ...], tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(EXAMPLE)
    (tmp_path / "talk.webm").write_bytes(webm(librivox[0].path))
    with running(["--token", "secret", *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        ca = server.state_dir / "tls" / "ca.pem"
        command = [sys.executable, "example.py", server.asr, str(ca), "talk.webm"]

        def run() -> subprocess.CompletedProcess[str]:
            env = environment(PYTHONPATH=str(ROOT))
            return subprocess.run(
                command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
            )

        done = run()
        assert done.returncode == 0, done.stderr
        assert word_errors(librivox[0].transcript, done.stdout) <= 2
        assert "secret" not in "".join(server.lines)
        (tmp_path / "example.py").write_text(EXAMPLE.replace('"secret"', '"wrong"'))
        done = run()
        assert (done.returncode, done.stdout) == (1, "") and "unauthorized: server: the token is wrong" in done.stderr
