"""Who may enter a journal's folder, and what is removed of it and when."""

import fcntl
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.journal import bounds as bounds_module
from appliance.journal.bounds import Bounds, sweep
from appliance.journal.file import JournalFile
from appliance.journal.folder import Folder, is_written
from tests.conftest import missing


def put(folder: Folder, name: str, size: int = 100, *, days_ago: float = 0) -> Path:
    """A file that nobody writes any more."""
    file = JournalFile(folder, name)
    file.append(b"x" * size)
    file.close()
    path = folder.path / f"{name}.jsonl"
    os.utime(path, (time.time() - days_ago * 86400,) * 2)
    return path


def names(folder: Folder) -> list[str]:
    return [entry.name for entry in folder.files()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_for_its_service_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = Folder.own(tmp_path / "journal")
        file = put(folder, "a")
    finally:
        os.umask(before)
    assert (mode(folder.path), mode(file)) == (0o700, 0o600)
    assert names(Folder.own(tmp_path / "journal")) == ["a"], "what is there stays"


@pytest.mark.parametrize("bits", [0o750, 0o705, 0o710, 0o701, 0o770, 0o777])
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, bits: int) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal").chmod(bits)
    with pytest.raises(ApplianceError, match=rf"others on this machine .* \(mode {bits:o}\)") as raised:
        Folder.own(tmp_path / "journal")
    assert raised.value.hint.startswith("chmod 0700 ")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.geteuid():
        missing("root, to give a folder away")
    (tmp_path / "journal").mkdir(mode=0o700)
    os.chown(tmp_path / "journal", 10001, 10001)
    with pytest.raises(ApplianceError, match="belongs to user 10001, and this service is user 0"):
        Folder.own(tmp_path / "journal")


def test_what_can_be_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApplianceError, match="can't be read: Not a directory"):
        Folder.own(tmp_path / "file")
    with pytest.raises(ApplianceError, match="can't be made: No such file"):
        Folder.own(tmp_path / "no" / "journal")
    with pytest.raises(ApplianceError, match="there is no folder"):
        Folder.existing(tmp_path / "none")


def test_it_is_the_folder_that_was_checked_whatever_takes_its_name(tmp_path: Path) -> None:
    folder = Folder.own(tmp_path / "journal")
    folder.path.rename(tmp_path / "moved")
    (tmp_path / "journal").mkdir(mode=0o777)
    file = JournalFile(folder, "a")
    file.append(b"x")
    file.close()
    assert not list((tmp_path / "journal").iterdir()) and (tmp_path / "moved" / "a.jsonl").read_bytes() == b"x"


def test_other_files_and_links_are_left_alone(tmp_path: Path) -> None:
    folder = Folder.own(tmp_path / "journal")
    (tmp_path / "other.jsonl").write_text("mine")
    (folder.path / "link.jsonl").symlink_to(tmp_path / "other.jsonl")
    (folder.path / "readme.txt").write_text("mine")
    assert names(folder) == []
    with pytest.raises(ApplianceError):
        folder.open("link")


def test_a_file_that_is_written_is_not_removed(tmp_path: Path) -> None:
    folder = Folder.own(tmp_path / "journal")
    file = JournalFile(folder, "a")
    file.append(b"x")
    assert not folder.remove("a")
    with folder.open("a") as seen:
        assert is_written(seen)
    file.close()
    with folder.open("a") as seen:
        assert not is_written(seen)
    assert folder.remove("a") and folder.remove("a") and names(folder) == []


def test_a_file_without_a_record_goes(tmp_path: Path) -> None:
    folder = Folder.own(tmp_path / "journal")
    JournalFile(folder, "a").close()
    assert names(folder) == []


def test_the_oldest_go_first_and_none_that_is_written(tmp_path: Path) -> None:
    folder = Folder.own(tmp_path / "journal")
    for number in range(6):
        put(folder, f"f{number}", 4096, days_ago=10 - number)
    held = os.open(folder.path / "f0.jsonl", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert sweep(folder, Bounds(6 * 4096, 86400 * 365)) == 6 * 4096, "nothing is too much"
    assert sweep(folder, Bounds(4 * 4096, 86400 * 365)) == 4 * 4096
    assert names(folder) == ["f0", "f3", "f4", "f5"]
    assert sweep(folder, Bounds(4 * 4096, 86400 * 365), needed=4096) == 3 * 4096
    assert names(folder) == ["f0", "f4", "f5"]
    assert sweep(folder, Bounds(4096, 86400 * 5.5)) == 4096
    assert names(folder) == ["f0"], "it is being written"
    os.close(held)


def test_two_that_sweep_remove_no_more_than_one(tmp_path: Path) -> None:
    """Two services that share a folder, each of which finds it too large at the same time."""
    ours, theirs = (Folder.own(tmp_path / "journal") for _ in range(2))
    for number in range(200):
        put(ours, f"f{number:03}", 4096, days_ago=1 + (200 - number) / 100)
    left: list[int] = []
    with theirs.alone():
        sweeps = [threading.Thread(target=lambda: left.append(sweep(ours, Bounds(100 * 4096, 86400 * 365))))]
        sweeps[0].start()
        sweeps[0].join(0.3)
        assert not left and len(names(theirs)) == 200, "one at a time"
    sweeps.append(threading.Thread(target=lambda: left.append(sweep(theirs, Bounds(100 * 4096, 86400 * 365)))))
    sweeps[1].start()
    for one in sweeps:
        one.join()
    assert left == [100 * 4096] * 2 and len(names(ours)) == 100


def test_what_another_removes_meanwhile_is_gone_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.own(tmp_path / "journal")
    paths = [put(folder, f"f{number}", 4096, days_ago=9 - number) for number in range(4)]
    lock = fcntl.flock

    def quicker(handle: int, how: int) -> None:
        lock(handle, how)
        if how & fcntl.LOCK_NB:
            paths[0].unlink(missing_ok=True)

    monkeypatch.setattr(fcntl, "flock", quicker)
    assert sweep(folder, Bounds(3 * 4096, 86400 * 365)) == 3 * 4096
    assert names(folder) == ["f1", "f2", "f3"]


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    folder = Folder.own(tmp_path / "journal")
    for name, days in (("old", 31), ("young", 29), ("from the future", -400)):
        put(folder, name, days_ago=days)
    sweep(folder, Bounds.of(1000, 30))
    assert names(folder) == ["young", "from the future"]


def test_there_are_not_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds_module, "MOST_FILES", 3)
    folder = Folder.own(tmp_path / "journal")
    for number in range(5):
        put(folder, f"f{number}", days_ago=10 - number)
    sweep(folder, Bounds.of(1000, 30))
    assert names(folder) == ["f2", "f3", "f4"]


def test_after_the_clock_was_set_back_what_is_new_is_not_taken_for_oldest(tmp_path: Path) -> None:
    folder = Folder.own(tmp_path / "journal")
    put(folder, "before", days_ago=-365)
    put(folder, "since", days_ago=1)
    put(folder, "now")
    put(folder, "long-ago", days_ago=100)
    sweep(folder, Bounds(max_bytes=2 * 4096, max_age_s=50 * 86400.0))
    assert names(folder) == ["since", "now"]
