"""A machine that fails its server: disk full, state folder read-only, certificate out of date, model damaged.

The server is a real process each time. What lies under it is mounted in a namespace of its own, and seen by it alone.
"""

import os
import random
import shutil
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from appliance.pair.locate import Pair
from appliance.server.authority import LEAF_DAYS
from tests.conftest import Spoken, missing
from tests.server.certificates import days_ago, put_foreign, put_ours
from tests.server.running import (
    Running,
    committed,
    environment,
    field_client,
    opened,
    pcm,
    pieces,
    refused_start,
    running,
    serving,
    updates,
    word_errors,
)
from tests.server.test_process import get

pytestmark = pytest.mark.model

# $0: the state folder. What follows is the server's command.
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
# With what lay there before, and no room beside.
FULL = """
cp -a "$0" "$0.before" && mount -t tmpfs -o size=256k none "$0" && cp -a "$0.before/." "$0" || exit 1
cat /dev/zero >"$0/filler" 2>/dev/null
exec "$@"
"""


def mounted(script: str, state: Path) -> list[str]:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("root and unshare, to mount a state folder")
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(state)]


def trusting_any(server: Running) -> ssl.SSLContext:
    """As a person who clicks the browser's warning away."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def report(server: Running) -> dict[str, Any]:
    answer: dict[str, Any] = httpx2.get(f"{server.url}readyz", verify=trusting_any(server)).json()
    return answer


def hears(server: Running, spoken: Spoken) -> bool:
    with opened(server) as socket:
        said = updates(field_client(socket, pieces(pcm(spoken.path))))[-1]
    return word_errors(spoken.transcript, committed(said)) <= 2


def upload(server: Running, spoken: Spoken) -> tuple[int, dict[str, Any]]:
    context = ssl.create_default_context(cafile=server.state_dir / "tls" / "certificate.pem")
    with httpx2.Client(base_url=server.url, verify=context, timeout=600) as client:
        answer = client.post("transcribe", files={"audio_file": spoken.path.read_bytes()})
    return answer.status_code, answer.json()


def test_a_state_folder_that_is_read_only(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    """The folder of a journal in it too: who set that wants what is said, and the words most of all."""
    put_ours(tmp_path)
    (tmp_path / "journal").mkdir(mode=0o700)
    journal = ["--journal", str(tmp_path / "journal")]
    with running([*journal, *flags], tmp_path, wrapper=mounted(READ_ONLY, tmp_path)) as server:
        server.wait_for("the journal in .* can't be written: Read-only file system; streams go on")
        server.wait_for("still serving with the certificate that is there: can't keep .*: Read-only file system")
        server.wait_for("ready: base")
        status, told, _ = get(server, "/readyz")
        assert (status, told["warning"], told["journal"]) == (200, "state_dir", "failing")
        assert hears(server, librivox[0])
        status, error = upload(server, librivox[0])
        assert (status, error["code"]) == (507, "no_room") and "Read-only file system" in error["message"]
        assert server.stop() == 0


def test_a_full_disk(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    """The certificate is due, can't be renewed, and is served; an upload is refused; nothing of either stays."""
    put_ours(tmp_path, leaf_made=days_ago(LEAF_DAYS - 10))
    with running(flags, tmp_path, wrapper=mounted(FULL, tmp_path)) as server:
        server.wait_for("certificate that is there: can't keep a certificate in .*: No space left on device")
        server.wait_for("ready: base")
        seen = Path(f"/proc/{server.process.pid}/root{tmp_path}")
        assert (seen / "filler").exists() and not (tmp_path / "filler").exists()
        before = sorted(seen.rglob("*"))
        assert get(server, "/readyz")[1]["warning"] == "state_dir"
        status, error = upload(server, librivox[0])
        assert (status, error["code"]) == (507, "no_room") and error["hint"]
        assert hears(server, librivox[0])
        assert {path for path in seen.rglob("*") if path not in before} <= {seen / "uploads"}
        assert [path for path in (seen / "tls").glob("set.*") if len(list(path.iterdir())) != 4] == []
        # With room again the next one is taken.
        (seen / "filler").unlink()
        assert upload(server, librivox[0])[0] == 200
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("days", "code", "said"),
    [(-3, "certificate_expired", "expired on"), (300, "certificate_early", "is valid only from")],
)
def test_a_certificate_of_the_site_that_is_out_of_date(
    flags: list[str], tmp_path: Path, days: float, code: str, said: str
) -> None:
    own = put_foreign(tmp_path, days=days, begin_days=-200 if days > 0 else 100)
    more = ["--tls-cert", str(own.certificate), "--tls-key", str(own.key)]
    with running([*more, *flags], tmp_path / "state") as server:
        server.wait_for(f"still serving with the certificate that is there: .*{said}")
        assert report(server)["warning"] == code
        if code != "certificate_expired":
            return
        new = put_foreign(tmp_path / "new")
        own.key.write_bytes(new.key.read_bytes())
        own.certificate.write_bytes(new.certificate.read_bytes())
        server.wait_for("serving with the new certificate", 150)
        assert "warning" not in report(server)


def test_a_certificate_of_ours_that_expired_and_can_not_be_renewed(flags: list[str], tmp_path: Path) -> None:
    put_ours(tmp_path, leaf_made=days_ago(LEAF_DAYS + 10))
    with running(flags, tmp_path, wrapper=mounted(READ_ONLY, tmp_path)) as server:
        server.wait_for("expired on .*, and can't keep a certificate in .*: Read-only file system")
        assert report(server)["warning"] == "certificate_expired"
    with running(flags, tmp_path) as server:  # the disk is well again
        server.wait_for(r"new certificate until .* \(the old one expired\), the CA stays")
        assert "warning" not in report(server)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_damaged_model_is_named_and_never_served(base_pair: Pair, vad_file: Path, tmp_path: Path, half: str) -> None:
    """A bit in the middle of the weights: everything loads, and what it hears would be anybody's guess."""
    shutil.copytree(base_pair.encoder_dir.parent, tmp_path / "base")
    folder = tmp_path / "base" / f"{'faster' if half == 'encoder' else 'pytorch'}-whisper-base"
    file = folder / ("model.bin" if half == "encoder" else "decoder.safetensors")
    with file.open("r+b") as opened_file:
        opened_file.seek(file.stat().st_size // 2)
        [byte] = opened_file.read(1)
        opened_file.seek(-1, os.SEEK_CUR)
        opened_file.write(bytes([byte ^ 4]))
    flags = ["--models-dir", str(tmp_path), "--vad-file", str(vad_file), "--no-tls", "--host", "127.0.0.1"]
    status, said = refused_start([*flags, "--port", "0", "--state-dir", str(tmp_path / "state")])
    assert status == 70, "units don't try again"
    assert said.count("error: ") == 1 and f"the model is damaged: {file} has another content" in said
    assert "hint: install the bundle again" in said and "ready" not in said


def test_killed_at_any_moment_it_starts_again(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    """Somewhere in its start, while it makes its certificate and loads; and while it hears a stream and takes a file.

    tests/boot does so with systemd.
    """
    ca = tmp_path / "tls" / "ca.pem"
    known: set[bytes] = set()
    begun = time.monotonic()
    with running(flags, tmp_path / "aside") as server:
        server.wait_for("ready: base")
        start_s = time.monotonic() - begun
    chance = random.Random(11)
    for _ in range(4):
        with subprocess.Popen(serving(flags, tmp_path), stderr=subprocess.DEVNULL, env=environment()) as process:
            time.sleep(chance.uniform(0.1, start_s))
            process.kill()
        known |= {ca.read_bytes()} if ca.is_file() else set()
    with running(flags, tmp_path) as server:
        server.wait_for("ready: base")
        known.add(ca.read_bytes())
        with opened(server) as socket:
            socket.send(pcm(librivox[0].path)[:64000])
            sending = threading.Thread(target=broken_upload, args=(server, librivox[0]))
            sending.start()
            server.wait_for("sends a file")
            server.process.kill()
            sending.join()
        server.process.wait()
    assert sorted(path.name for path in tmp_path.glob("uploads/*")) == []
    with running(flags, tmp_path) as again:
        assert get(again, "/healthz")[0] == 200
        again.wait_for("ready: base")
        known.add(ca.read_bytes())
    assert len(known) == 1, "the CA that browsers trust stays"


def broken_upload(server: Running, spoken: Spoken) -> None:
    with pytest.raises(httpx2.TransportError):
        upload(server, spoken)
