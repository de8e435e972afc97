import logging
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.fetch import Fetcher, fetch_item
from appliance.manifest import WhisperModel
from appliance.store import Store
from tests.fetch.items import item, pinned, sha256
from tests.fetch.web_server import WebServer

SIZES = {
    **{"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 64, "n_audio_head": 1, "n_audio_layer": 1},
    **{"n_vocab": 51865, "n_text_ctx": 448, "n_text_state": 64, "n_text_head": 1, "n_text_layer": 1},
}


def local(path: Path, content: bytes) -> dict[str, object]:
    path.write_bytes(content)
    return pinned("local", content, path=str(path))


def test_the_first_source_that_verifies_wins(
    site: WebServer, store: Store, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    url = site.serve("/x.pt", content)
    thing = item(pinned("openai", content, url=site.url + "/gone"), pinned("openai", content, url=url))
    artifact = fetch_item(thing, store)
    assert artifact.path.read_bytes() == content
    assert (artifact.sha256, artifact.size, artifact.format) == (sha256(content), len(content), "onnx")
    assert (artifact.source, artifact.reused) == ("openai x.pt", False)
    (line,) = caplog.messages
    assert line == "thing: openai gone: the server answered 404 Not Found; trying openai x.pt"


def test_a_file_of_any_source_is_reused_without_asking_anyone(site: WebServer, store: Store, content: bytes) -> None:
    first = pinned("openai", b"another", url=site.url + "/another")
    second = pinned("openai", content, url=site.serve("/x", content))
    fetch_item(item(second), store)
    site.requests.clear()
    artifact = fetch_item(item(first, second), store)
    assert artifact.reused
    assert artifact.path.read_bytes() == content
    assert site.requests == []


def test_a_damaged_file_is_fetched_again(site: WebServer, store: Store, content: bytes) -> None:
    thing = item(pinned("openai", content, url=site.serve("/x", content)))
    fetch_item(thing, store).path.write_bytes(content[:-1] + b"?")
    artifact = fetch_item(thing, store)
    assert not artifact.reused
    assert artifact.path.read_bytes() == content


def test_a_wrong_file_is_refused_and_leaves_the_good_ones(site: WebServer, store: Store, content: bytes) -> None:
    good = fetch_item(item(pinned("openai", content, url=site.serve("/good", content))), store)
    wrong = b"!" + content[1:]
    bad = item(pinned("openai", content[::-1], url=site.serve("/bad", wrong)))
    with pytest.raises(ApplianceError, match=f"got SHA-256 {sha256(wrong)}, the manifest says") as caught:
        fetch_item(bad, store)
    assert caught.value.code == "fetch_failed"
    assert caught.value.hint
    assert good.path.read_bytes() == content
    assert [file.name for file in (store.root / "blobs").iterdir()] == [good.sha256]
    assert list((store.root / "partial").iterdir()) == []


def test_a_truncated_download_is_refused_and_kept_to_go_on_from(
    site: WebServer, store: Store, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.fetch.http.time.sleep", lambda _: None)
    url = site.serve("/x", content, break_after=[2_000_000, 0, 0, 0, 0])
    thing = item(pinned("openai", content, url=url))
    with pytest.raises(ApplianceError, match=r"the server stopped after|the connection broke off after"):
        fetch_item(thing, store)
    assert store.blob(sha256(content)) is None
    assert (store.root / "partial" / f"{sha256(content)}.partial").stat().st_size == 2_000_000
    site.requests.clear()
    assert fetch_item(thing, store).path.read_bytes() == content
    assert site.asked("/x")[-1].headers["range"] == "bytes=2000000-"


def test_bytes_of_an_earlier_download_that_do_not_fit_are_fetched_again(
    site: WebServer, store: Store, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.partial(f"{sha256(content)}.partial").write_bytes(b"?" * 1000)
    artifact = fetch_item(item(pinned("openai", content, url=site.serve("/x", content))), store)
    assert artifact.path.read_bytes() == content
    assert "starting again" in caplog.text
    assert len(site.asked("/x")) == 2


def test_takes_a_local_file_or_one_in_a_local_folder(store: Store, tmp_path: Path) -> None:
    whole = local(tmp_path / "a.onnx", b"first")
    local(tmp_path / "b.onnx", b"second")
    inside = pinned("local", b"second", path=str(tmp_path), file="b.onnx")
    assert fetch_item(item(whole), store).path.read_bytes() == b"first"
    assert fetch_item(item(inside), store).path.read_bytes() == b"second"
    assert (tmp_path / "a.onnx").read_bytes() == b"first"


@pytest.mark.parametrize(
    ("there", "said"),
    [(None, "No such file"), (b"wrong size", "it has 10 bytes, the manifest says 5"), (b"FIRST", "got SHA-256")],
)
def test_a_local_file_is_checked_too(store: Store, tmp_path: Path, there: bytes | None, said: str) -> None:
    path = tmp_path / "a.onnx"
    if there is not None:
        path.write_bytes(there)
    with pytest.raises(ApplianceError, match=said):
        fetch_item(item(pinned("local", b"first", path=str(path))), store)
    assert there is None or path.read_bytes() == there


def test_offline_takes_what_is_stored_and_local_files_only(site: WebServer, store: Store, tmp_path: Path) -> None:
    remote = pinned("openai", b"first", url=site.serve("/x", b"first"))
    with pytest.raises(ApplianceError, match=r"thing is not in the store .* --offline forbids") as caught:
        fetch_item(item(remote), store, offline=True)
    assert "wlk-appliance fetch thing" in caught.value.hint
    artifact = fetch_item(item(remote, local(tmp_path / "a", b"first")), store, offline=True)
    assert artifact.path.read_bytes() == b"first"
    assert fetch_item(item(remote), store, offline=True).reused
    assert site.requests == []


def test_a_format_that_no_source_has(store: Store, content: bytes) -> None:
    with pytest.raises(ApplianceError, match="thing has no source of format pt") as caught:
        fetch_item(item(pinned("openai", content, url="http://127.0.0.1/x")), store, formats=("pt",))
    assert caught.value.hint == "it has: onnx"


def test_a_format_leaves_the_other_sources_aside(site: WebServer, store: Store) -> None:
    model = WhisperModel.model_validate(
        {
            "name": "m",
            "licence": "MIT",
            "tokenizer": "t",
            "dimensions": SIZES,
            "alignment_heads": [[0, 0]],
            "sources": [
                pinned("openai", b"one", url=site.serve("/one", b"one")) | {"format": "ct2"},
                pinned("openai", b"two", url=site.serve("/two", b"two")) | {"format": "pt"},
            ],
        }
    )
    with Fetcher(store) as fetcher:
        assert fetcher.fetch(model).format == "ct2"
        assert fetcher.fetch(model, ("pt",)).path.read_bytes() == b"two"


def test_a_full_disk_is_refused_before_the_first_byte(site: WebServer, store: Store) -> None:
    source = pinned("openai", b"x", url=site.serve("/x", b"x")) | {"size": 10**17}
    with pytest.raises(ApplianceError, match=r"thing needs .* MB more in .* are free") as caught:
        fetch_item(item(source), store)
    assert caught.value.code == "store_full"
    assert site.requests == []


def test_an_unwritable_store(tmp_path: Path, site: WebServer) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApplianceError, match="cannot write to the store") as caught:
        fetch_item(item(pinned("openai", b"x", url=site.serve("/x", b"x"))), Store(tmp_path / "file"))
    assert caught.value.code == "store_unwritable"
    assert site.requests == []
