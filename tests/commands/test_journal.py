import fcntl
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.journal.bounds import Bounds
from appliance.journal.folder import Folder
from appliance.journal.writer import Journal
from appliance.server.settings import Settings, variable
from appliance.speech.types import SILENCE, Line, Snapshot, Speaker, Word


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ["WLK_ENV_FILE", "STATE_DIRECTORY", *map(variable, Settings.model_fields)]:
        monkeypatch.delenv(name, raising=False)


def line(text: str, start_s: float, speaker: int = 1, translation: str | None = None) -> Line:
    words = tuple(Word(f" {one}", start_s + at, start_s + at + 0.5, 0.75) for at, one in enumerate(text.split()))
    return Line(Speaker(speaker), text, start_s, words[-1].end_s, words, "en", None, translation)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Two streams: of one speaker; of two, translated. The journal is closed."""
    path = tmp_path / "journal"
    journal = Journal(Folder.own(path), Bounds.of(10, 30), {"model": "base", "version": "1"})
    for session, lines in (
        ("aaaaaaaa", (line("And so my", 0.5), Line(SILENCE, "", 3.5, 9.0), line("fellow Americans.", 9.0))),
        ("bbbbbbbb", (line("Guten Tag.", 0.5, 1, "Good day."), line("Hallo.", 3.0, 2, "Hello."))),
    ):
        stream = journal.begin(session, {"token": "hall-a" if session == "bbbbbbbb" else ""})
        stream.take(Snapshot(lines, 0, "", 12.0, 12.0))
        stream.end("ended")
    journal.close(30)
    for number, entry in enumerate(sorted(path.iterdir(), key=lambda file: file.name[-13:])):
        at = time.time() - (10 - 9 * number) * 86400
        os.utime(entry, (at, at))
    return path


def names(folder: Path) -> list[str]:
    return [entry.name for entry in Folder.existing(folder).files()]


def journal(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(["journal", *words])
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = journal(capsys, "list", "--journal", str(folder))
    first, second = out.splitlines()
    assert status == 0 and first.split()[0].endswith("-aaaaaaaa") and second.split()[0].endswith("-bbbbbbbb")
    assert "0:12" in first and "5 words" in first and first.endswith("ended") and second.endswith("ended  hall-a")
    status, out, _ = journal(capsys, "list", "--json", "--journal", str(folder))
    rows = json.loads(out)
    assert [row["session"] for row in rows] == ["aaaaaaaa", "bbbbbbbb"]
    assert (rows[1]["state"], rows[1]["words"], rows[1]["heard"]) == ("ended", 3, 12.0)
    assert (rows[1]["model"], rows[1]["token"], rows[1]["damaged"]) == ("base", "hall-a", 0)


def test_which_journal_is_the_services_variable(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, err = journal(capsys, "list")
    assert status == 2 and "which journal?" in err
    monkeypatch.setenv("WLK_JOURNAL", str(folder))
    assert len(journal(capsys, "list")[1].splitlines()) == 2
    status, _, err = journal(capsys, "list", "--journal", str(folder / "none"))
    assert status == 1 and "there is no folder" in err


def test_export_in_each_form(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    at = ("--journal", str(folder))
    one, two = names(folder)
    assert journal(capsys, "export", one, *at) == (0, "And so my fellow Americans.\n", "")
    assert journal(capsys, "export", two, *at)[1] == ("Speaker 1: Guten Tag.\nGood day.\n\nSpeaker 2: Hallo.\nHello.\n")
    assert journal(capsys, "export", one, "--format", "srt", *at)[1].startswith("1\n00:00:00,500 --> ")
    assert journal(capsys, "export", two, "--format", "vtt", *at)[1].startswith("WEBVTT\n")
    told = json.loads(journal(capsys, "export", two, "--format", "json", *at)[1])
    assert (told["duration"], [row["translation"] for row in told["lines"]]) == (12.0, ["Good day.", "Hello."])
    out = tmp_path / "one.txt"
    assert journal(capsys, "export", one, "--out", str(out), *at)[0] == 0
    assert out.read_text() == "And so my fellow Americans.\n"


def test_export_of_all_goes_into_a_folder(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    at = ("--journal", str(folder))
    assert "--out FOLDER" in journal(capsys, "export", "--all", *at)[2]
    assert "which of the journal?" in journal(capsys, "export", *at)[2]
    status, out, _ = journal(capsys, "export", "--all", "--format", "srt", "--out", str(tmp_path / "texts"), *at)
    assert status == 0
    assert out.splitlines() == [str(tmp_path / "texts" / f"{name}.srt") for name in names(folder)]
    assert all(Path(row).read_text().startswith("1\n") for row in out.splitlines())


def test_a_name_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("none", "../journal/x", "/etc/passwd"):
        status, _, err = journal(capsys, "export", name, "--journal", str(folder))
        assert status == 1 and f"has no '{name}'" in err
        assert journal(capsys, "purge", name, "--yes", "--journal", str(folder))[0] == 1


def test_damage_is_told_and_the_rest_exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = names(folder)[0]
    file = folder / f"{name}.jsonl"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"fellow", b"yellow"))
    status, out, err = journal(capsys, "export", name, "--journal", str(folder))
    assert (status, out) == (0, "And so my\n") and "1 records are damaged and left out" in err
    assert " damaged" in journal(capsys, "list", "--journal", str(folder))[1]
    file.write_bytes(content[:-20])
    status, out, err = journal(capsys, "export", name, "--journal", str(folder))
    assert (status, out, err) == (0, "And so my fellow Americans.\n", "")
    assert "broken off" in journal(capsys, "list", "--journal", str(folder))[1]
    file.write_bytes(content.replace(content.splitlines(keepends=True)[0], b""))
    assert "when is not known" in journal(capsys, "list", "--journal", str(folder))[1]


def test_purge_by_name_age_and_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ("--yes", "--journal", str(folder))
    one, two = names(folder)
    assert journal(capsys, "purge", *at)[0] == 2
    assert journal(capsys, "purge", one, "--all", *at)[0] == 2
    assert journal(capsys, "purge", "--older-than", "20", *at) == (0, "", "nothing to remove\n")
    assert journal(capsys, "purge", "--older-than", "5", *at) == (0, f"removed {one}\n", "")
    assert journal(capsys, "purge", two, *at) == (0, f"removed {two}\n", "")
    assert names(folder) == [] and journal(capsys, "purge", "--all", *at)[0] == 0


def test_purge_asks(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    at = ("--journal", str(folder))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    status, _, err = journal(capsys, "purge", "--all", *at)
    assert status == 2 and "add --yes" in err and len(names(folder)) == 2
    for answer in ("", "n\n", "\n"):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        status, _, err = journal(capsys, "purge", "--all", *at)
        assert status == 1 and "nothing was removed" in err and len(names(folder)) == 2
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert journal(capsys, "purge", "--all", *at)[0] == 0 and names(folder) == []


def test_what_is_being_written_is_told_and_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = names(folder)
    held = os.open(folder / f"{two}.jsonl", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert "being written" in journal(capsys, "list", "--journal", str(folder))[1]
    status, out, err = journal(capsys, "purge", "--all", "--yes", "--journal", str(folder))
    assert (status, out) == (1, f"removed {one}\n") and f"a stream writes it now: {two}" in err
    os.close(held)
    assert names(folder) == [two]
