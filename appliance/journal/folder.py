"""The folder of a journal: who may enter it, and the files in it, each of one stream.

A file that is being written is locked (`flock`), by which other processes know to leave it. All names are looked up in
the folder that was checked, whatever becomes of its path.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.errors import ApplianceError

SUFFIX = ".jsonl"
_BLOCK = 4096
"""What even a short file takes on a disk."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file. ``name``: without its ending; ``written_at``: of its last record, in seconds since 1970."""

    name: str
    bytes: int
    written_at: float


class Folder:
    """Make it with `own` or `existing`. All methods may be called from any thread."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle

    @classmethod
    def own(cls, path: Path) -> "Folder":
        """The folder of a service, made where it is missing; nobody else may enter it.

        Raises:
            ApplianceError: it can't be made or used, is somebody else's, or others may read it. Code ``journal``.
        """
        try:
            path.mkdir(mode=0o700)
            _sync(path.parent)
        except FileExistsError:
            pass
        except OSError as error:
            raise ApplianceError(
                f"the journal's folder {path} can't be made: {error.strerror}",
                f"make it for user {os.geteuid()}: install -d -o {os.geteuid()} -m 0700 {path}",
                code="journal",
            ) from error
        handle = _opened(path)
        folder = cls(path, handle)
        try:
            _check(path, os.fstat(handle), folder.read_only)
        except ApplianceError:
            folder.close()
            raise
        return folder

    @classmethod
    def existing(cls, path: Path) -> "Folder":
        """The folder of a journal, to look at it.

        Raises:
            ApplianceError: there is none, or this user may not read it.
        """
        if not path.is_dir():
            raise ApplianceError(f"no journal: there is no folder {path}", "name the service's with --journal DIR")
        return cls(path, _opened(path))

    @property
    def read_only(self) -> bool:
        """Whether its disk can't be written now, by anybody."""
        with suppress(OSError):  # who writes to it will be told what is wrong
            return bool(os.fstatvfs(self._handle).f_flag & os.ST_RDONLY)
        return False

    def close(self) -> None:
        """No file of it is looked for after this."""
        os.close(self._handle)

    def files(self) -> list[Entry]:
        """All of them, that which was written longest ago first."""
        found = []
        with os.scandir(self._handle) as rows:
            for row in rows:
                if not (row.name.endswith(SUFFIX) and row.is_file(follow_symlinks=False)):
                    continue
                with suppress(FileNotFoundError):
                    status = row.stat(follow_symlinks=False)
                    size = -(-status.st_size // _BLOCK) * _BLOCK
                    found.append(Entry(row.name.removesuffix(SUFFIX), size, status.st_mtime))
        return sorted(found, key=lambda entry: (entry.written_at, entry.name))

    def create(self, name: str) -> int:
        """A new file for this user alone, locked, open for writing."""
        while True:
            made = os.open(name + SUFFIX, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=self._handle)
            try:
                fcntl.flock(made, fcntl.LOCK_EX)
                if os.fstat(made).st_nlink:
                    return made
            except OSError:
                os.close(made)
                raise
            os.close(made)  # another process removed it before it was locked

    def stamp(self, name: str, written_at: float) -> None:
        """Let a file have been written at that time; raises an `OSError` where that can't be."""
        os.utime(name + SUFFIX, (written_at, written_at), dir_fd=self._handle, follow_symlinks=False)

    def sync(self) -> None:
        """What was created and removed is on disk after this."""
        os.fsync(self._handle)

    def open(self, name: str) -> BinaryIO:
        """A file, to read it.

        Raises:
            ApplianceError: there is none of this name, or this user may not read it.
        """
        try:
            return os.fdopen(os.open(name + SUFFIX, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._handle), "rb")
        except FileNotFoundError as error:
            raise ApplianceError(f"{self.path} has no {name}", "wlk-appliance journal list shows the names") from error
        except OSError as error:
            raise ApplianceError(
                f"can't read {name} in {self.path}: {error.strerror}", "run this as the service's user, or as root"
            ) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Other processes that ask for the same wait meanwhile; raises an `OSError` where the disk knows no locks."""
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def remove(self, name: str) -> bool:
        """Remove a file, unless it is being written.

        Returns:
            Whether there is none of this name now.

        Raises:
            OSError: it can't be.
        """
        try:
            file = os.open(name + SUFFIX, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._handle)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):  # another process was quicker
                os.unlink(name + SUFFIX, dir_fd=self._handle)
        except BlockingIOError:
            return False
        finally:
            os.close(file)
        return True


def is_written(file: BinaryIO) -> bool:
    """Whether a process writes this file now."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _check(path: Path, found: os.stat_result, read_only: bool) -> None:
    """Raise an `ApplianceError` unless the folder is this user's alone, and may be written once its disk can be."""
    user = os.geteuid()
    if found.st_uid != user:
        raise ApplianceError(
            f"the journal's folder {path} belongs to user {found.st_uid}, and this service is user {user}",
            f"name a folder of its own: install -d -o {user} -m 0700 {path}",
            code="journal",
        )
    mode = stat.S_IMODE(found.st_mode)
    if others := mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ApplianceError(
            f"others on this machine may enter the journal's folder {path} (mode {mode:o})",
            f"chmod {mode & ~others:04o} {path}, if nothing in it is theirs",
            code="journal",
        )
    if not read_only and not os.access(path, os.W_OK | os.X_OK):
        raise ApplianceError(
            f"the journal's folder {path} may not be written",
            f"chmod 0700 {path}; or name one on a disk that can be written",
            code="journal",
        )


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ApplianceError(
            f"the journal's folder {path} can't be read: {error.strerror}",
            "it is for the service's user alone, and for root",
            code="journal",
        ) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
