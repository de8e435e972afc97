"""The Python-index source, against simple indexes on loopback and in folders, set up through pip's own settings."""

import hashlib
import json
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.fetch import Fetcher, fetch_item
from appliance.manifest import Asset
from appliance.store import Store
from tests.fetch.items import item, part, pinned, sdist, sha256, wheel
from tests.fetch.web_server import WebServer

ONE, TWO = b"first half " * 1000, b"second half " * 1000
WHEEL = "some_parts-1.0-py3-none-any.whl"
SDIST = "some_parts-1.0.tar.gz"


@pytest.fixture(autouse=True)
def only_our_index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, site: WebServer) -> None:
    for key in ("EXTRA_INDEX_URL", "NO_INDEX", "FIND_LINKS", "CERT", "CLIENT_CERT", "PROXY"):
        monkeypatch.delenv(f"PIP_{key}", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")  # pip's word for: no configuration file at all
    monkeypatch.setenv("PIP_INDEX_URL", site.url + "/simple")
    monkeypatch.setattr("appliance.fetch.http.time.sleep", lambda _: None)


def whole_wheel() -> Asset:
    """A file in two parts of one wheel."""
    parts = [
        part("Some.Parts", "1.0", "wheel", "pkg/one.bin", ONE),
        part("some-parts", "1.0.0", "wheel", "pkg/two.bin", TWO),
    ]
    return item(pinned("index", ONE + TWO, parts=parts))


def offer(site: WebServer, filename: str, archive: bytes, digest: str | None = None, *, as_json: bool = False) -> None:
    """List one distribution of some-parts on the loopback index."""
    url = site.serve(f"/files/{filename}", archive)
    digest = digest or sha256(archive)
    if as_json:
        entry = {"filename": filename, "url": url, "hashes": {"sha256": digest}, "size": len(archive)}
        page = {"meta": {"api-version": "1.1"}, "name": "some-parts", "versions": ["1.0"], "files": [entry]}
        text, kind = json.dumps(page), "application/vnd.pypi.simple.v1+json"
    else:
        text, kind = f'<a href="../../files/{filename}#sha256={digest}">{filename}</a>', "text/html"
    site.serve("/simple/some-parts/", text.encode(), content_type=kind)


@pytest.mark.parametrize("as_json", [False, True], ids=["html", "json"])
def test_joins_parts_and_downloads_a_shared_archive_once(site: WebServer, store: Store, as_json: bool) -> None:
    offer(site, WHEEL, wheel({"pkg/one.bin": ONE, "pkg/two.bin": TWO}), as_json=as_json)
    only_two = item(pinned("index", TWO, parts=[part("some-parts", "1.0", "wheel", "pkg/two.bin", TWO)]), name="two")
    with Fetcher(store) as fetcher:
        assert fetcher.fetch(whole_wheel()).path.read_bytes() == ONE + TWO
        assert fetcher.fetch(only_two).path.read_bytes() == TWO
    assert len(site.asked(f"/files/{WHEEL}")) == 1
    assert list((store.root / "partial").iterdir()) == []  # the archive is not kept


def test_takes_a_file_from_a_source_distribution_without_building_it(site: WebServer, store: Store) -> None:
    setup = b"raise SystemExit('built')"
    offer(site, SDIST, sdist({"some_parts-1.0/setup.py": setup, "some_parts-1.0/one.bin": ONE}))
    thing = item(pinned("index", ONE, parts=[part("some-parts", "1.0", "sdist", "some_parts-1.0/one.bin", ONE)]))
    artifact = fetch_item(thing, store)
    assert artifact.path.read_bytes() == ONE
    assert artifact.source == "index some-parts 1.0"


def test_an_archive_goes_on_where_it_broke_off(site: WebServer, store: Store, content: bytes) -> None:
    files = {"pkg/one.bin": content}
    offer(site, WHEEL, wheel(files))
    site.files[f"/files/{WHEEL}"].break_after = [2_000_000, 0, 0, 0, 0]
    thing = item(pinned("index", content, parts=[part("some-parts", "1.0", "wheel", "pkg/one.bin", content)]))
    with pytest.raises(ApplianceError, match="gave up"):
        fetch_item(thing, store)
    site.requests.clear()
    assert fetch_item(thing, store).path.read_bytes() == content
    assert site.asked(f"/files/{WHEEL}")[-1].headers["range"] == "bytes=2000000-"


@pytest.mark.parametrize("place", ["find-links folder", "find-links address", "file index"])
def test_folders_come_before_servers(
    site: WebServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = tmp_path / "with space"
    project = folder / "some-parts"
    project.mkdir(parents=True)
    (folder / WHEEL).write_bytes(wheel({"pkg/one.bin": ONE, "pkg/two.bin": TWO}))
    (project / "index.html").write_text(f'<a href="../{WHEEL}">{WHEEL}</a>')
    if place == "find-links folder":
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PIP_FIND_LINKS", ".")
    elif place == "find-links address":
        monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    else:
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", folder.as_uri())
    assert fetch_item(whole_wheel(), store).path.read_bytes() == ONE + TWO
    assert site.requests == []
    assert (folder / WHEEL).exists()


def test_an_archive_that_is_not_the_one_the_index_names(site: WebServer, store: Store) -> None:
    offer(site, WHEEL, wheel({"pkg/one.bin": ONE, "pkg/two.bin": TWO}), digest="0" * 64)
    with pytest.raises(ApplianceError, match=rf"{WHEEL} has sha256 .*, the index says 0000"):
        fetch_item(whole_wheel(), store)
    assert list((store.root / "partial").iterdir()) == []


def test_a_part_that_is_not_the_pinned_one(site: WebServer, store: Store) -> None:
    offer(site, WHEEL, wheel({"pkg/one.bin": ONE, "pkg/two.bin": TWO[::-1]}))
    expected = hashlib.sha256(TWO[::-1]).hexdigest()
    with pytest.raises(ApplianceError, match=rf"pkg/two\.bin has SHA-256 {expected}, not {sha256(TWO)}"):
        fetch_item(whole_wheel(), store)


def test_a_part_larger_than_the_whole_is_cut_off(site: WebServer, store: Store) -> None:
    offer(site, WHEEL, wheel({"pkg/one.bin": bytes(50_000_000), "pkg/two.bin": TWO}))
    with pytest.raises(ApplianceError, match=r"pkg/one\.bin is larger than the manifest says"):
        fetch_item(whole_wheel(), store)


@pytest.mark.parametrize(
    "filename", ["some_parts-1.1-py3-none-any.whl", "some_parts-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", SDIST]
)
def test_other_versions_platforms_and_kinds_are_not_taken(site: WebServer, store: Store, filename: str) -> None:
    offer(site, filename, wheel({"pkg/one.bin": ONE, "pkg/two.bin": TWO}))
    with pytest.raises(ApplianceError, match=r"no wheel of Some\.Parts 1\.0 on the configured index"):
        fetch_item(whole_wheel(), store)


def test_a_wheel_for_one_platform_is_taken_where_it_is_named(site: WebServer, store: Store) -> None:
    offer(site, "some_parts-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", wheel({"pkg/one.bin": ONE}))
    named = part("Some.Parts", "1.0", "wheel", "pkg/one.bin", ONE) | {"tag": "cp311-manylinux_2_28_x86_64"}
    assert fetch_item(item(pinned("index", ONE, parts=[named])), store).path.read_bytes() == ONE


def test_an_unknown_package(store: Store) -> None:
    with pytest.raises(ApplianceError, match=r"no wheel of Some\.Parts 1\.0 on the configured index"):
        fetch_item(whole_wheel(), store)


def test_an_index_that_is_not_there(store: Store, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://name:secret@127.0.0.1:{unused_port}/simple")
    with pytest.raises(ApplianceError, match=r"127\.0\.0\.1 can't be reached") as caught:
        fetch_item(whole_wheel(), store)
    assert "secret" not in str(caught.value)


def test_an_index_that_fails(site: WebServer, store: Store) -> None:
    site.serve("/simple/some-parts/", b"", statuses=[500])
    with pytest.raises(ApplianceError, match=r"the index 127\.0\.0\.1 answered 500"):
        fetch_item(whole_wheel(), store)


def test_a_page_that_is_no_index(site: WebServer, store: Store) -> None:
    site.serve("/simple/some-parts/", b"\x89PNG", content_type="image/png")
    with pytest.raises(ApplianceError, match="gave a page that can't be read"):
        fetch_item(whole_wheel(), store)
