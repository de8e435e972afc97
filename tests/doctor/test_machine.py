import datetime
from pathlib import Path

import pytest

from appliance.doctor import machine
from appliance.doctor.machine import check_clock, check_disk, check_engine, check_memory
from tests.programs import put


class Usage:
    def __init__(self, free: int) -> None:
        self.free = free


@pytest.mark.parametrize(("free", "severity"), [(5_000_000, "error"), (50_000_000, "warning"), (500_000_000, "ok")])
def test_room(free: int, severity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(free))
    found = check_disk(tmp_path / "not" / "yet")
    assert found.severity == severity and str(tmp_path) in found.seen
    assert bool(found.remedy) == (severity != "ok")


def test_a_disk_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path) -> Usage:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("shutil.disk_usage", broken)
    assert check_disk(tmp_path).severity == "error"


def cgroup(folder: Path, killed: int) -> Path:
    (folder / "memory.max").write_text("600000000\n")
    (folder / "memory.events").write_text(f"low 0\noom 0\noom_kill {killed}\n")
    return folder


def meminfo(folder: Path, kib: int) -> Path:
    file = folder / "meminfo"
    file.write_text(f"MemTotal: 8000000 kB\nMemAvailable: {kib} kB\n")
    return file


def test_memory(tmp_path: Path) -> None:
    enough = meminfo(tmp_path, 4_000_000)
    assert check_memory(tmp_path, enough).severity == "ok"
    assert check_memory(cgroup(tmp_path, 0), enough).seen == "4096 MB are left on this machine, at most 600 MB for it"
    killed = check_memory(cgroup(tmp_path, 2), enough)
    assert killed.severity == "error" and "600 MB" in killed.seen and "WLK_MEMORY" in killed.remedy
    scarce = check_memory(cgroup(tmp_path, 0), meminfo(tmp_path, 100_000))
    assert scarce.severity == "warning" and scarce.remedy
    assert check_memory(tmp_path, tmp_path / "none").severity == "note"


def test_a_clock_before_this_program_was_made() -> None:
    assert check_clock().severity == "ok"
    found = check_clock(datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC))
    assert found.severity == "error" and "it is 1970-01-02 here" in found.seen and "timedatectl" in found.remedy


def test_an_engine_is_noted_where_it_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CONTAINER_MARKS", (tmp_path / "mark",))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [found.severity for found in check_engine()] == ["note"]
    put(tmp_path, "podman", "")
    assert [found.severity for found in check_engine()] == ["ok"]
    (tmp_path / "mark").touch()
    assert check_engine() == []
