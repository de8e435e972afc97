import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.certificates import days_ago, files_in, put_ours, serving, shake_hands
from tests.server.running import environment, running


def health(*flags: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    command = [sys.executable, "-m", "appliance", "health", *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=env or environment(), timeout=20, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_no_server() -> None:
    status, said = health("--url", "http://127.0.0.1:9")
    assert status == 1 and said.startswith("no answer from http://127.0.0.1:9/healthz") and said.count("\n") == 1


def test_bad_address() -> None:
    status, said = health("--url", "127.0.0.1:8000")
    assert status == 2 and "not an http or https address" in said


def test_imports_little() -> None:
    program = (
        "import sys; from appliance.commands import health; "
        "print([m for m in ('torch', 'numpy', 'starlette', 'pydantic', 'websockets', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_late_clock_is_no_illness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.server.asking import context
    from appliance.server.places import own_certificate

    put_ours(tmp_path, made=days_ago(-700), leaf_made=days_ago(-700))
    monkeypatch.setenv("WLK_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("WLK_TLS_CERT", raising=False)
    shake_hands(serving(files_in(tmp_path)), "localhost", context("localhost", own_certificate()))
    put_ours(tmp_path / "other")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(serving(files_in(tmp_path / "other")), "localhost", context("localhost", own_certificate()))


@pytest.mark.model
def test_alive_then_ready_under_tls(flags: list[str], tmp_path: Path) -> None:
    with running(flags, tmp_path) as server:
        port = str(server.port)
        own = environment(WLK_PORT=port, WLK_STATE_DIR=str(tmp_path))
        assert health(env=own)[0] == 0
        server.wait_for("ready: base")
        status, said = health("--ready", env=own)
        assert status == 0 and said.startswith("ready, model base")
        assert health("--ready", env=environment(PORT=port, WLK_STATE_DIR="/nowhere"))[0] == 0
        other = tmp_path / "other"
        from appliance.server.tls import keep

        keep(other)
        status, said = health(env=environment(WLK_PORT=port, WLK_STATE_DIR=str(other)))
        assert status == 1 and "certificate" in said.lower()
