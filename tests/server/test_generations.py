import os
import stat
from pathlib import Path

from appliance.server.generations import publish


def shown(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.pem") if path.exists()}


def files(text: str) -> dict[str, bytes]:
    return {name: f"{text} {name}".encode() for name in ("certificate.pem", "key.pem")}


def texts(text: str) -> dict[str, str]:
    return {name: content.decode() for name, content in files(text).items()}


def test_all_files_change_together_and_the_set_before_stays_once(tmp_path: Path) -> None:
    publish(tmp_path, files("first"))
    reader = (tmp_path / "key.pem").resolve()
    for text in ("second", "third"):
        assert reader.exists()
        publish(tmp_path, files(text))
        assert shown(tmp_path) == texts(text)
    assert not reader.exists() and len(list(tmp_path.glob("set.*"))) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_symlink()) == [
        "certificate.pem",
        "current",
        "key.pem",
    ]


def test_keys_are_for_their_owner_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        publish(tmp_path, files("x"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "certificate.pem").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "key.pem").resolve().parent.stat().st_mode) == 0o700


def test_plain_files_and_dangling_links_give_way(tmp_path: Path) -> None:
    (tmp_path / "certificate.pem").write_text("plain")
    (tmp_path / "key.pem").symlink_to("nowhere")
    publish(tmp_path, files("new"))
    assert shown(tmp_path) == texts("new")


def test_what_a_killed_run_left_is_swept_up(tmp_path: Path) -> None:
    (tmp_path / "set.killed").mkdir()
    (tmp_path / "set.killed" / "key.pem").write_text("half")
    (tmp_path / ".current.new").symlink_to("set.killed")
    publish(tmp_path, files("new"))
    assert shown(tmp_path) == texts("new")
    assert not (tmp_path / "set.killed").exists() and not (tmp_path / ".current.new").is_symlink()
