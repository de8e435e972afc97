"""What TLS the server speaks, and what it does not: real handshakes by Python and by the openssl program."""

import shutil
import socket
import ssl
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.pair.locate import Pair
from appliance.server.service import Service
from appliance.server.settings import Settings
from appliance.server.tls import keep
from tests.conftest import missing
from tests.server.running import Running, served

ANY = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
SOUND = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"}
"""Of TLS 1.2 all that a certificate of the local CA can be used with, and the server agrees to."""
OLD = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


@pytest.fixture
def port(pair: Pair, tmp_path: Path) -> Iterator[int]:
    """The application under TLS as `run_server` sets it up, with a certificate of the local CA."""
    with served(Service(Settings(), pair, tmp_path / "none"), keep(tmp_path).files) as found:
        yield found


def agreed(port: int, version: ssl.TLSVersion, ciphers: str = ANY) -> tuple[str, str, str | None]:
    """Version, cipher and compression that a client of one version gets; it would take anything.

    Raises:
        ssl.SSLError: it gets nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.options &= ~ssl.OP_NO_COMPRESSION
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the versions that are tried
        context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        name, said, _ = secure.cipher() or ("", "", 0)
        return secure.version() or said, name, secure.compression()


def lax(config: object, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A context as no server of ours has it."""
    context = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers(ANY)
    return context


@pytest.mark.parametrize("version", OLD)
def test_older_versions_are_refused(version: ssl.TLSVersion, pair: Pair, tmp_path: Path) -> None:
    """Another server, so set up, would speak them with this client."""
    service, files = Service(Settings(), pair, tmp_path / "none"), keep(tmp_path).files
    with served(service, files, ssl_context_factory=lax) as port:
        assert agreed(port, version)[0] in ("TLSv1", "TLSv1.1")
        assert agreed(port, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0")[1] not in SOUND
    with served(service, files) as port, pytest.raises(ssl.SSLError):
        agreed(port, version)


def test_both_newer_versions_are_spoken_without_compression(port: int) -> None:
    assert agreed(port, ssl.TLSVersion.TLSv1_2)[0::2] == ("TLSv1.2", None)
    said, cipher, compression = agreed(port, ssl.TLSVersion.TLSv1_3)
    assert (said, compression) == ("TLSv1.3", None)
    assert cipher in ("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256")


def test_every_cipher_of_tls_1_2_that_is_agreed_to_is_sound(port: int) -> None:
    """All that this machine's OpenSSL knows, one by one: keys are forgotten, and text can't be changed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers(ANY)
    known = [cipher["name"] for cipher in context.get_ciphers() if not cipher["name"].startswith("TLS_")]
    taken = set()
    for name in known:
        try:
            taken.add(agreed(port, ssl.TLSVersion.TLSv1_2, f"{name}:@SECLEVEL=0")[1])
        except ssl.SSLError:
            continue
    assert len(known) > 40 and taken == SOUND


def openssl(port: int, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    program = shutil.which("openssl") or missing("the openssl program")
    address = ["s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost"]
    return subprocess.run(
        [program, *address, *words], input=said, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_openssl_program_sees_the_same(port: int) -> None:
    for old in ("-tls1", "-tls1_1"):
        refused = openssl(port, old, "-cipher", ANY)
        assert refused.returncode != 0 and "Cipher is (NONE)" in refused.stdout, refused.stderr
    for new, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        taken = openssl(port, new)
        assert taken.returncode == 0 and f"New, {version}" in taken.stdout, taken.stderr
        assert "Compression: NONE" in taken.stdout
    assert "Secure Renegotiation IS supported" in openssl(port, "-tls1_2").stdout  # the signal, against being cut into


def test_nobody_may_negotiate_anew(port: int) -> None:
    """The letter R asks s_client to."""
    asked = openssl(port, "-tls1_2", said="R\n")
    assert "RENEGOTIATING" in asked.stdout + asked.stderr
    assert "no renegotiation" in asked.stderr, asked.stderr


@pytest.mark.model
def test_a_server_that_was_started_does_so(server: Running) -> None:
    assert agreed(server.port, ssl.TLSVersion.TLSv1_2)[1] in SOUND
    for version in OLD:
        with pytest.raises(ssl.SSLError):
            agreed(server.port, version)
    with pytest.raises(ssl.SSLError):
        agreed(server.port, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA:AES256-GCM-SHA384")
