"""Several recordings at once: which files a folder's recordings are, and where the result of each goes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import ApplianceError, UsageError
from appliance.recording.transcription import Format

SUFFIXES: dict[Format, str] = {"text": ".txt", "srt": ".srt", "vtt": ".vtt", "json": ".json"}

RECORDINGS = frozenset(
    {
        ".3gp", ".aac", ".aif", ".aiff", ".amr", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2",
        ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".opus", ".wav", ".weba", ".webm", ".wma", ".wmv",
    }
)  # fmt: skip
"""Endings of what is taken from a folder; a file that is named is taken whatever its ending."""


def expanded(paths: Sequence[Path]) -> list[Path]:
    """Files as they are; a folder as the recordings in it (not in folders of it), by name.

    Raises:
        ApplianceError: a folder can't be read, or has no recording.
    """
    found: list[Path] = []
    for path in paths:
        found += _recordings_in(path) if path.is_dir() else [path]
    return found


def _recordings_in(folder: Path) -> list[Path]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in RECORDINGS and path.is_file())
    except OSError as error:
        raise ApplianceError(f"can't read {folder}: {error.strerror}", "name a folder of recordings") from error
    files = [path for path in files if not path.name.startswith(".")]
    if not files:
        endings = " ".join(sorted(RECORDINGS))
        raise ApplianceError(f"no recordings in {folder}", f"a recording is known by its ending: {endings}")
    return files


def targets(recordings: Sequence[Path], form: Format, folder: Path | None) -> list[Path]:
    """Where each result goes: beside its recording or into ``folder``, under its name with the form's ending.

    Recordings that differ in their ending only keep it: ``a.mp3.txt`` and ``a.wav.txt``.

    Raises:
        UsageError: two results would be one file.
    """
    bases = [(folder or path.parent) / path.name for path in recordings]
    short = Counter(path.with_suffix(SUFFIXES[form]) for path in bases)
    made: dict[Path, Path] = {}
    for recording, base in zip(recordings, bases, strict=True):
        target = base.with_suffix(SUFFIXES[form])
        if short[target] > 1:
            target = base.with_name(base.name + SUFFIXES[form])
        if target in made:
            raise UsageError(
                f"{made[target]} and {recording} would both be written to {target}", "transcribe them one by one"
            )
        made[target] = recording
    return list(made)


def made_folder(folder: Path) -> Path:
    """The folder for results, made where it is missing.

    Raises:
        UsageError: it is a file, or can't be made.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--out {folder} can't be a folder: {error.strerror}", "several recordings need a folder for their results"
        ) from error
    return folder
