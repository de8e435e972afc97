"""nginx and HAProxy as the examples set them up, before two real servers: real speech over wss through them."""

import contextlib
import http.client
import json
import ssl
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import create_connection

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from appliance.pair.locate import Pair
from tests.conftest import Spoken
from tests.deploy.proxies import KINDS, Proxy, proxying, site
from tests.server.running import (
    Running,
    committed,
    field_client,
    model_flags,
    opened,
    pcm,
    pieces,
    receive,
    running,
    trusting,
    updates,
    word_errors,
)
from tests.server.test_process import get

PLACES = 3


@pytest.fixture(scope="module")
def flags(base_pair: Pair, vad_file: Path) -> list[str]:
    """An instance behind a proxy, small enough to be filled."""
    own = ["--no-tls", "--max-sessions", str(PLACES), "--allowed-origins", "same"]
    return [*own, *model_flags(base_pair, vad_file)]


@pytest.fixture(scope="module")
def instances(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    with two_instances(flags, tmp_path_factory.mktemp("instances")) as started:
        yield started


@pytest.fixture(scope="module", params=KINDS)
def proxy(
    request: pytest.FixtureRequest, instances: tuple[Running, Running], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    with proxying(request.param, instances, tmp_path_factory.mktemp("proxy")) as started:
        yield started


@contextlib.contextmanager
def two_instances(flags: list[str], folder: Path) -> Iterator[tuple[Running, Running]]:
    with running(flags, folder / "1") as first, running(flags, folder / "2") as second:
        for instance in (first, second):
            instance.wait_for("ready: base")
        yield first, second


def sessions(instances: Sequence[Running]) -> tuple[int, ...]:
    return tuple(int(str(get(instance, "/readyz")[1]["sessions"])) for instance in instances)


def settled(instances: Sequence[Running], wanted: tuple[int, ...]) -> None:
    """Wait until each instance has that many streams, and the proxy has seen it too."""
    deadline = time.monotonic() + 60
    while (found := sessions(instances)) != wanted:
        assert time.monotonic() < deadline, f"{found}, not {wanted}"
        time.sleep(0.05)
    time.sleep(0.3)


def stream(stack: contextlib.ExitStack, server: Running, query: str = "") -> ClientConnection:
    """An open stream that was welcomed."""
    socket = stack.enter_context(opened(server, query))
    message = receive(socket)
    assert message["type"] == "config", message
    return socket


def placed(stack: contextlib.ExitStack, proxy: Proxy, instances: Sequence[Running]) -> tuple[ClientConnection, int]:
    """A new stream through the proxy, and which instance has one more since."""
    before = sessions(instances)
    socket = stream(stack, proxy)
    grown = [new - old for new, old in zip(sessions(instances), before, strict=True)]
    assert sorted(grown) == [0, 1]
    return socket, grown.index(1)


def says(socket: ClientConnection, spoken: Spoken) -> int:
    """Stream a recording; how many words came out wrong."""
    messages = field_client(socket, pieces(pcm(spoken.path)), pace_s=0.05)
    assert messages[-1] == {"type": "ready_to_stop"}
    return word_errors(spoken.transcript, committed(updates(messages)[-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_program_accepts_the_example(kind: str, tmp_path: Path) -> None:
    status, said = site(kind, (9, 10), tmp_path).check()
    assert status == 0, said
    assert "warn" not in said.lower(), said


@pytest.mark.model
def test_speech_through_the_proxy(
    proxy: Proxy, instances: tuple[Running, Running], librivox: tuple[Spoken, ...]
) -> None:
    settled(instances, (0, 0))
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(opened(proxy)) for _ in range(4)]
        settled(instances, (2, 2))
        with ThreadPoolExecutor(len(sockets)) as pool:
            wrong = list(pool.map(says, sockets, librivox))
    assert max(wrong) <= 3, wrong


@pytest.mark.model
def test_a_stream_goes_where_the_fewest_are(proxy: Proxy, instances: tuple[Running, Running]) -> None:
    settled(instances, (0, 0))
    with contextlib.ExitStack() as stack:
        streams = [placed(stack, proxy, instances) for _ in range(4)]
        assert sorted(place for _, place in streams) == [0, 0, 1, 1]
        for socket, place in streams:
            if place == 0:
                socket.close()
        settled(instances, (0, 2))
        # Taking turns would give one of these to each.
        assert [placed(stack, proxy, instances)[1] for _ in range(2)] == [0, 0]


@pytest.mark.model
def test_a_full_instance_is_passed_over(proxy: Proxy, instances: tuple[Running, Running]) -> None:
    settled(instances, (0, 0))
    with contextlib.ExitStack() as stack:
        for _ in range(PLACES):
            stream(stack, instances[0])  # past the proxy, to which this instance seems the emptier one
        assert [placed(stack, proxy, instances)[1] for _ in range(PLACES)] == [1] * PLACES
        if proxy.kind == "nginx":
            with opened(proxy) as refused:
                error = receive(refused)
                with pytest.raises(ConnectionClosed):
                    refused.recv(timeout=60)
                assert refused.close_code == 1013
        else:
            with pytest.raises(InvalidStatus) as raised:
                opened(proxy)
            answer = raised.value.response
            assert answer.status_code == 503 and answer.headers["retry-after"]
            error = json.loads(answer.body or b"{}")
        assert error["code"] == "over_capacity" and error["retry_after_s"] > 0


@pytest.mark.model
def test_one_who_comes_back_finds_the_instance_that_has_the_session(
    proxy: Proxy, instances: tuple[Running, Running]
) -> None:
    """Also where it is not the one with the fewest streams, which is asked first."""
    settled(instances, (0, 0))
    with contextlib.ExitStack() as stack:
        socket = stack.enter_context(opened(proxy, "?resume=true"))
        resume = receive(socket)["resume"]
        place = sessions(instances).index(1)
        others = [placed(stack, proxy, instances) for _ in range(2)]
        for other, at in others:
            if at != place:
                other.close()
        kept = [1, 1]
        kept[place] += sum(at == place for _, at in others)
        kept[1 - place] = 0
        settled(instances, tuple(kept))
        socket.send(bytes(32000))
        socket.send('{"type": "ping"}')
        while receive(socket).get("type") != "pong":
            pass
        socket.socket.shutdown(2)
        instances[place].wait_for("waiting 60 s for its client")
        offered = ["wlk", f"wlk.resume.{resume['id']}"]
        with opened(proxy, "?resume=true", subprotocols=offered) as again:
            assert receive(again)["resume"] == resume | {"received_bytes": 32000, "received_s": 1.0}
        settled(instances, tuple(count - (at == place) for at, count in enumerate(kept)))
        if proxy.kind == "nginx":
            with opened(proxy, subprotocols=offered) as refused:
                assert receive(refused)["code"] == "unknown_session"
        else:
            with pytest.raises(InvalidStatus) as raised:
                opened(proxy, subprotocols=offered)
            assert json.loads(raised.value.response.body or b"{}")["code"] == "unknown_session"


@pytest.mark.model
@pytest.mark.parametrize("path", ["asr", "/asr"])
def test_origin_is_compared_with_the_address_of_the_proxy(
    proxy: Proxy, instances: tuple[Running, Running], path: str
) -> None:
    for origin, answer in ((proxy.url.rstrip("/"), "config"), ("https://evil.example", "error")):
        with opened(proxy, path=path, additional_headers={"Origin": origin}) as socket:
            assert receive(socket)["type"] == answer
    settled(instances, (0, 0))


@pytest.mark.model
def test_page_health_and_a_clean_log(proxy: Proxy, instances: tuple[Running, Running]) -> None:
    with urllib.request.urlopen(proxy.url, context=trusting(proxy), timeout=10) as answer:
        assert answer.status == 200 and b"<html" in answer.read()
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    status, report, _ = get(proxy, "/readyz")
    assert (status, report["status"]) == (200, "ready")
    plain = http.client.HTTPConnection("127.0.0.1", proxy.http_port, timeout=10)
    plain.request("GET", "/?x=1")
    redirect = plain.getresponse()
    assert redirect.status == 301 and (redirect.getheader("location") or "").startswith("https://127.0.0.1")
    plain.close()
    with contextlib.ExitStack() as stack:
        stream(stack, proxy, "?token=battery-staple")
    deadline = time.monotonic() + 60
    while "/asr" not in proxy.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "/asr" in proxy.log() and "battery-staple" not in proxy.log()
    settled(instances, (0, 0))


@pytest.mark.model
@pytest.mark.parametrize(("ciphers", "agreed"), [("ECDHE+AESGCM", True), ("ECDHE+AES+SHA256:ECDHE+AES+SHA1", False)])
def test_tls_1_2_is_as_the_servers_own(proxy: Proxy, ciphers: str, agreed: bool) -> None:
    context = trusting(proxy)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    address = ("127.0.0.1", proxy.port)
    with contextlib.ExitStack() as stack:
        if not agreed:
            stack.enter_context(pytest.raises(ssl.SSLError, match=r"(?i)handshake failure"))
        with context.wrap_socket(create_connection(address, 10), server_hostname="127.0.0.1") as connection:
            cipher = connection.cipher()
            assert cipher and "GCM" in cipher[0]


@pytest.mark.model
def test_files_through_the_proxy(proxy: Proxy, librivox: tuple[Spoken, ...]) -> None:
    spoken = librivox[0]
    with httpx2.Client(base_url=proxy.url, verify=trusting(proxy), timeout=600) as client:
        for address, field in (("v1/audio/transcriptions", "file"), ("transcribe", "audio_file")):
            answer = client.post(address, files={field: spoken.path.read_bytes()}).raise_for_status().json()
            text = answer.get("text") or " ".join(segment["text"] for segment in answer["segments"])
            assert word_errors(spoken.transcript, text) <= 3


@pytest.mark.model
@pytest.mark.parametrize("kind", KINDS)
def test_an_instance_may_go_and_come_back(
    kind: str, flags: list[str], librivox: tuple[Spoken, ...], tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        first, second = stack.enter_context(two_instances(flags, tmp_path))
        proxy = stack.enter_context(proxying(kind, (first, second), tmp_path / "proxy"))
        opening = (placed(stack, proxy, (first, second)) for _ in range(2))
        streams = {place: socket for socket, place in opening}
        assert first.stop() == 0
        # Its own stream is told; the other one does not notice.
        with pytest.raises(ConnectionClosed):
            while True:
                last = receive(streams[0])
        assert (last["code"], streams[0].close_code) == ("restarting", 1012)
        assert says(streams[1], librivox[0]) <= 3
        for spoken in librivox[1:3]:
            assert says(stream(stack, proxy, "?token=battery-staple"), spoken) <= 3
        assert "battery-staple" not in proxy.log(), "an instance that does not answer is no reason to tell it"
        # While its model loads the port is open already, and it would seem the emptiest.
        again = stack.enter_context(running([*flags, "--port", str(first.port)], tmp_path / "1"))
        assert get(again, "/readyz")[0] == 503
        for _ in range(PLACES):
            stream(stack, proxy)
        again.wait_for("ready: base")
        assert sessions((second,)) == (PLACES,)
        deadline = time.monotonic() + 15  # HAProxy asks every 2 s
        while sessions((again,)) == (0,):
            assert time.monotonic() < deadline
            with contextlib.suppress(InvalidStatus):
                stream(stack, proxy)
            time.sleep(0.5)
