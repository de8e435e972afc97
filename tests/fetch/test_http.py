import logging
from pathlib import Path

import pytest

from appliance.fetch.errors import SourceError, UnreachableError
from appliance.fetch.http import ATTEMPTS, HttpClient
from tests.fetch.web_server import WebServer


def test_downloads_a_file(site: WebServer, client: HttpClient, tmp_path: Path, content: bytes) -> None:
    partial = tmp_path / "x.partial"
    kept = client.download(site.serve("/x", content), partial, size=len(content), label="x")
    assert partial.read_bytes() == content
    assert not kept


def test_goes_on_where_the_connection_broke_off(
    site: WebServer, client: HttpClient, tmp_path: Path, content: bytes
) -> None:
    partial = tmp_path / "x.partial"
    url = site.serve("/x", content, break_after=[1_000_000, 500_000])
    client.download(url, partial, size=len(content), label="x")
    assert partial.read_bytes() == content
    first, second, third = site.asked("/x")
    assert "range" not in first.headers
    assert second.headers["range"] == "bytes=1000000-"
    assert second.headers["if-range"] == '"v1"'
    assert third.headers["range"] == "bytes=1500000-"


def test_goes_on_from_an_earlier_run(site: WebServer, client: HttpClient, tmp_path: Path, content: bytes) -> None:
    partial = tmp_path / "x.partial"
    partial.write_bytes(content[:123_456])
    kept = client.download(site.serve("/x", content), partial, size=len(content), label="x")
    assert kept
    assert partial.read_bytes() == content
    (request,) = site.asked("/x")
    assert request.headers["range"] == "bytes=123456-"
    assert "if-range" not in request.headers  # no entity tag is known for these bytes


def test_a_whole_partial_needs_no_request(site: WebServer, client: HttpClient, tmp_path: Path, content: bytes) -> None:
    partial = tmp_path / "x.partial"
    partial.write_bytes(content)
    assert client.download(site.serve("/x", content), partial, size=len(content), label="x")
    assert site.requests == []


@pytest.mark.parametrize("manner", [{"ranges": False}, {"range_shift": 7}], ids=["200", "another range"])
def test_starts_again_when_the_answer_to_a_range_does_not_fit(
    site: WebServer, client: HttpClient, tmp_path: Path, content: bytes, manner: dict[str, object]
) -> None:
    partial = tmp_path / "x.partial"
    partial.write_bytes(b"?" * 5000)
    client.download(site.serve("/x", content, **manner), partial, size=len(content), label="x")
    assert partial.read_bytes() == content


def test_starts_again_when_the_file_has_changed_on_the_server(
    site: WebServer, client: HttpClient, tmp_path: Path, content: bytes
) -> None:
    partial = tmp_path / "x.partial"
    url = site.serve("/x", b"old" * 1_000_000, etag='"old"', break_after=[100_000] + [0] * ATTEMPTS)
    with pytest.raises(SourceError, match="100000 bytes are kept"):
        client.download(url, partial, size=3_000_000, label="x")
    site.serve("/x", content, etag='"new"')
    client.download(url, partial, size=len(content), label="x")
    assert partial.read_bytes() == content


def test_a_partial_longer_than_the_file_is_not_kept(
    site: WebServer, client: HttpClient, tmp_path: Path, content: bytes
) -> None:
    partial = tmp_path / "x.partial"
    partial.write_bytes(content + b"more")
    client.download(site.serve("/x", content), partial, size=len(content), label="x")
    assert partial.read_bytes() == content


def test_a_server_that_sends_too_much_is_cut_off(
    site: WebServer, client: HttpClient, tmp_path: Path, content: bytes
) -> None:
    partial = tmp_path / "x.partial"
    url = site.serve("/x", content, surplus=b"x" * 1_000_000)
    with pytest.raises(SourceError, match="more than the 3000000 bytes"):
        client.download(url, partial, size=len(content), label="x")
    assert not partial.exists()


def test_another_size_is_refused_before_the_body(
    site: WebServer, client: HttpClient, tmp_path: Path, content: bytes
) -> None:
    partial = tmp_path / "x.partial"
    with pytest.raises(SourceError, match="the server has 3000000 bytes, the manifest says 2999999"):
        client.download(site.serve("/x", content), partial, size=len(content) - 1, label="x")
    assert not partial.exists()


def test_retries_are_bounded(site: WebServer, client: HttpClient, tmp_path: Path, content: bytes) -> None:
    url = site.serve("/x", content, break_after=[10_000] * 50)
    with pytest.raises(SourceError, match=f"gave up after {ATTEMPTS} tries"):
        client.download(url, tmp_path / "x.partial", size=len(content), label="x")
    assert len(site.asked("/x")) == ATTEMPTS
    assert (tmp_path / "x.partial").stat().st_size == 10_000 * ATTEMPTS


def test_a_busy_server_is_asked_again(
    site: WebServer, client: HttpClient, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    partial = tmp_path / "x.partial"
    client.download(site.serve("/x", content, statuses=[503, 429]), partial, size=len(content), label="x")
    assert partial.read_bytes() == content
    assert "503" in caplog.text
    assert "429" in caplog.text


def test_a_refusal_is_final(site: WebServer, client: HttpClient, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="404"):
        client.download(site.url + "/nothing", tmp_path / "x.partial", size=1, label="x")
    assert len(site.requests) == 1


def test_a_silent_server_is_given_up(site: WebServer, tmp_path: Path, content: bytes) -> None:
    client = HttpClient(timeout_s=(1.0, 0.1), backoff_s=0.001)
    url = site.serve("/x", content, bytes_per_second=8192)
    with client.session, pytest.raises(SourceError, match="gave up"):
        client.download(url, tmp_path / "x.partial", size=len(content), label="x")


def test_an_unreachable_server_is_asked_once_a_run(client: HttpClient, tmp_path: Path, unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}/x"
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1 can't be reached"):
        client.download(url, tmp_path / "x.partial", size=1, label="x")
    with pytest.raises(UnreachableError, match="as before in this run"):
        client.download(url, tmp_path / "x.partial", size=1, label="x")


def test_the_address_and_its_credentials_are_not_told(client: HttpClient, tmp_path: Path, unused_port: int) -> None:
    with pytest.raises(UnreachableError) as caught:
        client.request("GET", f"http://someone:secret@127.0.0.1:{unused_port}/x")
    assert "secret" not in str(caught.value)


def test_room_is_claimed_before_the_body_of_an_unknown_size(
    site: WebServer, client: HttpClient, tmp_path: Path, content: bytes
) -> None:
    claimed: list[int] = []
    client.download(site.serve("/x", content), tmp_path / "x", size=None, label="x", claim=claimed.append)
    assert claimed == [len(content)]
