"""Starting, refusing to start, readiness, TLS, tokens: a real process each time."""

import json
import re
import resource
import socket as sockets
import ssl
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from appliance.pair.locate import Pair
from appliance.server.app import web_assets
from tests.conftest import missing
from tests.server.certificates import loaded, put_foreign
from tests.server.running import Running, children, environment, opened, receive, refused_start, running, trusting

pytestmark = pytest.mark.model


def get(server: Running, path: str) -> tuple[int, dict[str, object], dict[str, str]]:
    request = urllib.request.Request(server.url.rstrip("/") + path)
    context = trusting(server) if server.url.startswith("https") else None
    try:
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            return answer.status, json.loads(answer.read()), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), dict(error.headers)


def test_port_is_open_before_the_model_is_loaded(flags: list[str], tmp_path: Path) -> None:
    with running(flags, tmp_path) as server:
        status, report, headers = get(server, "/readyz")
        assert (status, report["status"]) == (503, "loading") and "retry-after" in {name.lower() for name in headers}
        assert get(server, "/healthz")[0] == 200
        with opened(server) as socket:
            error = receive(socket)
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=60)
            assert socket.close_code == 1013
        assert error["code"] == "not_ready" and error["retry_after_s"] > 0
        server.wait_for("ready: base")
        status, report, _ = get(server, "/readyz")
        assert (status, report["status"], report["model"]) == (200, "ready", "base")
        assert server.stop() == 0


def test_http_errors_have_the_one_shape(server: Running) -> None:
    for path, status, code in (("/nowhere", 404, "not_found"), ("/asr", 426, "upgrade_required")):
        answered, body, headers = get(server, path)
        assert answered == status and body["type"] == "error" and body["code"] == code and body["message"]
        assert "default-src 'none'" in headers["content-security-policy"]


def test_page_asks_for_nothing_from_outside(server: Running) -> None:
    for path in ("/", "/ca", *(f"/{name}" for name in web_assets())):
        with urllib.request.urlopen(server.url.rstrip("/") + path, context=trusting(server), timeout=10) as answer:
            text = answer.read().decode()
            assert answer.headers["x-content-type-options"] == "nosniff"
        outside = text.replace("http://www.w3.org/2000/svg", "").replace("http://localhost", "")
        assert "//cdn" not in outside and "http://" not in outside and "https://" not in outside
        assert " onclick=" not in text and "<script>" not in text


def test_certificate_names_this_machine(flags: list[str], tmp_path: Path) -> None:
    with running(["--tls-names", "box.example,192.0.2.77", *flags], tmp_path) as server:
        pem = ssl.get_server_certificate(("127.0.0.1", server.port))
        names = (
            x509.load_pem_x509_certificate(pem.encode())
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value
        )
        dns = names.get_values_for_type(x509.DNSName)
        addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
        assert {"localhost", sockets.gethostname().lower(), "box.example"} <= set(dns)
        assert {"127.0.0.1", "::1", "192.0.2.77"} <= set(addresses)
        key = tmp_path / "tls" / "key.pem"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert get(server, "/healthz")[0] == 200


def test_the_ca_can_be_fetched_and_then_trusted(flags: list[str], tmp_path: Path) -> None:
    with running(flags, tmp_path) as server:
        base = server.url.rstrip("/")
        with urllib.request.urlopen(f"{base}/ca.pem", context=trusting(server), timeout=10) as answer:
            fetched = answer.read().decode()
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        context = ssl.create_default_context(cadata=fetched)
        with urllib.request.urlopen(f"{base}/ca", context=context, timeout=10) as answer:
            seen = x509.load_pem_x509_certificate(fetched.encode()).fingerprint(hashes.SHA256()).hex(":").upper()
            assert seen in answer.read().decode()
        with urllib.request.urlopen(f"{base}/", context=context, timeout=10) as answer:
            assert 'href="ca"' in answer.read().decode()
        server.wait_for(f"SHA-256 {seen}")


def test_a_certificate_of_the_site_is_served_and_no_ca_of_ours(flags: list[str], tmp_path: Path) -> None:
    own = put_foreign(tmp_path)
    more = ["--tls-cert", str(own.certificate), "--tls-key", str(own.key)]
    with running([*more, *flags], tmp_path / "state") as server:
        shown = ssl.get_server_certificate(("127.0.0.1", server.port))
        assert x509.load_pem_x509_certificate(shown.encode()) == loaded(own.certificate)
        server.state_dir = tmp_path
        status, body, _ = get(server, "/ca.pem")
        assert status == 404 and body["code"] == "not_found" and "the site's own" in str(body["message"])
    assert not (tmp_path / "state").exists()


def test_token(flags: list[str], tmp_path: Path) -> None:
    secret = "correct-horse"
    with running(["--no-tls", *flags], tmp_path, env=environment(WLK_TOKEN=secret)) as server:
        server.wait_for("ready: base")
        for query in ("", "?token=wrong"):
            with opened(server, query) as socket:
                error = receive(socket)
                with pytest.raises(ConnectionClosed):
                    socket.recv(timeout=60)
                assert error["code"] == "unauthorized" and socket.close_code == 1008
        with opened(server, f"?token={secret}") as socket:
            assert receive(socket)["type"] == "config"
        with opened(server, additional_headers={"Authorization": f"Bearer {secret}"}) as socket:
            assert receive(socket)["type"] == "config"
        assert server.stop() == 0
    assert secret not in "".join(server.lines)


def test_clients_with_names_have_so_many_places_each(flags: list[str], tmp_path: Path) -> None:
    """Their names are in the log, the tokens nowhere, not even when a client puts one into the address."""
    file = tmp_path / "tokens"
    file.write_text("anna: correct-horse\nbert: battery-staple\n")
    file.chmod(0o600)
    places = ["--max-sessions", "4", "--max-sessions-per-client", "1"]
    more = ["--no-tls", "--token-file", str(file), *places, "--log-level", "debug"]
    with running([*more, *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        header = {"Authorization": "Bearer correct-horse"}
        offered = [Subprotocol("wlk"), Subprotocol("wlk.token.YmF0dGVyeS1zdGFwbGU")]
        with opened(server, additional_headers=header) as anna, opened(server, subprotocols=offered) as bert:
            assert receive(anna)["type"] == receive(bert)["type"] == "config" and bert.subprotocol == "wlk"
            with opened(server, "?token=correct-horse") as again:
                error = receive(again)
                with pytest.raises(ConnectionClosed):
                    again.recv(timeout=60)
                assert again.close_code == 1013
            assert error["code"] == "too_many_sessions" and "anna has 1 sessions" in error["message"]
            assert error["retry_after_s"] > 0
        server.wait_for(r"anna@127\.0\.0\.1:\d+: .*\(too_many_sessions\)")
        server.wait_for(r"bert@127\.0\.0\.1:\d+: went away")
        with opened(server, additional_headers=header) as anna:
            assert receive(anna)["type"] == "config"
        told = json.dumps([get(server, path)[1] for path in ("/readyz", "/healthz", "/asr?token=correct-horse")])
        assert server.stop() == 0
    for secret in ("correct", "staple", "YmF0dGVyeS1zdGFwbGU"):
        assert secret not in "".join(server.lines) + told


@pytest.mark.parametrize(("origin", "welcome"), [(None, True), ("https://evil.example", False), ("same", True)])
def test_origin(flags: list[str], tmp_path: Path, origin: str | None, welcome: bool) -> None:
    with running(["--no-tls", "--allowed-origins", "same", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        given = server.url.rstrip("/") if origin == "same" else origin
        with opened(server, additional_headers={"Origin": given} if given else {}) as socket:
            message = receive(socket)
            assert message["type"] == ("config" if welcome else "error")


def test_no_decoder_directory(base_pair: Pair) -> None:
    status, said = refused_start(["--encoder-dir", str(base_pair.encoder_dir)])
    assert status != 0 and "no decoder directory" in said and "--decoder-dir (WLK_DECODER_DIR)" in said
    status, said = refused_start(["--encoder-dir", str(base_pair.encoder_dir), "--decoder-dir", "/nowhere/decoder"])
    assert status != 0 and "/nowhere/decoder" in said and "hint" in said


def test_no_model_and_no_vad(base_pair: Pair) -> None:
    assert "give --models-dir" in refused_start([])[1]
    folders = ["--encoder-dir", str(base_pair.encoder_dir), "--decoder-dir", str(base_pair.decoder_file.parent)]
    status, said = refused_start([*folders, "--vad-file", "/nowhere.onnx"])
    assert status != 0 and "/nowhere.onnx" in said and "--vad-file" in said


def test_models_dir(base_pair: Pair, vad_file: Path, tmp_path: Path) -> None:
    """The image's layout: models and the voice activity model in one folder."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "base").symlink_to(base_pair.encoder_dir.parent)
    (models / "silero_vad.onnx").symlink_to(vad_file)
    env = environment(WLK_MODELS_DIR=str(models), MODEL="base", LANG="de_DE.UTF-8", WLK_TLS="false")
    with running([], tmp_path / "state", env=env) as server:
        server.wait_for("ready: base")
        assert server.url.startswith("http://")
        with opened(server) as socket:
            assert receive(socket)["language"] == "auto"
    status, said = refused_start(["--models-dir", str(models), "--model", "medium"])
    assert status != 0 and "medium" in said and "base" in said


def test_port_in_use(flags: list[str], tmp_path: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        more = ["--host", "127.0.0.1", "--port", str(port), "--state-dir", str(tmp_path)]
        status, said = refused_start([*flags, *more])
    assert status != 0 and f"port {port} on 127.0.0.1 is in use" in said and "hint" in said


def test_unreadable_certificate(flags: list[str], tmp_path: Path) -> None:
    none = str(tmp_path / "none.pem")
    status, said = refused_start([*flags, "--tls-cert", none, "--tls-key", none])
    assert status != 0 and none in said and "hint" in said


def test_unwritable_state_folder(flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    status, said = refused_start([*flags, "--state-dir", str(tmp_path / "file" / "state")])
    assert status != 0 and "can't keep a certificate" in said and "--state-dir" in said


def test_damaged_model_ends_the_server(base_pair: Pair, vad_file: Path, tmp_path: Path) -> None:
    """What only loading can find still ends in a message and a non-zero status."""
    broken = tmp_path / "vad.onnx"
    broken.write_bytes(vad_file.read_bytes()[:1000])
    folders = ["--encoder-dir", str(base_pair.encoder_dir), "--decoder-dir", str(base_pair.decoder_file.parent)]
    more = ["--no-tls", "--host", "127.0.0.1", "--port", "0", "--vad-file", str(broken)]
    status, said = refused_start([*folders, *more])
    assert status == 1 and "error: " in said and str(broken) in said


def test_default_language_the_model_lacks_ends_the_server(flags: list[str]) -> None:
    status, said = refused_start([*flags, "--no-tls", "--host", "127.0.0.1", "--port", "0", "--language", "tlh"])
    assert status == 1 and "tlh" in said


def test_as_many_files_may_be_open_as_the_machine_allows(flags: list[str], tmp_path: Path) -> None:
    """A connection is one, and each has some more."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        missing("a limit of open files of 4096 or more")
    few = ["sh", "-c", 'ulimit -Sn 128; ulimit -Hn 4096; exec "$@"', "sh"]
    with running(["--no-tls", *flags], tmp_path, wrapper=few) as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        assert re.search(r"^Max open files +4096 +4096 ", limits, re.MULTILINE)


def test_a_crash_leaves_no_memory_on_a_disk(server: Running) -> None:
    """Neither of the server nor of those that it starts; a limit of 1 keeps also from programs that would take it."""
    for pid in (server.process.pid, *children(server.process.pid)):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size +1 +1 ", limits, re.MULTILINE), limits


def test_misspelt_variable_is_remarked(flags: list[str], tmp_path: Path) -> None:
    with running(flags, tmp_path, env=environment(WLK_MAX_SESSION="3")) as server:
        server.wait_for("unknown variable WLK_MAX_SESSION: did you mean WLK_MAX_SESSIONS")


def test_for_a_proxy_a_refusal_comes_before_the_handshake(flags: list[str], tmp_path: Path) -> None:
    def refused(server: Running) -> tuple[int, str]:
        with pytest.raises(InvalidStatus) as raised:
            opened(server, additional_headers={"WLK-Refuse": "handshake"})
        answer = raised.value.response
        error = json.loads(answer.body or b"{}")
        assert 2 <= error["retry_after_s"] <= 10 and answer.headers["retry-after"] == str(error["retry_after_s"])
        return answer.status_code, error["code"]

    with running(["--no-tls", "--max-sessions", "1", *flags], tmp_path) as server:
        assert refused(server) == (503, "not_ready")
        server.wait_for("ready: base")
        with opened(server, additional_headers={"WLK-Refuse": "handshake"}) as first:
            assert receive(first)["type"] == "config"
            assert refused(server) == (503, "over_capacity")
            with opened(server) as second:
                assert receive(second)["code"] == "over_capacity"
                with pytest.raises(ConnectionClosed):
                    second.recv(timeout=60)
                assert second.close_code == 1013
