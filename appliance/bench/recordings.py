"""Which recordings to measure with: an index of one's own, a folder, or those that the manifest pins."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.errors import ApplianceError
from appliance.speech.audio.file import decode_file
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

INDEX_NAME = "index.tsv"
COLUMNS = ("id", "file", "language", "reference transcript")
UNKNOWN = "-"
"""Stands for a transcript nobody wrote down. An empty one says that nothing is spoken."""

AUTO = "auto"
"""The language of a recording whose language is not named, or is several."""

_NO_LANGUAGE = ("", "-", "none", "mixed")

_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm")
_LONGEST_S = 2 * 3600.0


@dataclass(frozen=True, slots=True)
class Recording:
    """An audio file. ``transcript``: None where it is not known, "" where nothing is spoken."""

    id: str
    path: Path
    language: str
    transcript: str | None


def read_recordings(place: Path, language: str) -> list[Recording]:
    """The recordings of an index, or of a folder: its index.tsv, else its audio files with NAME.txt beside NAME.wav.

    Args:
        language: of the audio files of a folder without an index.

    Raises:
        ApplianceError: nothing there, or an index with a fault; the message names file and line.
    """
    if place.is_dir() and not (place / INDEX_NAME).is_file():
        found = list(_from_folder(place, language))
        if not found:
            raise ApplianceError(
                f"no recordings in {place}", f"put {INDEX_NAME} there, or NAME.wav with what is said in NAME.txt"
            )
        return found
    return _from_index(place / INDEX_NAME if place.is_dir() else place)


def choose(recordings: Sequence[Recording], *, only: Sequence[str], language: str) -> list[Recording]:
    """Those of the ids named, in that order; without names those of a language (``all``: every one).

    Raises:
        ApplianceError: an id is unknown, or none is left.
    """
    by_id = {recording.id: recording for recording in recordings}
    if unknown := [name for name in only if name not in by_id]:
        raise ApplianceError(f"no such recording: {', '.join(unknown)}", f"there are: {', '.join(by_id)}")
    if only:
        return [by_id[name] for name in only]
    chosen = [one for one in recordings if language == "all" or one.language == language or one.transcript == ""]
    if not any(one.transcript != "" for one in chosen):
        known = ", ".join(sorted({one.language for one in recordings}))
        raise ApplianceError(f"no recordings of language {language!r}", f"there are: {known}; or give --language all")
    return chosen


def samples_of(recording: Recording) -> Samples:
    """The whole recording as 16 kHz mono.

    Raises:
        ApplianceError: it can't be read, is empty, or is longer than two hours.
    """
    pieces: list[Samples] = []
    most = int(_LONGEST_S * SAMPLE_RATE_HZ)
    for piece in decode_file(recording.path):
        pieces.append(piece)
        most -= piece.size
        if most < 0:
            raise ApplianceError(f"{recording.path} is longer than {_LONGEST_S / 3600:g} hours", "cut it into parts")
    if not pieces:
        raise ApplianceError(f"{recording.path} holds no sound", "leave it out")
    return np.concatenate(pieces)


def _from_folder(folder: Path, language: str) -> Iterator[Recording]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _SUFFIXES:
            beside = path.with_suffix(".txt")
            yield Recording(path.stem, path, language, _read(beside).strip() if beside.is_file() else None)


def _from_index(path: Path) -> list[Recording]:
    lines = _read(path).splitlines()
    table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
        raise _bad(path, 1, f"no column {', '.join(missing)}")
    found = [_recording(path, number, row) for number, row in enumerate(table, 2)]
    if not found:
        raise _bad(path, 1, "no rows after the heading")
    return list(_each_once(path, found))


def _recording(path: Path, line: int, row: dict[str, str | None]) -> Recording:
    values = {name: row.get(name) for name in COLUMNS}
    if short := [name for name, value in values.items() if value is None]:
        raise _bad(path, line, f"too few columns: {', '.join(short)} missing")
    name, file, language, transcript = (str(values[column]).strip() for column in COLUMNS)
    if not name or not file:
        raise _bad(path, line, "id and file must not be empty")
    audio = path.parent / file
    if not audio.is_file():
        raise _bad(path, line, f"no file {audio}")
    return Recording(
        name, audio, AUTO if language in _NO_LANGUAGE else language, None if transcript == UNKNOWN else transcript
    )


def _each_once(path: Path, recordings: Iterable[Recording]) -> Iterator[Recording]:
    seen: set[str] = set()
    for line, recording in enumerate(recordings, 2):
        if recording.id in seen:
            raise _bad(path, line, f"the id {recording.id!r} is given twice")
        seen.add(recording.id)
        yield recording


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ApplianceError(f"can't read {path}: {error.strerror}", "name a folder, or an index of tabs") from error
    except UnicodeDecodeError as error:
        raise ApplianceError(f"{path} is not UTF-8 text", "save it as UTF-8") from error


def _bad(path: Path, line: int, what: str) -> ApplianceError:
    return ApplianceError(
        f"{path}, line {line}: {what}",
        f"separate by tabs; the first line names the columns, at least: {', '.join(COLUMNS)}",
        code="bad_index",
    )
